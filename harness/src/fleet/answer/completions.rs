//! OpenAI completions, the older text-in text-out API.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Dialect, Reply, data, word};

pub struct Completions;

impl Dialect for Completions {
    fn whole(&self, reply: &Reply) -> Value {
        let mut whole = object(
            reply,
            json!([choice(&reply.text(), Some(reply.finish_reason()))]),
        );
        whole["usage"] = reply.usage();
        whole
    }

    fn opening(&self, _reply: &Reply) -> Vec<Bytes> {
        Vec::new()
    }

    fn token(&self, reply: &Reply, index: u32) -> Bytes {
        let mut chunk = object(reply, json!([choice(&word(index), None)]));
        if index == 0 {
            chunk["fleet"] = reply.signature();
        }
        data(&chunk)
    }

    fn closing(&self, reply: &Reply) -> Vec<Bytes> {
        let mut events = vec![data(&object(
            reply,
            json!([choice("", Some(reply.finish_reason()))]),
        ))];
        if reply.wants_usage() {
            let mut last = object(reply, json!([]));
            last["usage"] = reply.usage();
            events.push(data(&last));
        }
        events.push(Bytes::from_static(b"data: [DONE]\n\n"));
        events
    }
}

fn object(reply: &Reply, choices: Value) -> Value {
    json!({
        "id": reply.id("cmpl-"),
        "object": "text_completion",
        "created": reply.created,
        "model": reply.served.model,
        "choices": choices,
        "system_fingerprint": reply.fingerprint(),
    })
}

fn choice(text: &str, finish: Option<&str>) -> Value {
    json!({"index": 0, "text": text, "logprobs": null, "finish_reason": finish})
}
