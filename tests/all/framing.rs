//! Requests in every shape that a proxy hands them over in.

use serde_json::{Value, json};

use crate::on_both;
use crate::scenario::{On, Step, post, proxy};

const BODY: &[u8] = br#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#;

fn config() -> Value {
    json!({
        "pools": [{"name": "all", "models": ["m", "big"], "endpoints": [{"address": "10.0.0.1:80"}]}],
        "routes": [{"alias": {"m": "big"}, "pools": ["all"]}]
    })
}

fn a_body_of_one_byte_at_a_time_is_decided_at_its_end(on: On) {
    let mut proxy = proxy(on, &config(), 1);
    let (stream, _) = proxy.open(0, &post("/v1/chat/completions"), false);
    for byte in BODY {
        assert_eq!(proxy.body(stream, &[*byte], false), Step::Held);
    }
    // HTTP/1 ends a body with an empty piece.
    let sent = proxy.body(stream, b"", true).sent();
    assert!(sent.body.starts_with(br#"{"model":"big""#), "{sent:?}");
    assert_eq!(sent.header("content-length"), sent.body.len().to_string());
}

fn a_body_that_ends_in_trailers_is_decided_there(on: On) {
    let mut proxy = proxy(on, &config(), 1);
    let (stream, _) = proxy.open(0, &post("/v1/chat/completions"), false);
    assert_eq!(proxy.body(stream, BODY, false), Step::Held);
    assert_eq!(proxy.trailers(stream).sent().pool(), "all");

    let (stream, _) = proxy.open(0, &post("/v1/chat/completions"), false);
    assert_eq!(proxy.trailers(stream).refused().error("code"), "empty_body");
}

fn a_request_that_ends_at_its_headers_is_decided_there(on: On) {
    let mut proxy = proxy(on, &config(), 1);
    let refused = proxy
        .open(0, &post("/v1/chat/completions"), true)
        .1
        .refused();
    assert_eq!((refused.status, refused.error("code")), (400, "empty_body"));
}

/// A client may hold thousands of requests open; what each costs the VM has a bound.
fn headers_that_nobody_looks_at_are_not_held_and_those_that_are_have_a_bound(on: On) {
    let mut proxy = proxy(on, &config(), 1);
    let long = "x".repeat(50_000);
    let mut headers = post("/v1/chat/completions");
    headers.push(("x-other", &long));
    let (stream, step) = proxy.open(0, &headers, false);
    assert_eq!(step, Step::Held);
    let sent = proxy.body(stream, BODY, true).sent();
    assert_eq!(
        sent.header("x-other"),
        long,
        "held by the proxy, and sent on"
    );

    let path = format!("/{long}/v1/chat/completions");
    let refused = proxy.open(0, &post(&path), false).1.refused();
    assert_eq!(
        (refused.status, refused.error("code")),
        (431, "headers_too_large")
    );
}

fn each_api_is_read(on: On) {
    let mut proxy = proxy(on, &config(), 1);
    for (path, body) in [
        (
            "/v1/chat/completions",
            json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]}),
        ),
        (
            "/v1/completions",
            json!({"model": "m", "prompt": ["a", "b"]}),
        ),
        (
            "/v1/embeddings",
            json!({"model": "m", "input": [[1, 2, 3]]}),
        ),
        (
            "/v1/responses",
            json!({"model": "m", "input": "hi", "max_output_tokens": 5}),
        ),
        (
            "/v1/messages",
            json!({"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]}),
        ),
    ] {
        let (stream, _) = proxy.open(0, &post(path), false);
        let sent = proxy.body(stream, body.to_string().as_bytes(), true).sent();
        let sent: Value = serde_json::from_slice(&sent.body).expect("JSON");
        assert_eq!(sent["model"], "big", "{path}");
    }
}

on_both! {
    a_body_of_one_byte_at_a_time_is_decided_at_its_end
    a_body_that_ends_in_trailers_is_decided_there
    a_request_that_ends_at_its_headers_is_decided_there
    headers_that_nobody_looks_at_are_not_held_and_those_that_are_have_a_bound
    each_api_is_read
}
