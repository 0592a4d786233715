//! What an endpoint writes in Envoy's name is not believed.
//!
//! Only on the wasm: the adapter reads what Envoy writes, and native scenarios have no adapter.

use std::time::Duration;

use harness::host::Headers;
use serde_json::{Value, json};

use crate::scenario::{Proxy, Wasm, chat_bytes, pass};

const BODY: &[u8] = br#"{"model":"m","messages":[]}"#;
const ENDPOINTS: [&str; 3] = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"];

fn config(check: Value) -> Value {
    let endpoints = ENDPOINTS.map(|address| json!({"address": address}));
    json!({
        "pools": [{
            "name": "p", "cluster": "c", "endpoints": endpoints,
            "balance": {"algorithm": "round_robin"},
            "health": {"check": check},
        }],
        "routes": [{"pools": ["p"]}],
    })
}

fn states(proxy: &Wasm) -> [i64; 3] {
    ENDPOINTS.map(|endpoint| proxy.metric(&format!("junheng.endpoint.p.{endpoint}.state")))
}

/// So many requests, each answered after so many attempts with these headers.
fn answer(proxy: &mut Wasm, requests: u32, attempts: u32, header: &[(&str, &str)]) {
    for _ in 0..requests {
        let (stream, _) = chat_bytes(proxy, 0, BODY);
        proxy.respond_with(stream, 200, attempts, header);
        proxy.respond_body(stream, b"{}", true);
        proxy.close(stream);
    }
    pass(proxy, 0..1, Duration::from_millis(100));
}

#[test]
fn an_endpoint_that_claims_attempts_charges_no_other_one() {
    for forged in ["3", "2, 3", "16", "4294967296", "x"] {
        let mut proxy = Wasm::new(&config(json!({"enabled": false})), 1);
        answer(&mut proxy, 60, 1, &[("x-envoy-attempt-count", forged)]);
        assert_eq!(states(&proxy), [0, 0, 0], "{forged}");
        assert_eq!(proxy.metric("junheng.pool.p.retries"), 0, "{forged}");
    }
}

#[test]
fn attempts_that_the_proxy_counted_are_seen_whatever_an_endpoint_claims() {
    let mut proxy = Wasm::new(&config(json!({"enabled": false})), 1);
    answer(&mut proxy, 3, 1, &[]);
    // No header so far: where one claims a single attempt, the proxy counted two.
    answer(&mut proxy, 6, 2, &[("x-envoy-attempt-count", "1")]);
    assert_eq!(proxy.metric("junheng.pool.p.retries"), 6);
}

#[test]
fn attempts_that_the_proxy_writes_are_counted() {
    let mut proxy = Wasm::new(&config(json!({"enabled": false})), 1);
    answer(&mut proxy, 6, 2, &[("x-envoy-attempt-count", "2")]);
    assert_eq!(proxy.metric("junheng.pool.p.retries"), 6);
}

/// Envoy sets the header in each answer that came from an endpoint, and in no other.
#[test]
fn an_endpoint_that_claims_an_overflow_fails_its_check() {
    let mut proxy = Wasm::new(&config(json!({})), 1);
    let full = "upstream connect error or disconnect/reset before headers. reset reason: overflow";
    for _ in 0..800 {
        pass(&mut proxy, 0..1, Duration::from_millis(50));
        for check in proxy.errands(0) {
            let head = [(":status", "503"), ("x-envoy-upstream-service-time", "0")];
            proxy.reply_with(0, &check, Headers::from(head), full.as_bytes());
        }
    }
    assert_eq!(states(&proxy), [5, 5, 5]);
}
