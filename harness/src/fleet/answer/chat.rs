//! OpenAI chat completions.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Dialect, Reply, data, word};

pub struct Chat;

impl Dialect for Chat {
    fn whole(&self, reply: &Reply) -> Value {
        json!({
            "id": reply.id("chatcmpl-"),
            "object": "chat.completion",
            "created": reply.created,
            "model": reply.served.model,
            "choices": [{
                "index": 0,
                "message": {"role": "assistant", "content": reply.text(), "refusal": null},
                "logprobs": null,
                "finish_reason": reply.finish_reason(),
            }],
            "usage": reply.usage(),
            "system_fingerprint": reply.fingerprint(),
        })
    }

    fn opening(&self, reply: &Reply) -> Vec<Bytes> {
        let mut first = chunk(
            reply,
            json!([choice(json!({"role": "assistant", "content": ""}), None)]),
        );
        first["fleet"] = reply.signature();
        vec![data(&first)]
    }

    fn token(&self, reply: &Reply, index: u32) -> Bytes {
        data(&chunk(
            reply,
            json!([choice(json!({"content": word(index)}), None)]),
        ))
    }

    fn closing(&self, reply: &Reply) -> Vec<Bytes> {
        let mut events = vec![data(&chunk(
            reply,
            json!([choice(json!({}), Some(reply.finish_reason()))]),
        ))];
        if reply.wants_usage() {
            let mut last = chunk(reply, json!([]));
            last["usage"] = reply.usage();
            events.push(data(&last));
        }
        events.push(Bytes::from_static(b"data: [DONE]\n\n"));
        events
    }
}

fn chunk(reply: &Reply, choices: Value) -> Value {
    json!({
        "id": reply.id("chatcmpl-"),
        "object": "chat.completion.chunk",
        "created": reply.created,
        "model": reply.served.model,
        "choices": choices,
        "system_fingerprint": reply.fingerprint(),
    })
}

fn choice(delta: Value, finish: Option<&str>) -> Value {
    json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": finish})
}
