//! Whom a failure tells of: one caller's bad requests, in every share of the traffic, take nothing
//! from others.

use std::time::Duration;

use serde_json::{Value, json};

use super::{BODY, call_from, config, open, state, trips};
use crate::on_both;
use crate::scenario::{On, Proxy, StreamId, answer, pass, proxy};

on_both! {
    requests_that_every_endpoint_fails_trip_none_at_any_share
    with_one_attempt_a_caller_that_fails_everywhere_trips_none
    one_callers_failures_do_not_trip_the_only_endpoint_of_others
    an_endpoint_that_fails_everything_trips_at_the_fifth_request_of_its_only_caller
    endpoints_that_fail_everything_trip_where_each_caller_meets_several
    a_pool_that_fails_everything_of_all_callers_gives_way_to_the_next
    a_pool_whose_only_caller_fails_everywhere_gives_way_to_the_next
    an_endpoint_that_fails_what_another_serves_trips_whoever_calls
    a_probe_that_fails_elsewhere_as_well_proves_nothing
    a_caller_whose_probe_failed_leaves_the_next_one_to_others
    a_caller_whose_answers_come_first_does_not_hide_the_others
    one_failure_of_anothers_does_not_make_a_callers_failures_count
    a_flood_that_fails_everywhere_beside_a_few_failures_of_others_trips_nothing
    what_one_endpoint_fails_of_one_caller_does_not_trip_it_for_others
    a_429_is_its_callers_until_another_gets_one
    overload_bounds_what_an_endpoint_carries_and_successes_open_it
}

const ENDPOINTS: [&str; 3] = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"];

fn all_trips(proxy: &dyn Proxy) -> i64 {
    ENDPOINTS
        .iter()
        .map(|endpoint| trips(proxy, endpoint))
        .sum()
}

/// A request from a caller; its stream and the endpoints it may try.
fn call(proxy: &mut dyn Proxy, caller: usize, worker: usize) -> (StreamId, Vec<String>) {
    call_from(proxy, caller);
    open(proxy, worker)
}

/// Of a hundred requests `poison` are caller 66's, failed by every endpoint that is asked; the
/// others are served.
fn poisoned(on: On, poison: usize, endpoints: usize, route: Value) -> Box<dyn Proxy> {
    let mut proxy = proxy(on, &config("least_connections", endpoints, route), 2);
    pass(&mut *proxy, 0..2, Duration::from_millis(100));
    for request in 0..2_000 {
        let bad = request * 7919 % 100 < poison;
        let caller = if bad { 66 } else { request % 3 };
        let (stream, order) = call(&mut *proxy, caller, request % 2);
        if bad {
            proxy.respond(stream, [500, 501, 502][request % 3], order.len() as u32);
            proxy.respond_body(stream, b"{}", true);
            proxy.close(stream);
        } else {
            answer(&mut *proxy, stream, 200);
        }
        if request % 10 == 0 {
            pass(&mut *proxy, 0..2, Duration::from_millis(50));
        }
    }
    proxy
}

fn requests_that_every_endpoint_fails_trip_none_at_any_share(on: On) {
    for poison in [1, 10, 30, 50] {
        let proxy = poisoned(on, poison, 3, json!({"pools": ["p"]}));
        assert_eq!(all_trips(&*proxy), 0, "{poison} %");
    }
}

fn with_one_attempt_a_caller_that_fails_everywhere_trips_none(on: On) {
    for poison in [1, 10, 30, 50] {
        let proxy = poisoned(on, poison, 3, json!({"pools": ["p"], "attempts": 1}));
        assert_eq!(all_trips(&*proxy), 0, "{poison} %");
    }
}

fn one_callers_failures_do_not_trip_the_only_endpoint_of_others(on: On) {
    for poison in [1, 10, 30, 50] {
        let proxy = poisoned(on, poison, 1, json!({"pools": ["p"]}));
        assert_eq!(all_trips(&*proxy), 0, "{poison} %");
    }
}

fn an_endpoint_that_fails_everything_trips_at_the_fifth_request_of_its_only_caller(on: On) {
    for endpoints in [1, 3] {
        let route = json!({"pools": ["p"], "attempts": 1});
        let mut proxy = proxy(on, &config("round_robin", endpoints, route), 2);
        pass(&mut *proxy, 0..2, Duration::from_millis(100));
        let mut failures = 0;
        while trips(&*proxy, ENDPOINTS[0]) == 0 {
            let (stream, order) = call(&mut *proxy, 1, failures % 2);
            let fails = order[0] == ENDPOINTS[0];
            answer(&mut *proxy, stream, if fails { 500 } else { 200 });
            failures += usize::from(fails);
            assert!(failures <= 5, "{endpoints} endpoints");
        }
        assert_eq!(failures, 5);
        assert_eq!(all_trips(&*proxy), 1);
    }
}

fn endpoints_that_fail_everything_trip_where_each_caller_meets_several(on: On) {
    for callers in [1, 3] {
        let route = json!({"pools": ["p"], "attempts": 1});
        let mut proxy = proxy(on, &config("round_robin", 3, route), 2);
        pass(&mut *proxy, 0..2, Duration::from_millis(100));
        for request in 0..60 {
            let (stream, order) = call(&mut *proxy, request / 7 % callers, request % 2);
            let fails = order[0] != ENDPOINTS[2];
            answer(&mut *proxy, stream, if fails { 500 } else { 200 });
            pass(&mut *proxy, 0..2, Duration::from_millis(50));
        }
        let tripped = ENDPOINTS.map(|endpoint| trips(&*proxy, endpoint));
        assert_eq!(tripped, [1, 1, 0], "{callers} callers");
    }
}

/// All that it is asked fails, at each of its endpoints.
fn dead_pool(on: On, callers: usize) {
    let route = json!({"pools": ["p", "spare"]});
    let mut proxy = proxy(on, &config("round_robin", 2, route), 2);
    for caller in 0..callers {
        let (stream, _) = call(&mut *proxy, caller, caller % 2);
        answer(&mut *proxy, stream, 200);
    }
    let mut seen = 0;
    for request in 0..200 {
        let (stream, order) = call(&mut *proxy, request % callers, request % 2);
        if order[0] == "10.0.1.1:80" {
            answer(&mut *proxy, stream, 200);
        } else {
            seen += 1;
            proxy.respond(stream, 500, order.len() as u32);
            proxy.respond_body(stream, b"{}", true);
            proxy.close(stream);
        }
        pass(&mut *proxy, 0..2, Duration::from_millis(50));
    }
    assert!(seen <= 25, "{seen} of 200 were sent to a dead pool");
}

fn a_pool_that_fails_everything_of_all_callers_gives_way_to_the_next(on: On) {
    dead_pool(on, 3);
}

fn a_pool_whose_only_caller_fails_everywhere_gives_way_to_the_next(on: On) {
    dead_pool(on, 1);
}

fn an_endpoint_that_fails_what_another_serves_trips_whoever_calls(on: On) {
    for callers in [1, 2] {
        let mut proxy = proxy(on, &config("round_robin", 3, json!({"pools": ["p"]})), 2);
        pass(&mut *proxy, 0..2, Duration::from_millis(100));
        let (mut failures, mut request) = (0, 0);
        while trips(&*proxy, ENDPOINTS[0]) == 0 {
            request += 1;
            let (stream, order) = call(&mut *proxy, failures % callers, request % 2);
            let fails = order[0] == ENDPOINTS[0];
            proxy.respond(stream, 200, 1 + u32::from(fails));
            proxy.respond_body(stream, b"{}", true);
            proxy.close(stream);
            failures += usize::from(fails);
            assert!(failures <= 5, "{callers} callers");
        }
        assert_eq!((failures, all_trips(&*proxy)), (5, 1));
    }
}

fn a_probe_that_fails_elsewhere_as_well_proves_nothing(on: On) {
    let mut proxy = proxy(on, &config("round_robin", 2, json!({"pools": ["p"]})), 2);
    pass(&mut *proxy, 0..2, Duration::from_millis(100));
    super::fail_until_tripped(&mut *proxy, ENDPOINTS[0]);
    pass(&mut *proxy, 0..2, Duration::from_secs(31));
    let (stream, order) = call(&mut *proxy, 66, 0);
    assert_eq!(order, [ENDPOINTS[0], ENDPOINTS[1]], "a probe");
    proxy.respond(stream, 500, 2);
    proxy.respond_body(stream, b"{}", true);
    proxy.close(stream);
    assert_eq!(all_trips(&*proxy), 1, "it has not failed");
    pass(&mut *proxy, 0..2, Duration::from_millis(100));
    let (stream, order) = call(&mut *proxy, 1, 1);
    assert_eq!(order[0], ENDPOINTS[0], "the next request is a probe");
    answer(&mut *proxy, stream, 200);
    pass(&mut *proxy, 0..2, Duration::from_millis(100));
    assert_eq!(state(&*proxy, ENDPOINTS[0]), 1, "ramping");
}

/// Poison that comes at the very moment at which a probe is due fails it once, and not the next one.
fn a_caller_whose_probe_failed_leaves_the_next_one_to_others(on: On) {
    let route = json!({"pools": ["p"], "attempts": 1});
    let mut proxy = proxy(on, &config("round_robin", 2, route), 2);
    for caller in 1..20 {
        let (stream, _) = call(&mut *proxy, caller, 0);
        answer(&mut *proxy, stream, 200);
    }
    for caller in 1..100 {
        let (stream, order) = call(&mut *proxy, caller, 0);
        let fails = order[0] == ENDPOINTS[0];
        answer(&mut *proxy, stream, if fails { 500 } else { 200 });
    }
    pass(&mut *proxy, 0..2, Duration::from_millis(50));
    let mut cycles = 0;
    while state(&*proxy, ENDPOINTS[0]) == 3 && cycles < 10 {
        cycles += 1;
        pass(&mut *proxy, 0..2, Duration::from_secs(30));
        for caller in [66, 1] {
            let (stream, _) = call(&mut *proxy, caller, 0);
            answer(&mut *proxy, stream, if caller == 66 { 500 } else { 200 });
        }
        pass(&mut *proxy, 0..2, Duration::from_millis(50));
    }
    assert_eq!((cycles, state(&*proxy, ENDPOINTS[0])), (2, 1));
}

/// The first success of each bucket of ten seconds is the hostile caller's.
fn a_caller_whose_answers_come_first_does_not_hide_the_others(on: On) {
    for known in [true, false] {
        let mut config = config("round_robin", 1, json!({"pools": ["p"]}));
        let headers = match known {
            true => json!({"tenant_header": "x-tenant"}),
            false => json!({}),
        };
        config["identity"] = headers;
        let mut proxy = proxy(on, &config, 1);
        let ask = |proxy: &mut dyn Proxy, caller: usize, status: u16| {
            call_from(proxy, caller);
            let tenant = format!("tenant-{caller}");
            let mut headers = crate::scenario::post("/v1/chat/completions");
            headers.push(("x-tenant", &tenant));
            let (stream, _) = proxy.open(0, &headers, false);
            proxy.body(stream, BODY, true).sent();
            answer(proxy, stream, status);
        };
        for bucket in 0..31 {
            ask(&mut *proxy, 66, 200);
            (0..4).for_each(|_| ask(&mut *proxy, 1, 200));
            if bucket < 30 {
                pass(&mut *proxy, 0..1, Duration::from_secs(10));
            }
        }
        (0..30).for_each(|_| ask(&mut *proxy, 66, 500));
        assert_eq!(trips(&*proxy, ENDPOINTS[0]), 0, "known: {known}");
    }
}

/// Half of a caller's requests fail at the only endpoint, and once in a while another's.
fn one_failure_of_anothers_does_not_make_a_callers_failures_count(on: On) {
    let mut proxy = proxy(on, &config("round_robin", 1, json!({"pools": ["p"]})), 1);
    for second in 0..300 {
        for (caller, status) in [(66, 500), (66, 200), (1, 200)] {
            let (stream, _) = call(&mut *proxy, caller, 0);
            let fails = caller == 1 && second % 50 == 20;
            answer(&mut *proxy, stream, if fails { 500 } else { status });
        }
        pass(&mut *proxy, 0..1, Duration::from_secs(1));
    }
    assert_eq!(trips(&*proxy, ENDPOINTS[0]), 0);
}

/// Of the others' requests one of a hundred fails, too.
fn a_flood_that_fails_everywhere_beside_a_few_failures_of_others_trips_nothing(on: On) {
    for (endpoints, attempts) in [(1, 1), (2, 1), (2, 3), (3, 1)] {
        let route = json!({"pools": ["p"], "attempts": attempts});
        let mut proxy = proxy(on, &config("least_connections", endpoints, route), 2);
        for request in 0..12_000 {
            // The flood begins a minute after the others.
            let flood = request > 1_200 && request % 3 != 0;
            let caller = if flood { 66 } else { request % 20 };
            let (stream, order) = call(&mut *proxy, caller, request % 2);
            let fails = flood || request % 300 == 0;
            let status = if fails { 500 } else { 200 };
            proxy.respond(stream, status, if flood { order.len() as u32 } else { 1 });
            proxy.respond_body(stream, b"{}", true);
            proxy.close(stream);
            pass(&mut *proxy, 0..2, Duration::from_millis(50));
        }
        assert_eq!(
            all_trips(&*proxy),
            0,
            "{endpoints} endpoints, {attempts} attempts"
        );
    }
}

/// An embedding sent to a chat server: the next endpoint serves it. Thirty such requests come between
/// two answers to others.
fn what_one_endpoint_fails_of_one_caller_does_not_trip_it_for_others(on: On) {
    let mut proxy = proxy(on, &config("round_robin", 2, json!({"pools": ["p"]})), 2);
    for second in 0..300 {
        for caller in [1, 2] {
            let (stream, _) = call(&mut *proxy, caller, caller % 2);
            answer(&mut *proxy, stream, 200);
        }
        for request in (0..60).filter(|_| second > 60) {
            let (stream, order) = call(&mut *proxy, 66, request % 2);
            let fails = order[0] == ENDPOINTS[0];
            proxy.respond(stream, 200, 1 + u32::from(fails));
            proxy.respond_body(stream, b"{}", true);
            proxy.close(stream);
        }
        pass(&mut *proxy, 0..2, Duration::from_secs(1));
    }
    assert_eq!(all_trips(&*proxy), 0);
}

fn a_429_is_its_callers_until_another_gets_one(on: On) {
    let mut proxy = proxy(on, &config("round_robin", 1, json!({"pools": ["p"]})), 2);
    let limited = |proxy: &mut dyn Proxy, caller: usize| {
        let (stream, _) = call(proxy, caller, 0);
        proxy.respond_with(stream, 429, 1, &[("retry-after", "60")]);
        proxy.close(stream);
        pass(proxy, 0..2, Duration::from_millis(100));
        state(proxy, ENDPOINTS[0])
    };
    for _ in 0..20 {
        assert_eq!(limited(&mut *proxy, 66), 0);
        let (stream, _) = call(&mut *proxy, 1, 1);
        answer(&mut *proxy, stream, 200);
    }
    assert_eq!(limited(&mut *proxy, 2), 4, "it rests");
}

fn overload_bounds_what_an_endpoint_carries_and_successes_open_it(on: On) {
    for status in [503, 529] {
        let mut proxy = proxy(
            on,
            &config("least_connections", 1, json!({"pools": ["p"]})),
            2,
        );
        let bound = "junheng.endpoint.p.10.0.0.1:80.in_flight_bound";
        let mut streams: Vec<_> = (0..5).map(|n| call(&mut *proxy, n, n % 2).0).collect();
        let refused = streams.pop().expect("five");
        proxy.respond_with(refused, status, 1, &[("retry-after", "30")]);
        proxy.close(refused);
        pass(&mut *proxy, 0..2, Duration::from_millis(100));
        assert_eq!((state(&*proxy, ENDPOINTS[0]), proxy.metric(bound)), (0, 4));
        call_from(&mut *proxy, 9);
        let (full, step) = crate::scenario::chat_bytes(&mut *proxy, 0, BODY);
        let refusal = step.refused();
        assert_eq!(
            (refusal.status, refusal.retry_after.as_deref()),
            (503, Some("1"))
        );
        proxy.close(full);
        for stream in streams {
            answer(&mut *proxy, stream, 200);
        }
        // Four rounds of four.
        for n in 0..12 {
            let (stream, _) = call(&mut *proxy, n, n % 2);
            answer(&mut *proxy, stream, 200);
        }
        pass(&mut *proxy, 0..2, Duration::from_millis(100));
        assert_eq!(proxy.metric(bound), 5);
        assert_eq!(trips(&*proxy, ENDPOINTS[0]), 0);
    }
}
