//! Active checks: who is asked, how often and by whom, and what the answers do.

use std::collections::BTreeMap;
use std::time::Duration;

use harness::host::{Faults, Options, Status, When};
use serde_json::{Value, json};

use crate::on_both;
use crate::scenario::{Asked, On, Proxy, Wasm, chat_bytes, exchange, pass, proxy};

const BODY: &[u8] = br#"{"model":"m","messages":[]}"#;
const ENDPOINTS: [&str; 3] = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"];
const WORKERS: usize = 3;

fn config(check: Value) -> Value {
    let endpoints: Vec<Value> = ENDPOINTS
        .iter()
        .map(|address| json!({"address": address}))
        .collect();
    json!({
        "pools": [{
            "name": "p", "cluster": "c", "endpoints": endpoints,
            "balance": {"algorithm": "round_robin"},
            "health": {"check": check},
        }],
        "routes": [{"pools": ["p"]}],
    })
}

/// Lets time pass; every check is answered at the next tick, by `status`.
fn live(
    proxy: &mut dyn Proxy,
    time: Duration,
    status: impl Fn(&str) -> u16,
) -> BTreeMap<String, Vec<Asked>> {
    let mut asked: BTreeMap<String, Vec<Asked>> = BTreeMap::new();
    let tick = Duration::from_millis(50);
    for _ in 0..time.as_millis() / tick.as_millis() {
        pass(proxy, 0..WORKERS, tick);
        for worker in 0..WORKERS {
            for check in proxy.errands(worker) {
                proxy.reply(worker, &check, status(&check.endpoint), b"");
                asked.entry(check.endpoint.clone()).or_default().push(check);
            }
        }
    }
    asked
}

/// The endpoints of 60 requests over all workers.
fn used(proxy: &mut dyn Proxy) -> Vec<String> {
    let mut used: Vec<String> = (0..60)
        .map(|request| exchange(proxy, request % WORKERS, BODY))
        .collect();
    used.sort();
    used.dedup();
    used
}

fn state(proxy: &dyn Proxy, endpoint: &str) -> i64 {
    proxy.metric(&format!("junheng.endpoint.p.{endpoint}.state"))
}

fn each_endpoint_is_asked_once_an_interval_by_the_whole_proxy(on: On) {
    let mut proxy = proxy(on, &config(json!({})), WORKERS);
    let asked = live(&mut *proxy, Duration::from_secs(100), |_| 200);
    assert_eq!(asked.len(), 3);
    for checks in asked.values() {
        assert!((9..=10).contains(&checks.len()), "{checks:?}");
        let check = &checks[0];
        assert_eq!(
            (check.cluster.as_str(), check.path.as_str()),
            ("c", "/health")
        );
        assert_eq!(check.timeout, Duration::from_secs(2));
    }
}

fn three_failures_leave_an_endpoint_out_and_two_passes_ramp_it_up_again(on: On) {
    let mut proxy = proxy(on, &config(json!({})), WORKERS);
    let dead = ENDPOINTS[1];
    live(&mut *proxy, Duration::from_secs(32), |endpoint| {
        if endpoint == dead { 503 } else { 200 }
    });
    assert_eq!(used(&mut *proxy), [ENDPOINTS[0], ENDPOINTS[2]]);
    assert_eq!(state(&*proxy, dead), 5);
    live(&mut *proxy, Duration::from_secs(21), |_| 200);
    assert_eq!(state(&*proxy, dead), 1, "it is back, and ramped up");
    assert!(used(&mut *proxy).contains(&dead.to_owned()));
    live(&mut *proxy, Duration::from_secs(60), |_| 200);
    assert_eq!(state(&*proxy, dead), 0);
}

fn two_failures_and_a_pass_leave_it_in(on: On) {
    let mut proxy = proxy(on, &config(json!({})), WORKERS);
    let count = std::cell::Cell::new(0);
    live(&mut *proxy, Duration::from_secs(100), |endpoint| {
        let ails = endpoint == ENDPOINTS[1];
        count.set(count.get() + u32::from(ails));
        if ails && !count.get().is_multiple_of(3) {
            500
        } else {
            200
        }
    });
    assert!(count.get() >= 9);
    assert_eq!(used(&mut *proxy), ENDPOINTS);
}

fn a_check_is_as_configured(on: On) {
    let check = json!({
        "path": "/ready?deep=1", "status": 204, "interval": "2s", "timeout": "300ms", "unhealthy_after": 1, "healthy_after": 1
    });
    let mut proxy = proxy(on, &config(check), WORKERS);
    let asked = live(&mut *proxy, Duration::from_secs(20), |endpoint| {
        if endpoint == ENDPOINTS[0] { 204 } else { 200 }
    });
    let checks = &asked[ENDPOINTS[0]];
    assert!((9..=10).contains(&checks.len()), "{}", checks.len());
    assert_eq!(checks[0].path, "/ready?deep=1");
    assert_eq!(checks[0].timeout, Duration::from_millis(300));
    assert_eq!(used(&mut *proxy), [ENDPOINTS[0]]);
}

fn nobody_is_asked_where_checks_are_off(on: On) {
    let mut proxy = proxy(on, &config(json!({"enabled": false})), WORKERS);
    assert!(live(&mut *proxy, Duration::from_secs(30), |_| 200).is_empty());
}

fn when_all_are_out_requests_are_refused_until_one_is_back(on: On) {
    let mut proxy = proxy(on, &config(json!({})), WORKERS);
    live(&mut *proxy, Duration::from_secs(40), |_| 500);
    let (stream, step) = chat_bytes(&mut *proxy, 0, BODY);
    let refused = step.refused();
    proxy.close(stream);
    assert_eq!(
        (refused.status, refused.error("code")),
        (503, "no_endpoint")
    );
    assert!(refused.retry_after.is_some());
    live(&mut *proxy, Duration::from_secs(21), |_| 200);
    assert_eq!(used(&mut *proxy), ENDPOINTS);
}

fn another_worker_asks_on_when_the_one_that_asked_dies(on: On) {
    let mut proxy = proxy(on, &config(json!({})), WORKERS);
    live(&mut *proxy, Duration::from_secs(15), |_| 200);
    let mut leader = None;
    while leader.is_none() {
        pass(&mut *proxy, 0..WORKERS, Duration::from_millis(50));
        leader = (0..WORKERS).find(|worker| !proxy.errands(*worker).is_empty());
    }
    let leader = leader.expect("one asks");
    proxy.kill(leader);
    let left: Vec<usize> = (0..WORKERS).filter(|worker| *worker != leader).collect();
    pass(&mut *proxy, left.clone(), Duration::from_millis(150));
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..600 {
        pass(&mut *proxy, left.clone(), Duration::from_millis(50));
        for worker in &left {
            for check in proxy.errands(*worker) {
                proxy.reply(*worker, &check, 200, b"");
                *counts.entry(check.endpoint).or_default() += 1;
            }
        }
    }
    assert_eq!(counts.values().copied().collect::<Vec<_>>(), [3, 3, 3]);
}

/// While the leader is at work another takes its turns, and they are not taken again.
fn a_leader_that_was_held_up_does_not_ask_again(on: On) {
    let mut proxy = proxy(on, &config(json!({})), 2);
    pass(&mut *proxy, 0..2, Duration::from_secs(1));
    let mut asked = 0;
    for _ in 0..20 {
        for worker in [1, 0] {
            proxy.advance(Duration::from_millis(200));
            pass(&mut *proxy, [worker], Duration::from_millis(4_800));
            for check in proxy.errands(worker) {
                proxy.reply(worker, &check, 200, b"");
                asked += 1;
            }
        }
    }
    assert!(asked <= 60, "{asked} checks of three endpoints in 200 s");
}

/// Servers that have no such path, or refuse a GET, live; one that answers anything else does not.
fn a_server_without_the_path_lives_and_the_log_says_so_once(on: On) {
    let mut proxy = proxy(on, &config(json!({})), WORKERS);
    live(&mut *proxy, Duration::from_secs(100), |endpoint| {
        let at = ENDPOINTS.iter().position(|known| *known == endpoint);
        [404, 405, 501][at.expect("an endpoint")]
    });
    assert_eq!(used(&mut *proxy), ENDPOINTS);
    assert_eq!(ENDPOINTS.map(|endpoint| state(&*proxy, endpoint)), [0; 3]);
    let logs = proxy.logs();
    let warnings: Vec<_> = logs
        .iter()
        .filter(|line| line.contains("answered"))
        .collect();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let asked = ENDPOINTS.iter().zip([404, 405, 501]).any(|(endpoint, status)| {
        *warnings[0] == format!(
            "junheng: pool p: GET /health answered {status} at {endpoint}: the server lives; set health.check.path to a path that it serves"
        )
    });
    assert!(asked, "{warnings:?}");
}

fn a_status_of_404_fails_where_statuses_are_configured(on: On) {
    for (status, passing) in [
        (json!(200), [200, 404, 501]),
        (json!("200-399"), [302, 404, 400]),
        (json!([204, "300-302"]), [301, 404, 200]),
    ] {
        let mut proxy = proxy(on, &config(json!({"status": status})), WORKERS);
        live(&mut *proxy, Duration::from_secs(40), |endpoint| {
            let at = ENDPOINTS.iter().position(|known| *known == endpoint);
            passing[at.expect("an endpoint")]
        });
        assert_eq!(used(&mut *proxy), [ENDPOINTS[0]], "{status}");
        let warned = proxy
            .logs()
            .iter()
            .any(|line| line.contains("the server lives"));
        assert!(!warned, "{status}");
    }
}

fn a_server_that_comes_to_have_the_path_is_left_out_when_it_fails(on: On) {
    let mut proxy = proxy(on, &config(json!({})), WORKERS);
    live(&mut *proxy, Duration::from_secs(20), |_| 404);
    live(&mut *proxy, Duration::from_secs(40), |endpoint| {
        if endpoint == ENDPOINTS[2] { 503 } else { 200 }
    });
    assert_eq!(used(&mut *proxy), ENDPOINTS[..2]);
}

/// As many requests as Envoy sends to a cluster are under way, and it says so in the endpoints' stead.
#[test]
fn a_check_that_the_proxy_did_not_send_says_nothing() {
    let mut proxy = Wasm::new(&config(json!({})), WORKERS);
    let full: &[u8] =
        b"upstream connect error or disconnect/reset before headers. reset reason: overflow";
    let refused: &[u8] = b"upstream connect error or disconnect/reset before headers. reset reason: connection failure";
    for (body, states) in [(full, [0, 0, 0]), (refused, [5, 5, 5])] {
        for _ in 0..1000 {
            pass(&mut proxy, 0..WORKERS, Duration::from_millis(50));
            for worker in 0..WORKERS {
                for check in proxy.errands(worker) {
                    proxy.reply(worker, &check, 503, body);
                }
            }
        }
        assert_eq!(ENDPOINTS.map(|endpoint| state(&proxy, endpoint)), states);
    }
}

/// A cluster that is not there fails its checks; one that is full refuses them, and its endpoints are at work.
#[test]
fn a_check_that_cannot_be_sent_fails_only_where_nothing_is_in_flight() {
    let unsent = Options {
        faults: Faults::on("proxy_http_call", When::Every(1), Status::InternalFailure),
        ..Options::default()
    };
    let mut proxy = Wasm::with(unsent, &config(json!({})), WORKERS);
    let (stream, _) = chat_bytes(&mut proxy, 0, BODY);
    pass(&mut proxy, 0..WORKERS, Duration::from_secs(60));
    let states = |proxy: &Wasm| ENDPOINTS.map(|endpoint| state(proxy, endpoint));
    assert_eq!(states(&proxy), [0, 0, 0]);
    proxy.close(stream);
    pass(&mut proxy, 0..WORKERS, Duration::from_secs(60));
    assert_eq!(states(&proxy), [5, 5, 5]);
}

on_both! {
    each_endpoint_is_asked_once_an_interval_by_the_whole_proxy
    three_failures_leave_an_endpoint_out_and_two_passes_ramp_it_up_again
    two_failures_and_a_pass_leave_it_in
    a_check_is_as_configured
    a_server_without_the_path_lives_and_the_log_says_so_once
    a_status_of_404_fails_where_statuses_are_configured
    a_server_that_comes_to_have_the_path_is_left_out_when_it_fails
    nobody_is_asked_where_checks_are_off
    when_all_are_out_requests_are_refused_until_one_is_back
    another_worker_asks_on_when_the_one_that_asked_dies
    a_leader_that_was_held_up_does_not_ask_again
}
