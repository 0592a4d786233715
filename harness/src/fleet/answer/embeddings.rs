//! OpenAI embeddings: one vector an input, a function of that input alone.

use bytes::Bytes;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::super::base64;
use super::{Dialect, Reply};

pub struct Embeddings;

impl Dialect for Embeddings {
    fn whole(&self, reply: &Reply) -> Value {
        let encoded = reply.body.get("encoding_format").and_then(Value::as_str) == Some("base64");
        let datum = |(index, input): (usize, &Value)| {
            let vector = vector(input);
            let embedding = if encoded {
                let bytes: Vec<u8> = vector
                    .iter()
                    .flat_map(|component| component.to_le_bytes())
                    .collect();
                json!(base64::encode(&bytes))
            } else {
                json!(vector)
            };
            json!({"object": "embedding", "index": index, "embedding": embedding})
        };
        json!({
            "object": "list",
            "data": inputs(&reply.body["input"]).into_iter().enumerate().map(datum).collect::<Vec<_>>(),
            "model": reply.served.model,
            "usage": {"prompt_tokens": reply.input, "total_tokens": reply.input},
        })
    }

    // Embeddings never stream.
    fn opening(&self, _reply: &Reply) -> Vec<Bytes> {
        Vec::new()
    }

    fn token(&self, _reply: &Reply, _index: u32) -> Bytes {
        Bytes::new()
    }

    fn closing(&self, _reply: &Reply) -> Vec<Bytes> {
        Vec::new()
    }
}

/// One text, one array of token numbers, or an array of either.
fn inputs(input: &Value) -> Vec<&Value> {
    match input {
        Value::Array(items) if items.iter().all(|item| !item.is_number()) => items.iter().collect(),
        one => vec![one],
    }
}

/// Eight components between -1 and 1 out of the input's hash.
fn vector(input: &Value) -> Vec<f32> {
    let digest = Sha256::digest(input.to_string());
    digest
        .chunks(4)
        .map(|bytes| f32::from(i16::from_le_bytes([bytes[0], bytes[1]])) / 32768.0)
        .collect()
}
