//! Failing endpoints: who is charged, who is left out, how one comes back, and where requests go meanwhile.

mod back;
mod callers;
mod ejection;
mod elsewhere;
mod told;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::on_both;
use crate::scenario::{On, Proxy, StreamId, answer, chat, chat_bytes, exchange, pass, proxy};

const BODY: &[u8] = br#"{"model":"m","messages":[]}"#;

fn config(algorithm: &str, endpoints: usize, route: Value) -> Value {
    let endpoints: Vec<Value> = (1..=endpoints)
        .map(|n| json!({"address": format!("10.0.0.{n}:80")}))
        .collect();
    let pool = |name: &str, endpoints: &[Value]| {
        json!({
            "name": name, "endpoints": endpoints, "balance": {"algorithm": algorithm},
            "health": {"check": {"enabled": false}}, "load": {"weights": false},
        })
    };
    let spare = [json!({"address": "10.0.1.1:80"})];
    json!({"pools": [pool("p", &endpoints), pool("spare", &spare)], "routes": [route]})
}

fn state(proxy: &dyn Proxy, endpoint: &str) -> i64 {
    proxy.metric(&format!("junheng.endpoint.p.{endpoint}.state"))
}

fn trips(proxy: &dyn Proxy, endpoint: &str) -> i64 {
    proxy.metric(&format!("junheng.endpoint.p.{endpoint}.trips"))
}

/// One request; the endpoints it may try.
fn open(proxy: &mut dyn Proxy, worker: usize) -> (StreamId, Vec<String>) {
    let (stream, step) = chat_bytes(proxy, worker, BODY);
    let sent = step.sent();
    let order = sent.header("x-gateway-destination-endpoint").split(',');
    (stream, order.map(str::to_owned).collect())
}

/// Fails `endpoint` until it trips, all others answering well; how many of its requests that took.
fn fail_until_tripped(proxy: &mut dyn Proxy, endpoint: &str) -> usize {
    let mut failures = 0;
    while trips(proxy, endpoint) == 0 {
        assert!(failures < 1000, "never trips");
        let (stream, order) = open(proxy, failures % 2);
        let fails = order[0] == endpoint;
        answer(proxy, stream, if fails { 500 } else { 200 });
        failures += usize::from(fails);
    }
    failures
}

fn five_failures_in_a_row_trip_and_the_sixth_request_goes_elsewhere(on: On) {
    let mut proxy = proxy(on, &config("round_robin", 2, json!({"pools": ["p"]})), 2);
    pass(&mut *proxy, 0..2, Duration::from_millis(100));
    assert_eq!(fail_until_tripped(&mut *proxy, "10.0.0.1:80"), 5);
    pass(&mut *proxy, 0..2, Duration::from_millis(50));
    assert_eq!(state(&*proxy, "10.0.0.1:80"), 3);
    for request in 0..20 {
        assert_eq!(exchange(&mut *proxy, request % 2, BODY), "10.0.0.2:80");
    }
}

/// The next requests come from this address.
fn call_from(proxy: &mut dyn Proxy, host: usize) {
    let address = format!("10.9.0.{host}:40000");
    proxy.set_property(&["source", "address"], address.as_bytes());
}

/// At exactly a fifth an endpoint stays; the failure that makes it more decides. 4xx count for nothing.
fn the_deciding_failure_is_the_one_above_a_fifth(on: On) {
    let mut proxy = proxy(on, &config("round_robin", 1, json!({"pools": ["p"]})), 2);
    let (endpoint, mut failed) = ("10.0.0.1:80", 0);
    for request in 1..=1000 {
        let status = if request % 5 == 0 { 502 } else { 200 };
        call_from(&mut *proxy, request % 2);
        let (stream, _) = open(&mut *proxy, request % 2);
        answer(&mut *proxy, stream, status);
        failed += usize::from(status == 502);
        let (stream, _) = open(&mut *proxy, request % 2);
        answer(&mut *proxy, stream, 422);
    }
    assert_eq!(
        (failed, trips(&*proxy, endpoint)),
        (200, 0),
        "200 of 1,000 are 20 %"
    );
    let (stream, _) = open(&mut *proxy, 0);
    answer(&mut *proxy, stream, 502);
    assert_eq!(trips(&*proxy, endpoint), 1, "201 of 1,001 are more");
}

fn the_endpoints_that_were_tried_before_the_one_that_answered_are_charged(on: On) {
    let mut proxy = proxy(on, &config("round_robin", 3, json!({"pools": ["p"]})), 2);
    let mut charged: BTreeMap<String, usize> = BTreeMap::new();
    for request in 0..60 {
        let (stream, order) = open(&mut *proxy, request % 2);
        let dead = order
            .iter()
            .take_while(|endpoint| *endpoint == "10.0.0.2:80")
            .count();
        *charged.entry(order[0].clone()).or_default() += dead;
        proxy.respond(stream, 200, dead as u32 + 1);
        proxy.respond_body(stream, b"{}", true);
        proxy.close(stream);
        pass(&mut *proxy, 0..2, Duration::from_millis(50));
    }
    assert_eq!(charged["10.0.0.2:80"], 5, "then it is left out");
    let all =
        ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"].map(|endpoint| trips(&*proxy, endpoint));
    assert_eq!(all, [0, 1, 0]);
}

fn what_the_proxy_answers_for_endpoints_that_gave_nothing_is_their_failure(on: On) {
    let mut proxy = proxy(
        on,
        &config("round_robin", 3, json!({"pools": ["p", "spare"]})),
        2,
    );
    // Of the endpoints tried, what the last one did is known: each has to be the last of five.
    let out = |proxy: &dyn Proxy| {
        let trips = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"].map(|at| trips(proxy, at));
        trips.iter().all(|trips| *trips > 0)
    };
    let mut request = 0;
    while !out(&*proxy) {
        request += 1;
        assert!(request < 40, "they do not trip");
        let (stream, order) = open(&mut *proxy, request % 2);
        proxy.respond_for(stream, 503, order.len() as u32);
        proxy.respond_body(stream, b"upstream connect error", true);
        proxy.close(stream);
    }
    pass(&mut *proxy, 0..2, Duration::from_millis(100));
    assert_eq!(
        exchange(&mut *proxy, 0, BODY),
        "10.0.1.1:80",
        "all three are tripped, the next pool serves"
    );
}

fn a_bound_of_the_proxys_own_is_no_endpoints_failure(on: On) {
    let mut proxy = proxy(on, &config("round_robin", 2, json!({"pools": ["p"]})), 2);
    for request in 0..100 {
        let (stream, _) = open(&mut *proxy, request % 2);
        proxy.respond_full(stream);
        proxy.respond_body(stream, b"reset reason: overflow", true);
        proxy.close(stream);
    }
    let all = ["10.0.0.1:80", "10.0.0.2:80"].map(|endpoint| trips(&*proxy, endpoint));
    assert_eq!(all, [0, 0]);
}

fn an_answer_that_the_endpoint_breaks_off_is_a_failure_and_a_client_that_leaves_is_none(on: On) {
    let mut proxy = proxy(on, &config("round_robin", 1, json!({"pools": ["p"]})), 1);
    let half = |proxy: &mut dyn Proxy| {
        let (stream, _) = open(proxy, 0);
        proxy.respond(stream, 200, 1);
        proxy.respond_body(stream, b"data: half", false);
        stream
    };
    for _ in 0..50 {
        let stream = half(&mut *proxy);
        proxy.close(stream);
    }
    assert_eq!(trips(&*proxy, "10.0.0.1:80"), 0);
    for _ in 0..5 {
        let stream = half(&mut *proxy);
        proxy.lose(stream);
    }
    assert_eq!(trips(&*proxy, "10.0.0.1:80"), 1);
}

fn an_overloaded_endpoint_rests_as_long_as_it_asks(on: On) {
    let mut proxy = proxy(on, &config("round_robin", 2, json!({"pools": ["p"]})), 2);
    let tired = "10.0.0.1:80";
    let (mut stream, mut order) = open(&mut *proxy, 0);
    while order[0] != tired {
        answer(&mut *proxy, stream, 200);
        (stream, order) = open(&mut *proxy, 0);
    }
    proxy.respond_with(stream, 503, 1, &[("retry-after", "7")]);
    proxy.close(stream);
    pass(&mut *proxy, 0..2, Duration::from_millis(6_900));
    assert_eq!((state(&*proxy, tired), trips(&*proxy, tired)), (4, 0));
    assert!((0..10).all(|request| exchange(&mut *proxy, request % 2, BODY) != tired));
    pass(&mut *proxy, 0..2, Duration::from_millis(200));
    assert!((0..10).any(|request| exchange(&mut *proxy, request % 2, BODY) == tired));
}

/// Under a thousand requests a second, each answered after 200 ms, one endpoint begins to fail in no time at
/// all: nobody may take it for the fastest.
fn a_black_hole_gets_little_before_it_trips(on: On) {
    for algorithm in ["least_connections", "response_time"] {
        let mut proxy = proxy(on, &config(algorithm, 6, json!({"pools": ["p"]})), 2);
        let hole = "10.0.0.3:80";
        let (mut all, mut sunk) = (0, 0);
        let mut pending: Vec<(StreamId, u32)> = Vec::new();
        let mut tick = 0u32;
        while trips(&*proxy, hole) == 0 && tick < 100_000 {
            tick += 1;
            let opened = tick > 1_000;
            proxy.advance(Duration::from_millis(1));
            if tick.is_multiple_of(50) {
                (0..2).for_each(|worker| proxy.tick(worker));
            }
            while pending.first().is_some_and(|(_, due)| *due <= tick) {
                let (stream, _) = pending.remove(0);
                answer(&mut *proxy, stream, 200);
            }
            let (stream, order) = open(&mut *proxy, tick as usize % 2);
            all += u32::from(opened);
            if opened && order[0] == hole {
                sunk += 1;
                answer(&mut *proxy, stream, 500);
            } else {
                pending.push((stream, tick + 200));
            }
        }
        assert_eq!(trips(&*proxy, hole), 1, "{algorithm}");
        assert!(
            f64::from(sunk) < 0.02 * f64::from(all),
            "{algorithm}: {sunk} of {all}"
        );
    }
}

fn when_none_is_fit_the_next_pool_serves_else_a_refusal_or_panic_as_configured(on: On) {
    let kill = |proxy: &mut dyn Proxy| {
        for request in 0..10 {
            let (stream, _) = open(proxy, request % 2);
            proxy.respond_for(stream, 503, 1);
            proxy.close(stream);
            pass(proxy, 0..2, Duration::from_millis(50));
        }
    };
    let config = |route| {
        let mut document = config("round_robin", 2, route);
        document["pools"][0]["health"]["breaker"] = json!({"max_ejected_percent": 100});
        document
    };
    let mut refusing = proxy(on, &config(json!({"pools": ["p"]})), 2);
    kill(&mut *refusing);
    let (stream, step) = chat(&mut *refusing, &json!({"model": "m", "messages": []}));
    refusing.close(stream);
    let refused = step.refused();
    assert_eq!(
        (refused.status, refused.error("code")),
        (503, "no_endpoint")
    );
    let seconds: u32 = refused
        .retry_after
        .expect("a time")
        .parse()
        .expect("seconds");
    assert!((29..=30).contains(&seconds), "{seconds}");

    let route = json!({"pools": ["p"], "when_none_is_fit": "panic"});
    let mut panicking = proxy(on, &config(route), 2);
    kill(&mut *panicking);
    let mut used: Vec<String> = (0..40)
        .map(|request| exchange(&mut *panicking, request % 2, BODY))
        .collect();
    used.sort();
    used.dedup();
    assert_eq!(used, ["10.0.0.1:80", "10.0.0.2:80"]);
    assert!(
        used.iter()
            .all(|endpoint| trips(&*panicking, endpoint) == 1),
        "still out"
    );
}

fn retries_are_told_to_the_proxy_and_clients_cannot(on: On) {
    let route = json!({
        "pools": ["p"], "attempts": 2,
        "retry": {"on": ["reset", "server_error", "overloaded", "too_many_requests"], "first_byte": "20s", "answer": "5m"}
    });
    let mut proxy = proxy(on, &config("round_robin", 3, route), 1);
    let head = [
        (":method", "POST"),
        (":path", "/v1/chat/completions"),
        ("x-envoy-retry-on", "5xx"),
        ("x-envoy-retry-grpc-on", "internal"),
        ("x-envoy-max-retries", "100"),
        ("x-envoy-upstream-rq-per-try-timeout-ms", "1"),
        ("x-envoy-retriable-header-names", "content-type"),
        ("x-envoy-hedge-on-per-try-timeout", "true"),
        ("X-Envoy-Upstream-Rq-Timeout-Ms", "1"),
        ("x-envoy-upstream-rq-timeout-alt-response", "1"),
        ("x-envoy-upstream-stream-duration-ms", "1"),
        ("x-envoy-upstream-alt-stat-name", "mine"),
        ("x-envoy-expected-rq-timeout-ms", "1"),
        ("x-envoy-decorator-operation", "chat"),
    ];
    for (body, patience) in [
        (r#"{"model":"m","messages":[],"stream":true}"#, "20000"),
        (r#"{"model":"m","messages":[]}"#, "300000"),
    ] {
        let (stream, _) = proxy.open(0, &head, false);
        let sent = proxy.body(stream, body.as_bytes(), true).sent();
        // How long it took is Envoy's own to tell.
        let told = [("x-envoy-upstream-service-time", "7")];
        assert_eq!(
            proxy.respond_with(stream, 200, 1, &told),
            told.map(|(name, value)| (name.to_owned(), value.to_owned()))
        );
        proxy.close(stream);
        assert_eq!(
            sent.header("x-envoy-retry-on"),
            "reset,retriable-status-codes"
        );
        assert_eq!(
            sent.header("x-envoy-retriable-status-codes"),
            "500,501,502,504,503,529,429"
        );
        assert_eq!(sent.header("x-envoy-max-retries"), "1");
        assert_eq!(
            sent.header("x-envoy-upstream-rq-per-try-timeout-ms"),
            patience
        );
        let names = sent.headers.iter().map(|(name, _)| name.to_lowercase());
        let mut to_envoy: Vec<_> = names.filter(|name| name.starts_with("x-envoy-")).collect();
        to_envoy.sort();
        let expected = [
            "x-envoy-decorator-operation",
            "x-envoy-max-retries",
            "x-envoy-retriable-status-codes",
            "x-envoy-retry-on",
            "x-envoy-upstream-rq-per-try-timeout-ms",
        ];
        assert_eq!(to_envoy, expected);
    }
}

fn an_hour_on_the_wall_clock_changes_nothing(on: On) {
    let mut proxy = proxy(on, &config("round_robin", 2, json!({"pools": ["p"]})), 2);
    let failing = "10.0.0.1:80";
    fail_until_tripped(&mut *proxy, failing);
    for hour in [3600i64, -7200, 3600] {
        proxy.step_wall(hour);
        pass(&mut *proxy, 0..2, Duration::from_secs(9));
        assert!((0..10).all(|request| exchange(&mut *proxy, request % 2, BODY) != failing));
    }
    pass(&mut *proxy, 0..2, Duration::from_secs(4));
    assert!((0..10).any(|request| exchange(&mut *proxy, request % 2, BODY) == failing));
}

fn max_fails_within_fail_timeout_leave_out_as_nginx_does(on: On) {
    let mut document = config("round_robin", 2, json!({"pools": ["p"]}));
    document["pools"][0]["health"]["breaker"] = json!({"max_fails": 2, "fail_timeout": "10s"});
    let mut proxy = proxy(on, &document, 2);
    let failing = "10.0.0.1:80";
    assert_eq!(fail_until_tripped(&mut *proxy, failing), 2);
    pass(&mut *proxy, 0..2, Duration::from_millis(9_900));
    assert!((0..10).all(|request| exchange(&mut *proxy, request % 2, BODY) != failing));
    pass(&mut *proxy, 0..2, Duration::from_millis(200));
    assert!((0..10).any(|request| exchange(&mut *proxy, request % 2, BODY) == failing));
}

on_both! {
    five_failures_in_a_row_trip_and_the_sixth_request_goes_elsewhere
    the_deciding_failure_is_the_one_above_a_fifth
    the_endpoints_that_were_tried_before_the_one_that_answered_are_charged
    what_the_proxy_answers_for_endpoints_that_gave_nothing_is_their_failure
    a_bound_of_the_proxys_own_is_no_endpoints_failure
    an_answer_that_the_endpoint_breaks_off_is_a_failure_and_a_client_that_leaves_is_none
    an_overloaded_endpoint_rests_as_long_as_it_asks
    a_black_hole_gets_little_before_it_trips
    when_none_is_fit_the_next_pool_serves_else_a_refusal_or_panic_as_configured
    retries_are_told_to_the_proxy_and_clients_cannot
    an_hour_on_the_wall_clock_changes_nothing
    max_fails_within_fail_timeout_leave_out_as_nginx_does
}
