//! Limits in a real Envoy with two workers: exact under concurrency, and as OpenAI's client understands them.

use serde_json::{Value, json};

use crate::openai;
use crate::world::{World, eventually};

const SCRIPT: &str = include_str!("backs_off.py");

/// One connection for each request, so that both workers have some; all at once.
pub async fn at_once(world: &World, requests: usize) -> Vec<String> {
    let body =
        r#"{"model":"qwen2.5-7b","max_tokens":10,"messages":[{"role":"user","content":"Count."}]}"#;
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let all = (0..requests).map(|_| world.raw(request.as_bytes()));
    let mut answers = Vec::new();
    for answer in join(all).await {
        answers.push(answer);
    }
    answers
}

/// All of `futures`, polled together.
async fn join<F: Future<Output = String>>(futures: impl Iterator<Item = F>) -> Vec<String> {
    let mut open: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|context| {
        for (future, done) in &mut open {
            if done.is_none()
                && let std::task::Poll::Ready(text) = future.as_mut().poll(context)
            {
                *done = Some(text);
            }
        }
        match open.iter().all(|(_, done)| done.is_some()) {
            true => std::task::Poll::Ready(()),
            false => std::task::Poll::Pending,
        }
    })
    .await;
    open.into_iter().filter_map(|(_, done)| done).collect()
}

pub fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = answer.lines().filter_map(|line| line.split_once(": "));
    lines
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

#[tokio::test(flavor = "multi_thread")]
async fn however_many_ask_at_once_not_one_token_more_is_admitted() {
    for requests in [5, 50, 500] {
        let limit = requests * 20 / 2;
        let world = World::configured(|config| {
            config["quotas"] = json!([{"name": "all", "tokens": {"limit": limit, "per": "24h"}}]);
        })
        .await;
        let answers = at_once(&world, requests as usize).await;
        let (good, bad): (Vec<_>, Vec<_>) = answers
            .iter()
            .partition(|answer| answer.starts_with("HTTP/1.1 200"));
        assert!(!good.is_empty() && !bad.is_empty());
        for refused in &bad {
            assert!(refused.starts_with("HTTP/1.1 429"), "{refused}");
            assert!(header(refused, "retry-after").is_some(), "{refused}");
        }
        let refused = async || {
            let metrics = world.envoy.metrics().await.expect("metrics");
            metrics.sum("junheng_quota_refused", &[("limit", "all")])
        };
        let all = bad.len() as f64;
        eventually("counted", refused, |refused| *refused == all).await;
        assert_eq!(world.forwarded(), good.len() as u64);
        let used: u64 = good.into_iter().map(|answer| used(answer)).sum();
        assert!(used <= limit, "{used} of {limit}");
        eventually(
            "settled",
            async || left(&world).await,
            |left| *left == limit - used,
        )
        .await;
    }
}

/// The tokens that an answer says it used.
pub fn used(answer: &str) -> u64 {
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    let json: Value = serde_json::from_str(body).expect("JSON");
    json["usage"]["total_tokens"].as_u64().expect("usage")
}

/// What is left, as a request is told that could never be sent.
async fn left(world: &World) -> u64 {
    let body = r#"{"model":"qwen2.5-7b","max_tokens":100000,"messages":[]}"#;
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = world.raw(request.as_bytes()).await;
    assert!(answer.contains("request_above_limit"), "{answer}");
    let left = header(&answer, "x-ratelimit-remaining-tokens");
    left.expect("a header").parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_openai_client_backs_off_at_a_limit_and_succeeds() {
    let world = World::configured(|config| {
        config["quotas"] =
            json!([{"name": "slow", "requests": {"limit": 2, "per": "3s", "burst": 1}}]);
    })
    .await;
    let saw = openai::run(&world, SCRIPT).await;
    assert_eq!(
        saw["retries"],
        json!([0, 1, 1]),
        "one wait each was enough: {saw}"
    );
    assert_eq!(saw["limit"], "1");
    assert_eq!(saw["policy"], "\"slow.requests\";q=1;w=2;qu=\"requests\"");
    assert_eq!(world.forwarded(), 3);
}
