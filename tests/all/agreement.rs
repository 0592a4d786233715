//! The artifact reads bodies exactly as the native code does.
//!
//! The scanner has two sets of lanes: instructions of wasm's simd128 in the artifact, arrays natively.
//! What holds of the native reading (that it is `serde_json`'s and Python's) holds of the
//! artifact's only if the two agree, down to the estimate and the key of the prompt.

use junheng::request::Api;
use junheng::values::rng::Rng;
use serde_json::{Value, json};

use crate::bodies;
use crate::scenario::{On, Proxy, Step, post, proxy};

const BODIES: u32 = 20_000;

/// All that is read of a body shows: the rule tells `stream`, the refusal of what does not fit the
/// narrow pool tells input and output, the endpoint tells the prompt's key.
fn config() -> Value {
    let endpoints: Vec<Value> = (1..=32)
        .map(|n| json!({"address": format!("10.0.0.{n}:80")}))
        .collect();
    json!({
        "pools": [
            {"name": "narrow", "context_window": 256, "endpoints": [{"address": "10.0.1.1:80"}]},
            {"name": "wide", "endpoints": endpoints,
             "balance": {"algorithm": "consistent_hash", "hash": {"on": "prompt"}}}
        ],
        "routes": [
            {"name": "aliased", "match": {"models": ["gpt-4o"]}, "alias": {"gpt-4o": "gpt-4o-mini"}, "pools": ["wide"]},
            {"name": "narrow", "match": {"models": ["qwen2.5-7b"]}, "pools": ["narrow"]},
            {"name": "stream", "match": {"stream": true}, "pools": ["wide"]},
            {"name": "rest", "pools": ["narrow", "wide"]}
        ],
        "decision_header": {"callers": "all"}
    })
}

#[test]
fn the_artifact_reads_random_bodies_as_the_native_code_does() {
    let mut native = proxy(On::Native, &config(), 1);
    let mut wasm = proxy(On::Wasm, &config(), 1);
    let mut rng = Rng::new(20_260_402);
    let (mut forwarded, mut malformed, mut too_long) = (0u32, 0u32, 0u32);
    for number in 0..BODIES {
        let (api, body) = bodies::body(&mut rng);
        let expected = exchange(&mut *native, api, &body);
        let outcome = exchange(&mut *wasm, api, &body);
        assert_eq!(
            outcome,
            expected,
            "body {number}: {}",
            String::from_utf8_lossy(&body)
        );
        match expected.0 {
            Step::Forwarded(_) => forwarded += 1,
            Step::Refused(refused) if refused.error("code") == "context_length_exceeded" => {
                too_long += 1;
            }
            _ => malformed += 1,
        }
    }
    assert!(
        forwarded > BODIES / 4 && malformed > BODIES / 4 && too_long > BODIES / 100,
        "{forwarded} forwarded, {malformed} malformed, {too_long} too long"
    );
}

/// What became of the request, and what the caller was told of the decision.
fn exchange(proxy: &mut dyn Proxy, api: Api, body: &[u8]) -> (Step, Vec<(String, String)>) {
    let length = body.len().to_string();
    let mut headers = post(match api {
        Api::ChatCompletions => "/v1/chat/completions",
        Api::Completions => "/v1/completions",
        Api::Embeddings => "/v1/embeddings",
        Api::Responses => "/v1/responses",
        Api::Messages => "/v1/messages",
    });
    headers.push(("content-length", &length));
    let (stream, held) = proxy.open(0, &headers, false);
    assert_eq!(held, Step::Held);
    let mut step = proxy.body(stream, body, true);
    let decision = match &mut step {
        Step::Forwarded(sent) => {
            // The order of header fields is each host's own.
            sent.headers.sort();
            proxy.respond(stream, 200, 1)
        }
        _ => Vec::new(),
    };
    proxy.close(stream);
    (step, decision)
}
