//! Each feature switched off, on, and changed.

use std::time::Duration;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{A, B, BODY, WORKERS, config, gauge, live, plain, trip, used};
use crate::on_both;
use crate::scenario::{On, Proxy, Step, answer, chat_bytes, exchange, pass, post, proxy};

on_both! {
    an_endpoint_that_tripped_is_out_from_the_first_request_of_the_next_configuration
    a_breaker_that_is_switched_on_trips
    a_probe_under_way_brings_its_endpoint_back_under_the_next_configuration
    a_ramp_that_is_made_shorter_ends_sooner
    checks_that_are_switched_on_are_made
    weights_that_are_switched_off_are_those_that_are_written
    weights_that_are_switched_on_follow_load
    a_weight_of_zero_wins_from_the_first_request_on
    a_weight_that_was_raised_counts_from_the_first_request_on
    an_algorithm_that_is_changed_keeps_the_counts_of_requests_under_way
    a_key_that_is_withdrawn_is_refused_and_its_streams_go_on
}

fn breaker(breaker: Value) -> Value {
    config(&[A, B], |pool| pool["health"]["breaker"] = breaker)
}

fn an_endpoint_that_tripped_is_out_from_the_first_request_of_the_next_configuration(on: On) {
    let proxy = &mut *proxy(on, &plain(&[A, B]), WORKERS);
    trip(proxy, A);
    proxy.reload(&config(&[A, B], |pool| pool["models"] = json!(["m"])));
    assert_eq!(used(proxy), [(B.to_owned(), 60)].into());
    pass(proxy, 0..WORKERS, Duration::from_secs(1));
    proxy.drain();
    assert_eq!(used(proxy), [(B.to_owned(), 60)].into());
}

fn a_breaker_that_is_switched_on_trips(on: On) {
    let proxy = &mut *proxy(on, &breaker(json!({"enabled": false})), WORKERS);
    for request in 0..40 {
        let (stream, _) = chat_bytes(proxy, request % WORKERS, BODY);
        answer(proxy, stream, 500);
    }
    assert_eq!(used(proxy).len(), 2);
    proxy.reload(&plain(&[A, B]));
    assert_eq!(
        used(proxy).len(),
        2,
        "what went wrong without a breaker counts for nothing"
    );
    trip(proxy, A);
    pass(proxy, 0..WORKERS, Duration::from_millis(50));
    assert_eq!(used(proxy), [(B.to_owned(), 60)].into());
}

fn a_probe_under_way_brings_its_endpoint_back_under_the_next_configuration(on: On) {
    let proxy = &mut *proxy(on, &plain(&[A, B]), WORKERS);
    trip(proxy, A);
    pass(proxy, 0..WORKERS, Duration::from_secs(31));
    let (probe, step) = chat_bytes(proxy, 0, BODY);
    assert_eq!(step.sent().endpoint(), A);
    proxy.reload(&config(&[B, A], |pool| {
        pool["health"]["ramp"] = json!("1s")
    }));
    pass(proxy, 0..WORKERS, Duration::from_millis(100));
    assert_eq!(
        used(proxy),
        [(B.to_owned(), 60)].into(),
        "there is one probe"
    );
    answer(proxy, probe, 200);
    pass(proxy, 0..WORKERS, Duration::from_secs(2));
    assert_eq!(used(proxy), [(A.to_owned(), 30), (B.to_owned(), 30)].into());
}

fn a_ramp_that_is_made_shorter_ends_sooner(on: On) {
    let proxy = &mut *proxy(on, &plain(&[A, B]), WORKERS);
    trip(proxy, A);
    pass(proxy, 0..WORKERS, Duration::from_secs(31));
    assert_eq!(exchange(proxy, 0, BODY), A);
    pass(proxy, 0..WORKERS, Duration::from_secs(3));
    assert!(used(proxy)[A] < 25, "it is ramped up over a minute");
    proxy.reload(&config(&[A, B], |pool| {
        pool["health"]["ramp"] = json!("2s")
    }));
    assert_eq!(used(proxy)[A], 30);
}

fn checked(check: Value) -> Value {
    config(&[A, B], |pool| pool["health"]["check"] = check)
}

fn checks_that_are_switched_on_are_made(on: On) {
    let proxy = &mut *proxy(on, &checked(json!({"enabled": false})), WORKERS);
    assert!(live(proxy, Duration::from_secs(30), |_| 500).is_empty());
    proxy.reload(&checked(json!({})));
    let asked = live(proxy, Duration::from_secs(40), |asked| {
        if asked.endpoint == A { 500 } else { 200 }
    });
    assert!(asked[A] >= 3 && asked[B] >= 3, "{asked:?}");
    assert_eq!(used(proxy), [(B.to_owned(), 60)].into());
}

fn weighted(load: Value, weights: [u16; 2]) -> Value {
    config(&[A, B], |pool| {
        pool["balance"]["algorithm"] = json!("weighted_round_robin");
        pool["load"] = load;
        pool["endpoints"][0]["weight"] = json!(weights[0]);
        pool["endpoints"][1]["weight"] = json!(weights[1]);
    })
}

/// Ten seconds of requests whose answers tell that A is busy: what is left of its weight of 100 is
/// 30.
fn busy(proxy: &mut dyn Proxy) {
    let told = ("endpoint-load-metrics", "TEXT utilization.gpu=0.9");
    for request in 0..100 {
        let (stream, step) = chat_bytes(proxy, request % WORKERS, BODY);
        let is_a = step.sent().endpoint() == A;
        let headers: &[_] = if is_a { &[told] } else { &[] };
        proxy.respond_with(stream, 200, 1, headers);
        proxy.respond_body(stream, b"{}", true);
        proxy.close(stream);
        pass(proxy, 0..WORKERS, Duration::from_millis(100));
    }
}

fn weights_that_are_switched_off_are_those_that_are_written(on: On) {
    let proxy = &mut *proxy(on, &weighted(json!({}), [100, 100]), WORKERS);
    busy(proxy);
    assert!(used(proxy)[A] < 20);
    proxy.reload(&weighted(json!({"weights": false}), [100, 100]));
    for _ in 0..2 {
        assert_eq!(used(proxy)[A], 30);
        pass(proxy, 0..WORKERS, Duration::from_secs(10));
        proxy.drain();
    }
}

fn weights_that_are_switched_on_follow_load(on: On) {
    let off = weighted(json!({"weights": false}), [100, 100]);
    let proxy = &mut *proxy(on, &off, WORKERS);
    busy(proxy);
    assert_eq!(used(proxy)[A], 30);
    proxy.reload(&weighted(json!({}), [100, 100]));
    busy(proxy);
    assert!(used(proxy)[A] < 20);
}

fn a_weight_of_zero_wins_from_the_first_request_on(on: On) {
    for load in [json!({}), json!({"weights": false})] {
        let proxy = &mut *proxy(on, &weighted(json!({}), [100, 100]), WORKERS);
        busy(proxy);
        proxy.reload(&weighted(load, [0, 100]));
        for _ in 0..2 {
            assert_eq!(used(proxy), [(B.to_owned(), 60)].into());
            pass(proxy, 0..WORKERS, Duration::from_millis(50));
        }
        // Of the last configuration, too, whose leader still publishes.
        pass(proxy, 0..WORKERS, Duration::from_secs(10));
        assert_eq!(used(proxy), [(B.to_owned(), 60)].into());
    }
}

fn a_weight_that_was_raised_counts_from_the_first_request_on(on: On) {
    let proxy = &mut *proxy(on, &weighted(json!({}), [100, 100]), WORKERS);
    pass(proxy, 0..WORKERS, Duration::from_secs(6));
    proxy.reload(&weighted(json!({}), [200, 100]));
    for ticks in 0..20 {
        let share = used(proxy)[A];
        assert!(
            (39..=41).contains(&share),
            "{share} of 60 after {ticks} ticks"
        );
        pass(proxy, 0..WORKERS, Duration::from_millis(50));
    }
}

fn an_algorithm_that_is_changed_keeps_the_counts_of_requests_under_way(on: On) {
    let algorithms = [
        json!({"algorithm": "least_connections"}),
        json!({"algorithm": "consistent_hash", "hash": {"on": "prompt"}}),
        json!({"algorithm": "weighted_round_robin"}),
        json!({"algorithm": "response_time"}),
        json!({"algorithm": "round_robin"}),
        json!({"algorithm": "least_connections"}),
    ];
    let with = |balance: &Value| config(&[A, B], |pool| pool["balance"] = balance.clone());
    let proxy = &mut *proxy(on, &with(&algorithms[0]), WORKERS);
    let mut open = Vec::new();
    for algorithm in &algorithms[1..] {
        for request in 0..6 {
            let (stream, step) = chat_bytes(proxy, request % WORKERS, BODY);
            step.sent();
            open.push(stream);
        }
        proxy.reload(&with(algorithm));
        pass(proxy, 0..WORKERS, Duration::from_secs(2));
        let in_flight = [A, B].map(|endpoint| gauge(proxy, endpoint, "in_flight"));
        assert_eq!(
            in_flight.iter().sum::<i64>(),
            open.len() as i64,
            "{algorithm}"
        );
    }
    // Sixteen of thirty are at one of two: the next goes to the other.
    let [a, b] = [A, B].map(|endpoint| gauge(proxy, endpoint, "in_flight"));
    if a != b {
        let (stream, step) = chat_bytes(proxy, 0, BODY);
        assert_eq!(step.sent().endpoint(), if a < b { A } else { B });
        open.push(stream);
    }
    proxy.drain();
    for stream in open {
        answer(proxy, stream, 200);
    }
    pass(proxy, 0..WORKERS, Duration::from_secs(5));
    assert_eq!(
        [A, B].map(|endpoint| gauge(proxy, endpoint, "in_flight")),
        [0, 0]
    );
}

fn a_key_that_is_withdrawn_is_refused_and_its_streams_go_on(on: On) {
    let with = |key: &str| {
        let mut config = plain(&[A]);
        let digest: String = Sha256::digest(key)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        config["identity"] = json!({"keys": {"tenants": [{"tenant": "t", "sha256": [digest]}]}});
        config
    };
    let ask = |proxy: &mut dyn Proxy, key: &str| {
        let mut headers = post("/v1/chat/completions");
        headers.push(("x-api-key", key));
        let (stream, step) = proxy.open(0, &headers, false);
        match step {
            Step::Held => (stream, proxy.body(stream, BODY, true)),
            decided => (stream, decided),
        }
    };
    let (old, new) = ("old-key-of-some-length", "new-key-of-some-length");
    let proxy = &mut *proxy(on, &with(old), WORKERS);
    let (stream, step) = ask(proxy, old);
    step.sent();
    proxy.reload(&with(new));
    assert_eq!(ask(proxy, old).1.refused().status, 401);
    ask(proxy, new).1.sent();
    answer(proxy, stream, 200);
    assert_eq!(proxy.metric("junheng.pool.p.requests_ok"), 0);
    pass(proxy, 0..WORKERS, Duration::from_millis(50));
    assert_eq!(proxy.metric("junheng.pool.p.requests_ok"), 1);
}
