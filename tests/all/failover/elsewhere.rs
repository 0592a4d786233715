//! Hidden attempts: what a retry says of the endpoint that was tried first.

use std::time::Duration;

use serde_json::{Value, json};

use super::{BODY, call_from, config, state, trips};
use crate::on_both;
use crate::scenario::{On, Proxy, StreamId, chat_bytes, pass, proxy};

on_both! {
    an_endpoint_that_refuses_beside_others_is_bounded_and_not_tripped
    an_endpoint_that_refuses_more_than_it_carries_never_trips
    an_endpoint_that_fails_while_it_carries_nothing_else_trips_at_the_fifth
    an_endpoint_that_fails_everything_trips_under_load_as_well
    an_endpoint_that_fails_half_of_all_trips_under_load
    an_endpoint_that_fails_trips_though_one_caller_is_limited_there
    an_endpoint_that_refuses_everything_is_known_by_few_refusals
    an_overload_is_tried_elsewhere_only_where_there_is_room_to_spare
    a_probe_that_is_served_elsewhere_has_failed
    an_endpoint_that_fails_now_and_then_is_not_bounded
    a_refusal_after_a_retry_is_measured_at_the_endpoint_that_refused
    of_several_hidden_attempts_the_later_ones_say_nothing
}

const FIRST: &str = "10.0.0.1:80";
const SECOND: &str = "10.0.0.2:80";

/// A request under way, with the endpoints that it may try and the statuses upon which it does.
#[derive(Clone)]
struct Sent {
    stream: StreamId,
    order: Vec<String>,
    retried: String,
}

fn two(on: On, retry: Value) -> Box<dyn Proxy> {
    let mut route = json!({"pools": ["p"]});
    if !retry.is_null() {
        route["retry"] = json!({"on": retry});
    }
    let mut proxy = proxy(on, &config("least_connections", 2, route), 2);
    pass(&mut *proxy, 0..2, Duration::from_millis(100));
    proxy
}

fn bound(proxy: &dyn Proxy, endpoint: &str) -> i64 {
    proxy.metric(&format!("junheng.endpoint.p.{endpoint}.in_flight_bound"))
}

/// A request of a caller's.
fn send(proxy: &mut dyn Proxy, caller: usize) -> Sent {
    call_from(proxy, caller);
    let (stream, step) = chat_bytes(proxy, caller % 2, BODY);
    let sent = step.sent();
    let order = sent.header("x-gateway-destination-endpoint").split(',');
    Sent {
        stream,
        order: order.map(str::to_owned).collect(),
        retried: sent.header("x-envoy-retriable-status-codes").to_owned(),
    }
}

/// So many requests, which both workers know of.
fn start(proxy: &mut dyn Proxy, requests: usize) -> Vec<Sent> {
    let mut under_way = Vec::new();
    while under_way.len() < requests {
        under_way.push(send(proxy, under_way.len()));
        pass(proxy, 0..2, Duration::from_millis(50));
    }
    under_way
}

fn finish(proxy: &mut dyn Proxy, sent: &Sent, status: u16, attempts: u32) {
    proxy.respond(sent.stream, status, attempts);
    proxy.respond_body(sent.stream, b"{}", true);
    proxy.close(sent.stream);
}

/// The first endpoint answers so; whether its caller sees that, or the next endpoint serves.
fn answers(proxy: &mut dyn Proxy, sent: &Sent, status: u16) -> bool {
    let retried = sent.order.len() > 1 && sent.retried.contains(&status.to_string());
    match retried {
        true => finish(proxy, sent, 200, 2),
        false => finish(proxy, sent, status, 1),
    }
    !retried
}

/// Keeps 40 requests in flight, `first` answering for the first endpoint; how many of its refusals
/// or failures there were until `enough`, and how many of these callers saw.
fn load(
    proxy: &mut dyn Proxy,
    requests: usize,
    mut first: impl FnMut(usize) -> u16,
    enough: impl Fn(&dyn Proxy) -> bool,
) -> (usize, usize) {
    let mut under_way = Vec::new();
    let (mut bad, mut seen) = (0, 0);
    for request in 0..requests {
        under_way.push(send(proxy, request));
        if under_way.len() >= 40 {
            let sent = under_way.remove(0);
            let status = match sent.order[0] == FIRST {
                true => first(request),
                false => 200,
            };
            let shown = answers(proxy, &sent, status);
            bad += usize::from(status != 200);
            seen += usize::from(status != 200 && shown);
        }
        pass(proxy, 0..2, Duration::from_millis(50));
        if enough(proxy) {
            break;
        }
    }
    (bad, seen)
}

fn has_tripped(proxy: &dyn Proxy) -> bool {
    trips(proxy, FIRST) > 0
}

/// Requests until one is placed at the first endpoint, all others being under way.
fn send_to_first(proxy: &mut dyn Proxy) -> (Sent, Vec<Sent>) {
    let mut others = Vec::new();
    loop {
        let sent = send(proxy, others.len());
        if sent.order[0] == FIRST {
            return (sent, others);
        }
        others.push(sent);
        assert!(others.len() < 100);
    }
}

fn an_endpoint_that_refuses_beside_others_is_bounded_and_not_tripped(on: On) {
    let mut proxy = two(on, Value::Null);
    // Four at each, and a fifth at the first.
    let under_way = start(&mut *proxy, 8);
    let mut others = Vec::new();
    let mut hidden = 0;
    loop {
        let (refused, more) = send_to_first(&mut *proxy);
        others.extend(more);
        if answers(&mut *proxy, &refused, 503) {
            break;
        }
        hidden += 1;
        assert_eq!(bound(&*proxy, FIRST), 0, "it may have been a failure");
    }
    // The first one in each worker.
    assert!((1..=2).contains(&hidden), "{hidden}");
    pass(&mut *proxy, 0..2, Duration::from_millis(100));
    assert_eq!(bound(&*proxy, FIRST), 4);
    assert_eq!(bound(&*proxy, SECOND), 0, "it has served");
    assert_eq!((trips(&*proxy, FIRST), trips(&*proxy, SECOND)), (0, 0));
    for sent in under_way.into_iter().chain(others) {
        answers(&mut *proxy, &sent, 200);
    }
}

/// One request of twenty fails at either endpoint: what it costs is a retry.
fn an_endpoint_that_fails_now_and_then_is_not_bounded(on: On) {
    let mut proxy = two(on, Value::Null);
    let few = |request: usize| match (request * 7919) % 20 {
        0 => 500,
        _ => 200,
    };
    let (_, seen) = load(&mut *proxy, 2_000, few, |proxy| {
        assert_eq!(bound(proxy, FIRST), 0);
        false
    });
    assert_eq!((seen, trips(&*proxy, FIRST)), (0, 0));
}

/// Every second request is refused. What its callers see of it are the questions.
fn an_endpoint_that_refuses_more_than_it_carries_never_trips(on: On) {
    for (retry, status) in [
        (Value::Null, 503),
        (json!(["server_error", "too_many_requests"]), 429),
    ] {
        let mut proxy = two(on, retry);
        let (bad, seen) = load(
            &mut *proxy,
            2_000,
            |request| if request % 2 == 0 { status } else { 200 },
            |_| false,
        );
        assert_eq!(trips(&*proxy, FIRST), 0, "{status}");
        assert!(seen * 8 <= bad, "{status}: {seen} of {bad} were seen");
    }
}

fn an_endpoint_that_fails_while_it_carries_nothing_else_trips_at_the_fifth(on: On) {
    for (retry, deciding) in [
        (Value::Null, 5),
        (json!(["server_error", "overloaded"]), 5),
        // A worker learns of the other one's failures with its own: it asks one later.
        (json!(["server_error", "too_many_requests"]), 6),
    ] {
        let mut proxy = two(on, retry.clone());
        let mut failures = 0;
        while !has_tripped(&*proxy) {
            failures += 1;
            assert!(failures <= deciding, "{retry}");
            let (failed, others) = send_to_first(&mut *proxy);
            assert!(!answers(&mut *proxy, &failed, 500));
            for sent in others {
                answers(&mut *proxy, &sent, 200);
            }
        }
        assert!(failures >= 5, "{retry}: {failures}");
    }
}

fn an_endpoint_that_fails_everything_trips_under_load_as_well(on: On) {
    for retry in [
        Value::Null,
        json!(["server_error", "too_many_requests"]),
        json!(["server_error", "overloaded", "too_many_requests"]),
    ] {
        let mut proxy = two(on, retry.clone());
        let (failures, _) = load(&mut *proxy, 400, |_| 500, has_tripped);
        assert_eq!((trips(&*proxy, FIRST), trips(&*proxy, SECOND)), (1, 0));
        // As many as were under way when the question was placed.
        assert!(failures <= 30, "{retry}: {failures}");
    }
}

fn an_endpoint_that_fails_half_of_all_trips_under_load(on: On) {
    let mut proxy = two(on, Value::Null);
    let half = |request: usize| if request * 7919 % 100 < 50 { 500 } else { 200 };
    let (failures, _) = load(&mut *proxy, 2_000, half, has_tripped);
    assert_eq!((trips(&*proxy, FIRST), trips(&*proxy, SECOND)), (1, 0));
    assert!(failures <= 60, "{failures}");
}

/// Another tenant gets a 429 between any two failures. It is not retried, and explains none.
fn an_endpoint_that_fails_trips_though_one_caller_is_limited_there(on: On) {
    let mut proxy = two(on, Value::Null);
    let mut requests = 0;
    let fails = |_| {
        requests += 1;
        if requests % 2 == 0 { 429 } else { 500 }
    };
    let (bad, _) = load(&mut *proxy, 400, fails, has_tripped);
    assert_eq!((trips(&*proxy, FIRST), trips(&*proxy, SECOND)), (1, 0));
    assert!(bad <= 60, "{bad}");
}

/// A server that loads its model: what is not hidden is no more than a question now and then.
fn an_endpoint_that_refuses_everything_is_known_by_few_refusals(on: On) {
    let mut proxy = two(on, Value::Null);
    let (_, seen) = load(&mut *proxy, 1_000, |_| 503, |_| false);
    assert!(seen <= 25, "{seen} of 1,000 in 50 s");
    assert_eq!(trips(&*proxy, SECOND), 0);
}

fn an_overload_is_tried_elsewhere_only_where_there_is_room_to_spare(on: On) {
    let mut proxy = two(on, Value::Null);
    // The second one is found to carry three.
    let mut under_way: Vec<Sent> = Vec::new();
    let at_second = |under_way: &[Sent]| {
        let second = under_way.iter().filter(|sent| sent.order[0] == SECOND);
        second.count()
    };
    while at_second(&under_way) < 4 {
        under_way.push(send(&mut *proxy, under_way.len()));
        let retried = &under_way[under_way.len() - 1].retried;
        assert_eq!(retried, "500,501,502,504,503,529");
    }
    let refused = under_way.pop().expect("the fourth at the second");
    finish(&mut *proxy, &refused, 503, 1);
    // Of three, three are in flight there, then two, one and none.
    for (left, room) in [(3, false), (2, false), (1, true), (0, true)] {
        while at_second(&under_way) > left {
            let at = under_way.iter().position(|sent| sent.order[0] == SECOND);
            let sent = under_way.remove(at.expect("one at the second"));
            answers(&mut *proxy, &sent, 200);
        }
        pass(&mut *proxy, 0..2, Duration::from_millis(100));
        let (sent, others) = send_to_first(&mut *proxy);
        let expected = match room && others.is_empty() {
            true => "500,501,502,504,503,529",
            false => "500,501,502,504",
        };
        assert_eq!(sent.retried, expected, "{left} at the second");
        for sent in others.into_iter().chain([sent]) {
            answers(&mut *proxy, &sent, 200);
        }
    }
}

fn a_probe_that_is_served_elsewhere_has_failed(on: On) {
    let mut proxy = two(on, Value::Null);
    load(&mut *proxy, 400, |_| 500, has_tripped);
    pass(&mut *proxy, 0..2, Duration::from_secs(31));
    let probe = send(&mut *proxy, 7);
    assert_eq!(probe.order, [FIRST, SECOND]);
    answers(&mut *proxy, &probe, 500);
    pass(&mut *proxy, 0..2, Duration::from_millis(100));
    assert_eq!((state(&*proxy, FIRST), trips(&*proxy, FIRST)), (3, 2));
}

/// How much the second endpoint carried when it was tried is not known.
fn of_several_hidden_attempts_the_later_ones_say_nothing(on: On) {
    let route = json!({"pools": ["p"]});
    let mut proxy = proxy(on, &config("round_robin", 3, route), 1);
    let mut under_way = Vec::new();
    for caller in (0..18).step_by(2) {
        under_way.push(send(&mut *proxy, caller));
    }
    let refused = under_way.pop().expect("nine");
    let alike = under_way
        .iter()
        .position(|sent| sent.order[0] == refused.order[0]);
    let shown = under_way.remove(alike.expect("three at each"));
    finish(&mut *proxy, &shown, 503, 1);
    finish(&mut *proxy, &refused, 200, 3);
    pass(&mut *proxy, 0..1, Duration::from_millis(100));
    let bounds = [0, 1, 2].map(|at| bound(&*proxy, &refused.order[at]));
    assert_eq!(bounds, [2, 0, 0]);
    for sent in under_way {
        answers(&mut *proxy, &sent, 200);
    }
}

/// Six are in flight at the first, and three beside the refused one at the second.
fn a_refusal_after_a_retry_is_measured_at_the_endpoint_that_refused(on: On) {
    let mut proxy = two(on, Value::Null);
    let under_way = start(&mut *proxy, 12);
    let (at_first, at_second): (Vec<_>, Vec<_>) = under_way
        .into_iter()
        .partition(|sent| sent.order[0] == FIRST);
    for sent in &at_second[3..] {
        proxy.close(sent.stream);
    }
    finish(&mut *proxy, &at_first[5], 503, 2);
    pass(&mut *proxy, 0..2, Duration::from_millis(100));
    assert_eq!([FIRST, SECOND].map(|it| bound(&*proxy, it)), [0, 3]);
    for sent in at_first[..5].iter().chain(&at_second[..3]) {
        answers(&mut *proxy, sent, 200);
    }
}
