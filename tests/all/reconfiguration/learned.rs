//! What was learned goes on under the next configuration.

use std::time::Duration;

use serde_json::{Value, json};

use super::{A, B, BODY, C, WORKERS, config};
use crate::on_both;
use crate::scenario::{On, Proxy, Step, StreamId, answer, chat_bytes, pass, post, proxy};

on_both! {
    corrections_of_estimates_stay_with_the_models_name
    times_to_first_byte_stay_with_the_endpoints_address
    a_penalty_stays_with_the_endpoints_address
}

/// A chat with `model` on worker 0, of the same prompt each time.
fn ask(proxy: &mut dyn Proxy, model: &str) -> (StreamId, Step) {
    let body = json!({"model": model, "max_tokens": 1,
        "messages": [{"role": "user", "content": "hello there ".repeat(100)}]});
    let (stream, step) = proxy.open(0, &post("/v1/chat/completions"), false);
    assert_eq!(step, Step::Held);
    (
        stream,
        proxy.body(stream, body.to_string().as_bytes(), true),
    )
}

fn limited(models: Value, name: &str, limit: u32) -> Value {
    let mut config = config(&[A], |pool| pool["models"] = models);
    config["quotas"] = json!([{"name": name, "tokens": {"limit": limit, "per": "24h"}}]);
    config
}

fn corrections_of_estimates_stay_with_the_models_name(on: On) {
    const LIMIT: u32 = 100_000_000;
    let proxy = &mut *proxy(on, &limited(json!(["m"]), "wide", LIMIT), WORKERS);
    let mut estimate = 0;
    for _ in 0..300 {
        let (stream, step) = ask(proxy, "m");
        step.sent();
        let told = proxy.respond_with(stream, 200, 1, &[("content-type", "application/json")]);
        if estimate == 0 {
            let left = told
                .iter()
                .find(|(name, _)| name == "x-ratelimit-remaining-tokens");
            estimate = LIMIT
                - left
                    .expect("what is left")
                    .1
                    .parse::<u32>()
                    .expect("a number");
        }
        let usage = json!({"choices": [{"message": {"content": "x"}}],
            "usage": {"prompt_tokens": estimate * 3, "completion_tokens": 0}});
        proxy.respond_body(stream, usage.to_string().as_bytes(), true);
        proxy.close(stream);
    }
    // What is known of m does not fit, and nothing is known of the others.
    proxy.reload(&limited(json!(["a", "m", "z"]), "narrow", estimate * 2));
    assert_eq!(
        ask(proxy, "m").1.refused().error("code"),
        "request_above_limit"
    );
    ask(proxy, "z").1.sent();
}

fn times_to_first_byte_stay_with_the_endpoints_address(on: On) {
    let by_time = |endpoints: &[&str]| {
        config(endpoints, |pool| {
            pool["balance"]["algorithm"] = json!("response_time")
        })
    };
    let proxy = &mut *proxy(on, &by_time(&[A, B]), WORKERS);
    for request in 0..120 {
        let (stream, step) = chat_bytes(proxy, request % WORKERS, BODY);
        let slow = step.sent().endpoint() == A;
        proxy.advance(Duration::from_millis(if slow { 3000 } else { 20 }));
        answer(proxy, stream, 200);
    }
    let before = used_in_no_time(proxy);
    assert!(before < 12, "{before} of 60 went to the slow one");
    proxy.reload(&by_time(&[C, B, A]));
    let after = used_in_no_time(proxy);
    assert!(after < 12, "{after} of 60 went to the slow one");
    proxy.drain();
    proxy.reload(&by_time(&[A, B]));
    let after = used_in_no_time(proxy);
    assert!(after < 12, "{after} of 60 went to the slow one");
}

/// How many of 60 requests that all are under way at once go to A, none of which is answered:
/// nothing is learned.
fn used_in_no_time(proxy: &mut dyn Proxy) -> usize {
    let open: Vec<_> = (0..60)
        .map(|n| chat_bytes(proxy, n % WORKERS, BODY))
        .collect();
    let mut at_a = 0;
    for (stream, step) in open {
        at_a += usize::from(step.sent().endpoint() == A);
        proxy.close(stream);
    }
    at_a
}

fn a_penalty_stays_with_the_endpoints_address(on: On) {
    let least = |endpoints: &[&str]| {
        config(endpoints, |pool| {
            pool["balance"]["algorithm"] = json!("least_connections")
        })
    };
    let proxy = &mut *proxy(on, &least(&[A, B]), WORKERS);
    loop {
        let (stream, step) = chat_bytes(proxy, 0, BODY);
        let fails = step.sent().endpoint() == A;
        answer(proxy, stream, if fails { 500 } else { 200 });
        if fails {
            break;
        }
    }
    let all_at_b = |proxy: &mut dyn Proxy| {
        for _ in 0..10 {
            let (stream, step) = chat_bytes(proxy, 0, BODY);
            assert_eq!(step.sent().endpoint(), B);
            proxy.close(stream);
        }
    };
    all_at_b(proxy);
    proxy.reload(&least(&[B, A]));
    all_at_b(proxy);
    pass(proxy, 0..WORKERS, Duration::from_secs(60));
    let mut endpoints = Vec::new();
    for _ in 0..10 {
        let (_, step) = chat_bytes(proxy, 0, BODY);
        endpoints.push(step.sent().endpoint().to_owned());
    }
    assert!(endpoints.contains(&A.to_owned()), "it fades as before");
}
