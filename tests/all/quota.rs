//! Limits: reserved at admission, settled by what was used, told in headers; over several workers.

mod answers;
mod fleet;
mod race;
mod settled;

use std::time::Duration;

use serde_json::{Value, json};

use crate::on_both;
use crate::scenario::{On, Proxy, Refused, Step, StreamId, pass, post, proxy};

on_both! {
    concurrent_reservations_over_four_workers_never_exceed_the_limit
    a_refusal_by_the_second_limit_takes_nothing_from_the_first
    the_wait_that_is_told_admits_and_a_millisecond_less_does_not
    a_cost_above_the_burst_is_no_matter_of_waiting
    without_an_endpoint_nothing_is_taken
    headers_tell_what_is_left
    keys_are_combined_freely
    strange_keys_take_nothing_from_a_caller
    what_a_dead_worker_had_reserved_drains
    the_wall_clock_changes_nothing
    requests_that_match_no_limit_are_not_limited
    a_request_without_tokens_passes_a_limit_of_tokens_that_is_owed
}

fn config(quotas: Value) -> Value {
    json!({
        "pools": [{"name": "small", "endpoints": [{"address": "10.0.1.1:8080"}], "health": {"check": {"enabled": false}}}],
        "routes": [{"name": "chat", "pools": ["small"]}],
        "identity": {"tenant_header": "x-tenant"},
        "quotas": quotas,
    })
}

fn tokens(limit: u32) -> Value {
    json!([{"name": "team", "tokens": {"limit": limit, "per": "1h"}}])
}

/// A chat that may cost its input and `bound` tokens.
fn ask(
    proxy: &mut dyn Proxy,
    worker: usize,
    headers: &[(&str, &str)],
    bound: u32,
) -> (StreamId, Step) {
    let body = json!({"model": "m", "max_tokens": bound, "messages": [{"role": "user", "content": "hello"}]});
    let all: Vec<_> = post("/v1/chat/completions")
        .into_iter()
        .chain(headers.iter().copied())
        .collect();
    let (stream, step) = proxy.open(worker, &all, false);
    match step {
        Step::Held => (
            stream,
            proxy.body(stream, body.to_string().as_bytes(), true),
        ),
        decided => (stream, decided),
    }
}

/// The input that `ask` is estimated at.
const INPUT: u32 = 6;

fn is_sent(step: &Step) -> bool {
    matches!(step, Step::Forwarded(_))
}

/// Answers and ends a request, as its endpoint says with so much used.
fn answer_using(proxy: &mut dyn Proxy, stream: StreamId, input: u32, output: u32) {
    proxy.respond_with(stream, 200, 1, &[("content-type", "application/json")]);
    let body = json!({"choices": [{"message": {"content": "x"}}],
        "usage": {"prompt_tokens": input, "completion_tokens": output}});
    proxy.respond_body(stream, body.to_string().as_bytes(), true);
    proxy.close(stream);
}

/// What is left, as a request of the least output is told that is refused, be it by its endpoint.
fn left(proxy: &mut dyn Proxy) -> u32 {
    let (stream, step) = ask(proxy, 0, &[], 1);
    let left = match step {
        Step::Forwarded(_) => {
            let told = proxy.respond(stream, 429, 1);
            number(&told, "x-ratelimit-remaining-tokens") + INPUT + 1
        }
        Step::Refused(refused) => number(&refused.headers, "x-ratelimit-remaining-tokens"),
        Step::Held => panic!("held"),
    };
    proxy.close(stream);
    left
}

#[track_caller]
fn text<'a>(headers: &'a [(String, String)], name: &str) -> &'a str {
    let found = headers.iter().find(|(known, _)| known == name);
    &found
        .unwrap_or_else(|| panic!("no {name} in {headers:?}"))
        .1
}

#[track_caller]
fn number(headers: &[(String, String)], name: &str) -> u32 {
    text(headers, name).parse().expect("a number")
}

fn concurrent_reservations_over_four_workers_never_exceed_the_limit(on: On) {
    for requests in [5, 50, 500] {
        let each = 10 + INPUT;
        let limit = each * requests / 2 + 7;
        let proxy = &mut *proxy(on, &config(tokens(limit)), 4);
        let mut sent = Vec::new();
        for request in 0..requests {
            let (stream, step) = ask(proxy, request as usize % 4, &[], 10);
            match step {
                Step::Forwarded(_) => sent.push(stream),
                Step::Refused(refused) => assert_eq!(refused.error("code"), "rate_limit_exceeded"),
                Step::Held => panic!("held"),
            }
        }
        assert_eq!(sent.len() as u32, limit / each);
        for stream in sent {
            answer_using(proxy, stream, INPUT, 3);
        }
        (0..4).for_each(|worker| proxy.tick(worker));
        assert_eq!(left(proxy), limit - limit / each * (INPUT + 3));
    }
}

fn a_refusal_by_the_second_limit_takes_nothing_from_the_first(on: On) {
    let quotas = json!([
        {"name": "wide", "tokens": {"limit": 1000, "per": "1h"}, "requests": {"limit": 100, "per": "1h"}},
        {"name": "narrow", "requests": {"limit": 1, "per": "1h"}},
    ]);
    let proxy = &mut *proxy(on, &config(quotas), 2);
    let (first, step) = ask(proxy, 0, &[], 94);
    assert!(is_sent(&step));
    for worker in [0, 1, 0, 1] {
        let refused = ask(proxy, worker, &[], 94).1.refused();
        assert_eq!(
            (refused.status, refused.retry_after.as_deref()),
            (429, Some("3600"))
        );
        assert!(refused.error("message").contains("`narrow`"));
        assert_eq!(text(&refused.headers, "retry-after-ms"), "3600000");
        assert_eq!(
            number(&refused.headers, "x-ratelimit-remaining-tokens"),
            900
        );
    }
    answer_using(proxy, first, INPUT, 10);
    pass(proxy, 0..2, Duration::from_millis(50));
    assert_eq!(proxy.metric("junheng.quota.narrow.refused"), 4);
    assert_eq!(proxy.metric("junheng.quota.wide.refused"), 0);
}

fn wait_told(refused: &Refused) -> Duration {
    assert_eq!(refused.status, 429);
    Duration::from_millis(
        text(&refused.headers, "retry-after-ms")
            .parse()
            .expect("a number"),
    )
}

fn the_wait_that_is_told_admits_and_a_millisecond_less_does_not(on: On) {
    for (limit, per) in [(1000, "1m"), (7, "1s"), (333, "7s"), (100_000, "24h")] {
        let bound = limit.min(100) - INPUT.min(limit);
        let quotas = json!([{"name": "team", "tokens": {"limit": limit, "per": per}}]);
        let proxy = &mut *proxy(on, &config(quotas), 2);
        while is_sent(&ask(proxy, 0, &[], bound).1) {}
        let wait = wait_told(&ask(proxy, 1, &[], bound).1.refused());
        proxy.advance(wait - Duration::from_millis(1));
        let refused = ask(proxy, 0, &[], bound).1.refused();
        assert_eq!(wait_told(&refused), Duration::from_millis(1));
        assert_eq!(refused.retry_after.as_deref(), Some("1"));
        proxy.advance(Duration::from_millis(1));
        assert!(is_sent(&ask(proxy, 1, &[], bound).1), "{limit} per {per}");
    }
}

fn a_cost_above_the_burst_is_no_matter_of_waiting(on: On) {
    let quotas = json!([{"name": "team", "tokens": {"limit": 1000, "per": "1m", "burst": 100}}]);
    let proxy = &mut *proxy(on, &config(quotas), 1);
    let refused = ask(proxy, 0, &[], 95).1.refused();
    assert_eq!(
        (refused.status, refused.error("code")),
        (400, "request_above_limit")
    );
    assert_eq!(refused.error("type"), "invalid_request_error");
    assert_eq!(refused.retry_after, None);
    assert_eq!(text(&refused.headers, "x-should-retry"), "false");
    assert!(is_sent(&ask(proxy, 0, &[], 94).1));
}

fn without_an_endpoint_nothing_is_taken(on: On) {
    let mut config = config(tokens(100));
    config["pools"][0]["endpoints"][0]["weight"] = json!(0);
    let proxy = &mut *proxy(on, &config, 1);
    for _ in 0..20 {
        assert_eq!(
            ask(proxy, 0, &[], 50).1.refused().error("code"),
            "no_endpoint"
        );
    }
}

fn headers_tell_what_is_left(on: On) {
    let quotas = json!([
        {"name": "day", "tokens": {"limit": 86_400, "per": "24h"}},
        {"name": "minute", "tokens": {"limit": 600, "per": "1m", "burst": 1200}, "requests": {"limit": 60, "per": "1m"}},
    ]);
    let proxy = &mut *proxy(on, &config(quotas), 1);
    let (stream, _) = ask(proxy, 0, &[], 194);
    let told = proxy.respond_with(stream, 200, 1, &[("x-ratelimit-remaining-tokens", "77")]);
    assert_eq!(
        text(&told, "ratelimit-policy"),
        "\"day.tokens\";q=86400;w=86400;qu=\"tokens\", \"minute.requests\";q=60;w=60;qu=\"requests\", \
         \"minute.tokens\";q=1200;w=120;qu=\"tokens\""
    );
    assert_eq!(
        text(&told, "ratelimit"),
        "\"day.tokens\";r=86200;t=1, \"minute.requests\";r=59;t=1, \"minute.tokens\";r=1000;t=1"
    );
    for (name, value) in [
        ("x-ratelimit-limit-requests", "60"),
        ("x-ratelimit-remaining-requests", "59"),
        ("x-ratelimit-reset-requests", "1s"),
        ("x-ratelimit-limit-tokens", "1200"),
        ("x-ratelimit-remaining-tokens", "1000"),
        ("x-ratelimit-reset-tokens", "20s"),
    ] {
        assert_eq!(text(&told, name), value);
        assert_eq!(
            told.iter().filter(|(known, _)| known == name).count(),
            1,
            "{name}"
        );
    }
}

fn keys_are_combined_freely(on: On) {
    let quotas = json!([{"name": "team", "key": ["tenant", "model", "route", "address", "header:X-Team"],
        "requests": {"limit": 1, "per": "1h"}}]);
    let proxy = &mut *proxy(on, &config(quotas), 2);
    let callers: [&[(&str, &str)]; 6] = [
        &[],
        &[("x-tenant", "a")],
        &[("x-team", "a")],
        &[("x-team", "b")],
        &[("x-team", "a"), ("x-team", "b")],
        &[("x-tenant", "a"), ("x-team", "b")],
    ];
    for (worker, sent) in [(0, true), (1, false)] {
        for caller in callers {
            assert_eq!(
                is_sent(&ask(proxy, worker, caller, 1).1),
                sent,
                "{caller:?}"
            );
        }
    }
}

fn strange_keys_take_nothing_from_a_caller(on: On) {
    let quotas = json!([{"name": "team", "key": ["header:x-team"], "callers": 64,
        "requests": {"limit": 10, "per": "1h"}}]);
    let proxy = &mut *proxy(on, &config(quotas), 2);
    for _ in 0..9 {
        assert!(is_sent(&ask(proxy, 0, &[("x-team", "tenant")], 1).1));
    }
    let mut sent = 0;
    for stranger in 0..3_000 {
        let name = format!("stranger-{stranger}");
        let (stream, step) = ask(proxy, 1, &[("x-team", &name)], 1);
        sent += u32::from(is_sent(&step));
        proxy.close(stream);
    }
    assert!(
        sent <= 64 + 8 * 10,
        "{sent}: one each for 64 buckets, and what eight sets share"
    );
    assert!(
        is_sent(&ask(proxy, 1, &[("x-team", "tenant")], 1).1),
        "the tenth"
    );
    assert!(
        !is_sent(&ask(proxy, 0, &[("x-team", "tenant")], 1).1),
        "no eleventh"
    );
}

fn what_a_dead_worker_had_reserved_drains(on: On) {
    let quotas = json!([{"name": "team", "tokens": {"limit": 1000, "per": "1m"}}]);
    let proxy = &mut *proxy(on, &config(quotas), 2);
    assert!(is_sent(&ask(proxy, 1, &[], 994).1));
    proxy.kill(1);
    proxy.revive(1);
    assert_eq!(
        wait_told(&ask(proxy, 0, &[], 94).1.refused()),
        Duration::from_secs(6)
    );
    proxy.advance(Duration::from_secs(60));
    assert!(is_sent(&ask(proxy, 0, &[], 994).1));
}

fn the_wall_clock_changes_nothing(on: On) {
    let proxy = &mut *proxy(on, &config(tokens(100)), 1);
    assert!(is_sent(&ask(proxy, 0, &[], 94).1));
    proxy.step_wall(3600);
    let wait = wait_told(&ask(proxy, 0, &[], 94).1.refused());
    proxy.step_wall(-7200);
    assert_eq!(wait_told(&ask(proxy, 0, &[], 94).1.refused()), wait);
}

fn requests_that_match_no_limit_are_not_limited(on: On) {
    let quotas = json!([{"name": "b", "match": {"tenants": ["b"]}, "key": ["tenant"],
        "requests": {"limit": 1, "per": "1h"}}]);
    let proxy = &mut *proxy(on, &config(quotas), 1);
    for _ in 0..5 {
        let (stream, step) = ask(proxy, 0, &[("x-tenant", "a")], 1);
        assert!(is_sent(&step));
        let told = proxy.respond(stream, 200, 1);
        assert!(told.iter().all(|(name, _)| !name.contains("ratelimit")));
    }
    assert!(is_sent(&ask(proxy, 0, &[("x-tenant", "b")], 1).1));
    assert!(!is_sent(&ask(proxy, 0, &[("x-tenant", "b")], 1).1));
}

fn a_request_without_tokens_passes_a_limit_of_tokens_that_is_owed(on: On) {
    let proxy = &mut *proxy(on, &config(tokens(1000)), 1);
    let (stream, _) = ask(proxy, 0, &[], 4);
    answer_using(proxy, stream, INPUT, 3000);
    assert!(!is_sent(&ask(proxy, 0, &[], 1).1));
    let get = [
        (":method", "GET"),
        (":path", "/v1/models"),
        (":authority", "test"),
    ];
    assert!(is_sent(&proxy.open(0, &get, true).1));
}
