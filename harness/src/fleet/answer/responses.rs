//! OpenAI responses: one message item with one text part.

use bytes::Bytes;
use http::StatusCode;
use serde_json::{Value, json};

use super::{Dialect, Reply, event, word};

pub struct Responses;

/// Events before the first token, which numbers the rest.
const OPENING: u32 = 4;

impl Dialect for Responses {
    fn whole(&self, reply: &Reply) -> Value {
        let status = if reply.cut { "incomplete" } else { "completed" };
        let mut response = response(
            reply,
            status,
            json!([item(reply, "completed", json!([part(&reply.text())]))]),
        );
        response["usage"] = json!({
            "input_tokens": reply.input,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": reply.output,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": reply.input + reply.output,
        });
        if reply.cut {
            response["incomplete_details"] = json!({"reason": "max_output_tokens"});
        }
        response
    }

    fn opening(&self, reply: &Reply) -> Vec<Bytes> {
        let started = response(reply, "in_progress", json!([]));
        numbered(
            0,
            vec![
                json!({"type": "response.created", "response": started, "fleet": reply.signature()}),
                json!({"type": "response.in_progress", "response": started}),
                json!({"type": "response.output_item.added", "output_index": 0, "item": item(reply, "in_progress", json!([]))}),
                located(
                    reply,
                    json!({"type": "response.content_part.added", "part": part("")}),
                ),
            ],
        )
    }

    fn token(&self, reply: &Reply, index: u32) -> Bytes {
        let mut delta = located(
            reply,
            json!({"type": "response.output_text.delta", "delta": word(index), "logprobs": []}),
        );
        delta["sequence_number"] = json!(OPENING + index);
        event(&delta)
    }

    fn closing(&self, reply: &Reply) -> Vec<Bytes> {
        let text = reply.text();
        let done = item(reply, "completed", json!([part(&text)]));
        let last = if reply.cut {
            "response.incomplete"
        } else {
            "response.completed"
        };
        numbered(
            OPENING + reply.output,
            vec![
                located(
                    reply,
                    json!({"type": "response.output_text.done", "text": text, "logprobs": []}),
                ),
                located(
                    reply,
                    json!({"type": "response.content_part.done", "part": part(&text)}),
                ),
                json!({"type": "response.output_item.done", "output_index": 0, "item": done}),
                json!({"type": last, "response": self.whole(reply)}),
            ],
        )
    }

    fn failure(&self, reply: &Reply, status: StatusCode) -> Vec<Bytes> {
        let code = match status.as_u16() {
            429 => "rate_limit_exceeded",
            400..500 => "invalid_prompt",
            _ => "server_error",
        };
        let mut failed = response(reply, "failed", json!([]));
        failed["error"] = json!({"code": code, "message": "failing, as ordered"});
        numbered(
            0,
            vec![json!({"type": "response.failed", "response": failed})],
        )
    }
}

fn numbered(first: u32, events: Vec<Value>) -> Vec<Bytes> {
    let number = |(number, mut value): (u32, Value)| {
        value["sequence_number"] = json!(number);
        event(&value)
    };
    (first..).zip(events).map(number).collect()
}

/// An event about the only part of the only item.
fn located(reply: &Reply, mut value: Value) -> Value {
    value["item_id"] = json!(reply.id("msg_"));
    value["output_index"] = json!(0);
    value["content_index"] = json!(0);
    value
}

fn part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": [], "logprobs": []})
}

fn item(reply: &Reply, status: &str, content: Value) -> Value {
    json!({"id": reply.id("msg_"), "type": "message", "status": status, "role": "assistant", "content": content})
}

fn response(reply: &Reply, status: &str, output: Value) -> Value {
    json!({
        "id": reply.id("resp_"),
        "object": "response",
        "created_at": reply.created,
        "status": status,
        "error": null,
        "incomplete_details": null,
        "instructions": null,
        "max_output_tokens": null,
        "metadata": {},
        "model": reply.served.model,
        "output": output,
        "parallel_tool_calls": true,
        "previous_response_id": null,
        "reasoning": {"effort": null, "summary": null},
        "store": false,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": null,
        "user": null,
    })
}
