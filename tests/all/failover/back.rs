//! How an endpoint that was left out comes back: one probe, then a ramp.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use super::{BODY, config, fail_until_tripped, open, state, trips};
use crate::on_both;
use crate::scenario::{On, answer, exchange, pass, proxy};

on_both! {
    one_probe_brings_an_endpoint_back_over_a_ramp
    a_lost_probe_is_replaced_after_thirty_seconds_and_a_bad_one_trips_again
    a_probe_passes_with_the_first_byte_of_its_answer
    callers_who_leave_do_not_keep_an_endpoint_out
}

fn one_probe_brings_an_endpoint_back_over_a_ramp(on: On) {
    let workers = 8;
    let mut proxy = proxy(
        on,
        &config("weighted_round_robin", 2, json!({"pools": ["p"]})),
        workers,
    );
    let failing = "10.0.0.1:80";
    pass(&mut *proxy, 0..workers, Duration::from_millis(100));
    fail_until_tripped(&mut *proxy, failing);
    pass(&mut *proxy, 0..workers, Duration::from_secs(31));
    let arrived: Vec<_> = (0..1000).map(|n| open(&mut *proxy, n % workers)).collect();
    let probes = arrived
        .iter()
        .filter(|(_, order)| order[0] == failing)
        .count();
    assert_eq!(probes, 1);
    let probe = arrived.iter().find(|(_, order)| order[0] == failing);
    assert_eq!(
        probe.expect("one").1,
        [failing, "10.0.0.2:80"],
        "and its caller is not at risk"
    );
    for (stream, _) in &arrived {
        answer(&mut *proxy, *stream, 200);
    }
    for second in [6u64, 12, 30, 54] {
        // The ramp began with the probe's answer, at 0.
        let passed = [0, 6, 12, 30]
            .into_iter()
            .rfind(|&s| s < second)
            .expect("one");
        pass(
            &mut *proxy,
            0..workers,
            Duration::from_secs(second - passed),
        );
        let mut counts = BTreeMap::new();
        for request in 0..10_000 {
            *counts
                .entry(exchange(&mut *proxy, request % workers, BODY))
                .or_insert(0u32) += 1;
        }
        let share = (second as f64 / 60.0).max(0.1);
        let expected = share / (1.0 + share);
        let part = f64::from(counts[failing]) / 10_000.0;
        assert!(
            (part - expected).abs() < 0.02,
            "{part} for {expected} at {second} s"
        );
    }
    pass(&mut *proxy, 0..workers, Duration::from_secs(7));
    assert_eq!(state(&*proxy, failing), 0);
}

fn a_lost_probe_is_replaced_after_thirty_seconds_and_a_bad_one_trips_again(on: On) {
    let mut proxy = proxy(on, &config("round_robin", 2, json!({"pools": ["p"]})), 2);
    let failing = "10.0.0.1:80";
    fail_until_tripped(&mut *proxy, failing);
    pass(&mut *proxy, 0..2, Duration::from_secs(31));
    let (lost, order) = open(&mut *proxy, 0);
    assert_eq!(order[0], failing);
    pass(&mut *proxy, 0..2, Duration::from_secs(29));
    assert_ne!(open(&mut *proxy, 1).1[0], failing);
    pass(&mut *proxy, 0..2, Duration::from_secs(2));
    let (second, order) = open(&mut *proxy, 1);
    assert_eq!(order[0], failing, "replaced");
    answer(&mut *proxy, second, 500);
    assert_eq!(trips(&*proxy, failing), 2);
    answer(&mut *proxy, lost, 200);
    pass(&mut *proxy, 0..2, Duration::from_millis(100));
    assert_eq!(
        state(&*proxy, failing),
        3,
        "the lost one's answer comes too late"
    );
}

/// A chat's answer may take minutes, and a probe is waited for thirty seconds.
fn a_probe_passes_with_the_first_byte_of_its_answer(on: On) {
    let mut proxy = proxy(on, &config("round_robin", 2, json!({"pools": ["p"]})), 2);
    let failing = "10.0.0.1:80";
    fail_until_tripped(&mut *proxy, failing);
    pass(&mut *proxy, 0..2, Duration::from_secs(31));
    let (stream, order) = open(&mut *proxy, 0);
    assert_eq!(order[0], failing);
    proxy.respond(stream, 200, 1);
    pass(&mut *proxy, 0..2, Duration::from_secs(1));
    assert_eq!(
        state(&*proxy, failing),
        2,
        "any server has a status at once"
    );
    proxy.respond_body(stream, b"data: a", false);
    pass(&mut *proxy, 0..2, Duration::from_secs(1));
    assert_eq!(state(&*proxy, failing), 1);
    pass(&mut *proxy, 0..2, Duration::from_secs(61));
    proxy.respond_body(stream, b"data: z", true);
    proxy.close(stream);
    assert_eq!((state(&*proxy, failing), trips(&*proxy, failing)), (0, 1));
}

/// Whether they are callers without patience or mean harm.
fn callers_who_leave_do_not_keep_an_endpoint_out(on: On) {
    let mut proxy = proxy(on, &config("round_robin", 2, json!({"pools": ["p"]})), 2);
    let failing = "10.0.0.1:80";
    fail_until_tripped(&mut *proxy, failing);
    pass(&mut *proxy, 0..2, Duration::from_secs(31));
    for request in 0..20 {
        let (stream, order) = open(&mut *proxy, request % 2);
        assert_eq!(order[0], failing, "request {request} is the probe");
        proxy.close(stream);
        pass(&mut *proxy, 0..2, Duration::from_millis(50));
    }
    let (stream, _) = open(&mut *proxy, 0);
    pass(&mut *proxy, 0..2, Duration::from_secs(10));
    proxy.close(stream);
    pass(&mut *proxy, 0..2, Duration::from_secs(9));
    assert_ne!(
        open(&mut *proxy, 1).1[0],
        failing,
        "it may hang: the next caller is spared for as long as the last waited"
    );
    pass(&mut *proxy, 0..2, Duration::from_secs(2));
    let (stream, order) = open(&mut *proxy, 1);
    assert_eq!(order[0], failing);
    answer(&mut *proxy, stream, 200);
    pass(&mut *proxy, 0..2, Duration::from_millis(50));
    assert_eq!(state(&*proxy, failing), 1);
}
