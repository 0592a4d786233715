//! Anthropic messages.

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use super::{Dialect, Reply, event, word};

pub struct Messages;

impl Dialect for Messages {
    fn whole(&self, reply: &Reply) -> Value {
        let mut message = message(
            reply,
            json!([{"type": "text", "text": reply.text()}]),
            reply.output,
        );
        message["stop_reason"] = json!(stop_reason(reply));
        message
    }

    fn opening(&self, reply: &Reply) -> Vec<Bytes> {
        let start = json!({"type": "message_start", "message": message(reply, json!([]), 1), "fleet": reply.signature()});
        let block = json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}});
        vec![
            event(&start),
            event(&block),
            event(&json!({"type": "ping"})),
        ]
    }

    fn token(&self, _reply: &Reply, index: u32) -> Bytes {
        let delta = json!({"type": "text_delta", "text": word(index)});
        event(&json!({"type": "content_block_delta", "index": 0, "delta": delta}))
    }

    fn closing(&self, reply: &Reply) -> Vec<Bytes> {
        let delta = json!({"stop_reason": stop_reason(reply), "stop_sequence": null});
        vec![
            event(&json!({"type": "content_block_stop", "index": 0})),
            event(
                &json!({"type": "message_delta", "delta": delta, "usage": {"output_tokens": reply.output}}),
            ),
            event(&json!({"type": "message_stop"})),
        ]
    }

    fn failure(&self, _reply: &Reply, status: StatusCode) -> Vec<Bytes> {
        vec![event(&error(status, "failing, as ordered"))]
    }
}

/// An error, as a body and as an event of a stream.
pub fn error(status: StatusCode, message: &str) -> Value {
    let kind = match status.as_u16() {
        404 => "not_found_error",
        429 => "rate_limit_error",
        400..500 => "invalid_request_error",
        529 => "overloaded_error",
        _ => "api_error",
    };
    json!({"type": "error", "error": {"type": kind, "message": message}})
}

fn message(reply: &Reply, content: Value, output: u32) -> Value {
    json!({
        "id": reply.id("msg_"),
        "type": "message",
        "role": "assistant",
        "model": reply.served.model,
        "content": content,
        "stop_reason": null,
        "stop_sequence": null,
        "usage": {
            "input_tokens": reply.input,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "output_tokens": output,
        },
    })
}

fn stop_reason(reply: &Reply) -> &'static str {
    if reply.cut { "max_tokens" } else { "end_turn" }
}
