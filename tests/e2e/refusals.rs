//! What is never forwarded, and how it is refused.

use harness::fleet::json_request;
use serde_json::Value;

use crate::world::World;

fn nested(depth: usize) -> Vec<u8> {
    // The document itself and `x` are the first two levels.
    let inner = depth.saturating_sub(1);
    format!(
        r#"{{"model":"qwen2.5-7b","messages":[],"x":{}{}}}"#,
        "[".repeat(inner),
        "]".repeat(inner)
    )
    .into_bytes()
}

fn refused_bodies() -> Vec<(&'static str, Vec<u8>)> {
    let text = |body: &str| body.as_bytes().to_vec();
    vec![
        (
            "a duplicate model",
            text(r#"{"model":"qwen2.5-7b","model":"qwen2.5-7b","messages":[]}"#),
        ),
        (
            "a duplicate model, escaped",
            text(r#"{"model":"qwen2.5-7b","\u006dodel":"qwen2.5-7b","messages":[]}"#),
        ),
        (
            "a byte order mark",
            text("\u{feff}{\"model\":\"qwen2.5-7b\",\"messages\":[]}"),
        ),
        (
            "invalid UTF-8",
            b"{\"model\":\"qwen2.5-7b\",\"messages\":[{\"role\":\"user\",\"content\":\"\xff\"}]}"
                .to_vec(),
        ),
        ("depth 65", nested(65)),
        (
            "trailing data",
            text(r#"{"model":"qwen2.5-7b","messages":[]} {}"#),
        ),
        (
            "max_tokens of -1",
            text(r#"{"model":"qwen2.5-7b","messages":[],"max_tokens":-1}"#),
        ),
        (
            "max_tokens of 1e400",
            text(r#"{"model":"qwen2.5-7b","messages":[],"max_tokens":1e400}"#),
        ),
        ("an empty body", Vec::new()),
        (
            "an unknown model",
            text(r#"{"model":"no-such-model","messages":[]}"#),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_single_meaning_is_refused_as_openai_would_and_never_forwarded() {
    let world = World::start().await;
    let caller = world.caller();
    for (what, body) in refused_bodies() {
        let answer = caller
            .send(json_request("/v1/chat/completions", body))
            .await
            .unwrap();
        assert!(answer.status.is_client_error(), "{what}: {answer:?}");
        let json = answer.json();
        assert!(
            json["error"]["message"].is_string() && json["error"]["code"].is_string(),
            "{what}: {answer:?}"
        );
        assert_eq!(
            answer.header("content-type"),
            Some("application/json"),
            "{what}"
        );
        assert_eq!(world.forwarded(), 0, "{what} was forwarded");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn depth_64_is_forwarded() {
    let world = World::start().await;
    let answer = world
        .caller()
        .send(json_request("/v1/chat/completions", nested(64)))
        .await
        .unwrap();
    assert_eq!(world.forwarded(), 1, "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_over_the_limit_is_413_in_openais_shape_and_not_forwarded() {
    let world = World::start().await;
    let prompt = "a".repeat(8 * 1024 * 1024);
    let answer = world.caller().chat("qwen2.5-7b", &prompt).await.unwrap();
    assert_eq!(answer.status.as_u16(), 413, "{:?}", answer.headers);
    assert!(
        answer.json()["error"]["message"].is_string(),
        "{:?}",
        answer.body
    );
    assert_eq!(world.forwarded(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_that_fits_nowhere_is_told_the_largest_window() {
    let world = World::start().await;
    let answer = world
        .caller()
        .chat("qwen2.5-7b", &"The river rose again. ".repeat(60_000))
        .await
        .unwrap();
    let json: Value = answer.json();
    assert_eq!(
        (answer.status.as_u16(), &json["error"]["code"]),
        (400, &"context_length_exceeded".into()),
        "{json}"
    );
    assert!(
        json["error"]["message"]
            .as_str()
            .is_some_and(|text| text.contains("131072")),
        "{json}"
    );
    assert_eq!(world.forwarded(), 0);
}
