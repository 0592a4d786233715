//! How much of a pool the breaker takes out.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use super::{BODY, config, open, trips};
use crate::on_both;
use crate::scenario::{On, Proxy, answer, exchange, pass, proxy};

on_both! {
    half_of_a_pool_stays_whatever_trips
    the_only_endpoint_trips_and_goes_on_unless_another_pool_serves
    the_bound_is_the_configurations
}

/// Fails every request until all `endpoints` have tripped.
fn fail_all(proxy: &mut dyn Proxy, endpoints: usize) {
    let all = |proxy: &dyn Proxy| {
        let address = |n| format!("10.0.0.{n}:80");
        (1..=endpoints).all(|n| trips(proxy, &address(n)) > 0)
    };
    for request in 0.. {
        if all(proxy) {
            break;
        }
        assert!(request < 1_000, "they never trip");
        let (stream, _) = open(proxy, request % 2);
        proxy.respond_for(stream, 503, 1);
        proxy.close(stream);
        pass(proxy, 0..2, Duration::from_millis(50));
    }
}

fn used(proxy: &mut dyn Proxy) -> BTreeMap<String, usize> {
    let mut used = BTreeMap::new();
    for request in 0..40 {
        let (stream, order) = open(proxy, request % 2);
        *used.entry(order[0].clone()).or_default() += 1;
        // Nothing that a tripped endpoint answers brings it back but its probe.
        proxy.respond_for(stream, 503, 1);
        proxy.close(stream);
    }
    used
}

fn half_of_a_pool_stays_whatever_trips(on: On) {
    for (endpoints, stay) in [(2, 1), (3, 2), (4, 2), (5, 3)] {
        let route = json!({"pools": ["p"], "attempts": 1});
        let mut proxy = proxy(on, &config("round_robin", endpoints, route), 2);
        pass(&mut *proxy, 0..2, Duration::from_millis(100));
        fail_all(&mut *proxy, endpoints);
        let used = used(&mut *proxy);
        assert_eq!(used.len(), stay, "of {endpoints}: {used:?}");
    }
}

fn the_only_endpoint_trips_and_goes_on_unless_another_pool_serves(on: On) {
    for (pools, serves) in [
        (json!(["p"]), "10.0.0.1:80"),
        (json!(["p", "spare"]), "10.0.1.1:80"),
    ] {
        let mut proxy = proxy(on, &config("round_robin", 1, json!({"pools": pools})), 2);
        fail_all(&mut *proxy, 1);
        pass(&mut *proxy, 0..2, Duration::from_millis(50));
        for request in 0..5 {
            assert_eq!(exchange(&mut *proxy, request % 2, BODY), serves);
        }
    }
}

fn the_bound_is_the_configurations(on: On) {
    for (percent, stay) in [(0, 4), (25, 3), (99, 1), (100, 0)] {
        let mut document = config("round_robin", 4, json!({"pools": ["p"], "attempts": 1}));
        document["pools"][0]["health"]["breaker"] = json!({"max_ejected_percent": percent});
        let mut proxy = proxy(on, &document, 2);
        pass(&mut *proxy, 0..2, Duration::from_millis(100));
        fail_all(&mut *proxy, 4);
        if stay == 0 {
            let (stream, step) = crate::scenario::chat_bytes(&mut *proxy, 0, BODY);
            assert_eq!(step.refused().error("code"), "no_endpoint");
            proxy.close(stream);
            continue;
        }
        assert_eq!(used(&mut *proxy).len(), stay, "{percent} %");
    }
    let mut whole = proxy(on, &config("round_robin", 1, json!({"pools": ["p"]})), 1);
    let (stream, _) = open(&mut *whole, 0);
    answer(&mut *whole, stream, 200);
}
