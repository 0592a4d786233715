//! In-flight counts: exact over all workers, and released on every way that a stream can end.

use std::collections::BTreeMap;
use std::time::Duration;

use junheng::values::rng::Rng;
use serde_json::{Value, json};

use crate::on_both;
use crate::scenario::{On, Proxy, Step, StreamId, chat_bytes, post, proxy};

const BODY: &[u8] = br#"{"model":"m","messages":[]}"#;
const ENDPOINTS: [&str; 3] = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"];

fn config(algorithm: &str) -> Value {
    let hash = (algorithm == "consistent_hash").then(|| json!({"on": "prompt"}));
    let endpoints: Vec<Value> = ENDPOINTS
        .iter()
        .map(|address| json!({"address": address}))
        .collect();
    let mut balance = json!({"algorithm": algorithm});
    if let Some(hash) = hash {
        balance["hash"] = hash;
    }
    json!({
        "pools": [{
            "name": "p", "balance": balance, "endpoints": endpoints,
            "health": {"breaker": {"enabled": false}},
        }],
        "routes": [{"pools": ["p"]}],
    })
}

fn in_flight(proxy: &dyn Proxy, endpoint: &str) -> i64 {
    proxy.metric(&format!("junheng.endpoint.p.{endpoint}.in_flight"))
}

fn every_way_to_end_releases(on: On) {
    let mut proxy = proxy(on, &config("round_robin"), 1);
    let ends: [fn(&mut dyn Proxy, StreamId); 5] = [
        |proxy, stream| {
            proxy.respond(stream, 200, 1);
            proxy.respond_body(stream, b"{}", true);
        },
        |proxy, stream| drop(proxy.respond(stream, 503, 3)),
        |proxy, stream| {
            proxy.respond(stream, 200, 1);
            proxy.respond_body(stream, b"data: half", false);
        },
        |proxy, stream| drop(proxy.respond(stream, 200, 99)),
        |_, _| {},
    ];
    for (end, act) in ends.into_iter().enumerate() {
        let (stream, step) = chat_bytes(&mut *proxy, 0, BODY);
        let endpoint = step.sent().endpoint().to_owned();
        assert_eq!(in_flight(&*proxy, &endpoint), 1);
        act(&mut *proxy, stream);
        proxy.close(stream);
        let left: i64 = ENDPOINTS
            .iter()
            .map(|endpoint| in_flight(&*proxy, endpoint))
            .sum();
        assert_eq!(left, 0, "end {end}");
    }
    let (stream, _) = proxy.open(0, &post("/v1/chat/completions"), false);
    proxy.close(stream);
    let left: i64 = ENDPOINTS
        .iter()
        .map(|endpoint| in_flight(&*proxy, endpoint))
        .sum();
    assert_eq!(left, 0, "gone before its body was complete");
}

fn an_answer_that_breaks_off_is_no_good_answer(on: On) {
    let mut proxy = proxy(on, &config("round_robin"), 1);
    for end in [true, false] {
        let (stream, step) = chat_bytes(&mut *proxy, 0, BODY);
        step.sent();
        proxy.respond(stream, 200, 1);
        proxy.respond_body(stream, b"data: half", end);
        proxy.close(stream);
    }
    proxy.tick(0);
    let counted =
        ["ok", "cut"].map(|class| proxy.metric(&format!("junheng.pool.p.requests_{class}")));
    assert_eq!(counted, [1, 1]);
}

fn a_retry_moves_the_request_to_the_endpoint_that_answers(on: On) {
    let mut proxy = proxy(on, &config("round_robin"), 1);
    let (stream, step) = chat_bytes(&mut *proxy, 0, BODY);
    let order = step
        .sent()
        .header("x-gateway-destination-endpoint")
        .to_owned();
    let order: Vec<&str> = order.split(',').collect();
    proxy.respond(stream, 200, 2);
    assert_eq!(
        (in_flight(&*proxy, order[0]), in_flight(&*proxy, order[1])),
        (0, 1)
    );
    proxy.tick(0);
    assert_eq!(proxy.metric("junheng.pool.p.retries"), 1);
    proxy.close(stream);
    assert_eq!(in_flight(&*proxy, order[1]), 0);
}

/// Dispatches, retries, answers and disconnects, in any order over eight workers: after each step the
/// gauges are what a plain count says. `JUNHENG_STEPS` changes how many.
fn counts_are_exact_over_eight_workers_after_each_step(on: On) {
    let steps = std::env::var("JUNHENG_STEPS")
        .ok()
        .and_then(|steps| steps.parse().ok())
        .unwrap_or(1_000_000 / 5);
    for (seed, algorithm) in (0..).zip([
        "round_robin",
        "weighted_round_robin",
        "least_connections",
        "response_time",
        "consistent_hash",
    ]) {
        let hashes = algorithm == "consistent_hash";
        let mut unbounded = config(algorithm);
        unbounded["routes"][0]["retry"] = json!({"on": ["reset", "server_error"]});
        random_steps(&mut *proxy(on, &unbounded, 8), steps, seed, hashes);
        // With bounds, where retries hide refusals as well.
        random_steps(
            &mut *proxy(on, &config(algorithm), 8),
            steps / 5,
            seed,
            hashes,
        );
    }
}

fn random_steps(proxy: &mut dyn Proxy, steps: usize, seed: u64, hashes: bool) {
    let mut rng = Rng::new(seed);
    let mut open: Vec<(StreamId, Vec<String>, usize)> = Vec::new();
    let mut counts: BTreeMap<String, i64> = BTreeMap::new();
    let mut forwarded = 0;
    for step in 0..steps {
        match rng.below(8) {
            0..3 if open.len() < 64 => {
                let (stream, step) = chat_bytes(proxy, rng.below(8), BODY);
                let Step::Forwarded(sent) = step else {
                    assert!(bounded(proxy), "{step:?}");
                    assert_eq!(step.refused().error("code"), "no_endpoint");
                    proxy.close(stream);
                    continue;
                };
                forwarded += 1;
                let order: Vec<String> = sent
                    .header("x-gateway-destination-endpoint")
                    .split(',')
                    .map(str::to_owned)
                    .collect();
                *counts.entry(order[0].clone()).or_default() += 1;
                open.push((stream, order, 0));
            }
            3 => {
                if let Some((stream, order, at)) =
                    pick(&mut rng, &mut open).filter(|(_, _, at)| *at == 0)
                {
                    let tried = 1 + rng.below(order.len());
                    proxy.respond(
                        *stream,
                        if rng.below(4) == 0 { 502 } else { 200 },
                        tried as u32,
                    );
                    *counts.entry(order[*at].clone()).or_default() -= 1;
                    *at = tried - 1;
                    *counts.entry(order[*at].clone()).or_default() += 1;
                    if *at == 0 {
                        proxy.respond_body(*stream, b"{}", true);
                        *counts.entry(order[0].clone()).or_default() -= 1;
                        proxy.close(*stream);
                        let stream = *stream;
                        open.retain(|(open, _, _)| *open != stream);
                    }
                }
            }
            4 => proxy.tick(rng.below(8)),
            // Each worker ticks every half of a second: none is ever taken for dead.
            5 => proxy.advance(Duration::from_millis(rng.below(16) as u64)),
            _ => {
                if !open.is_empty() {
                    let (stream, order, at) = open.swap_remove(rng.below(open.len()));
                    *counts.entry(order[at].clone()).or_default() -= 1;
                    proxy.close(stream);
                }
            }
        }
        for endpoint in ENDPOINTS {
            let expected = counts.get(endpoint).copied().unwrap_or(0);
            assert_eq!(
                in_flight(proxy, endpoint),
                expected,
                "{endpoint} after step {step} of seed {seed}"
            );
        }
    }
    assert!(forwarded >= steps / 10, "{forwarded} of {steps}");
    if hashes {
        let pool = proxy.metric("junheng.pool.p.in_flight");
        assert_eq!(pool, counts.values().sum::<i64>());
    }
}

/// Whether all endpoints have bounds, so that all may be at theirs.
fn bounded(proxy: &dyn Proxy) -> bool {
    ENDPOINTS
        .iter()
        .all(|endpoint| proxy.metric(&format!("junheng.endpoint.p.{endpoint}.in_flight_bound")) > 0)
}

fn pick<'a, T>(rng: &mut Rng, from: &'a mut [T]) -> Option<&'a mut T> {
    let at = rng.below(from.len());
    from.get_mut(at)
}

on_both! {
    every_way_to_end_releases
    an_answer_that_breaks_off_is_no_good_answer
    a_retry_moves_the_request_to_the_endpoint_that_answers
    counts_are_exact_over_eight_workers_after_each_step
}
