//! Configurations that change while requests, streams and probes are under way.
//!
//! [`Proxy::reload`] does what a listener's update does in Envoy: new streams are under the new
//! configuration, and the old one ticks on until it is drained. What is stored is read under the
//! rules of the configuration that reads it.

mod again;
mod endpoints;
mod features;
mod learned;
mod limits;
mod plugins;
mod rules;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::scenario::{Asked, Proxy, answer, chat_bytes, exchange, pass};

const BODY: &[u8] = br#"{"model":"m","messages":[]}"#;
const WORKERS: usize = 2;
const A: &str = "10.0.0.1:80";
const B: &str = "10.0.0.2:80";
const C: &str = "10.0.0.3:80";

/// One pool, `p`, with neither checks nor weights, further changed by `change`.
fn config(endpoints: &[&str], change: impl FnOnce(&mut Value)) -> Value {
    let endpoints: Vec<_> = endpoints
        .iter()
        .map(|address| json!({"address": address}))
        .collect();
    let mut pool = json!({
        "name": "p", "cluster": "c", "endpoints": endpoints, "balance": {"algorithm": "round_robin"},
        "health": {"check": {"enabled": false}}, "load": {"weights": false},
    });
    change(&mut pool);
    json!({"pools": [pool], "routes": [{"pools": ["p"]}]})
}

/// The same without a change.
fn plain(endpoints: &[&str]) -> Value {
    config(endpoints, |_| ())
}

/// Lets time pass; whatever is asked is answered at the next tick, by `status`. How often each
/// endpoint was asked.
fn live(
    proxy: &mut dyn Proxy,
    time: Duration,
    status: impl Fn(&Asked) -> u16,
) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    let tick = Duration::from_millis(50);
    for _ in 0..time.as_millis() / tick.as_millis() {
        pass(proxy, 0..WORKERS, tick);
        for worker in 0..WORKERS {
            for asked in proxy.errands(worker) {
                proxy.reply(worker, &asked, status(&asked), b"");
                *counts.entry(asked.endpoint).or_default() += 1;
            }
        }
    }
    counts
}

/// The endpoints of 60 requests over all workers, each as often as it was chosen.
fn used(proxy: &mut dyn Proxy) -> BTreeMap<String, usize> {
    let mut used = BTreeMap::new();
    for request in 0..60 {
        let endpoint = exchange(proxy, request % WORKERS, BODY);
        *used.entry(endpoint).or_default() += 1;
    }
    used
}

/// Fails `endpoint` five times in a row, all others answering well.
fn trip(proxy: &mut dyn Proxy, endpoint: &str) {
    let mut failures = 0;
    while failures < 5 {
        let (stream, step) = chat_bytes(proxy, failures % WORKERS, BODY);
        let fails = step.sent().endpoint() == endpoint;
        answer(proxy, stream, if fails { 500 } else { 200 });
        failures += usize::from(fails);
    }
    assert!(gauge(proxy, endpoint, "trips") > 0);
}

fn gauge(proxy: &dyn Proxy, endpoint: &str, what: &str) -> i64 {
    proxy.metric(&format!("junheng.endpoint.p.{endpoint}.{what}"))
}
