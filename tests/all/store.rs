//! What workers share: gauges that a dead worker left raised, the leader, and agreement over all workers.

use std::time::Duration;

use harness::host::{Options, Profile};
use serde_json::{Value, json};

use crate::on_both;
use crate::scenario::{On, Proxy, Wasm, answer, chat_bytes, exchange, pass, proxy};

const BODY: &[u8] =
    br#"{"model":"m","messages":[{"role":"user","content":"How much is the fish?"}]}"#;
const ENDPOINTS: [&str; 2] = ["10.0.0.1:80", "10.0.0.2:80"];

fn config() -> Value {
    let endpoints = ENDPOINTS.map(|address| json!({"address": address}));
    json!({
        "pools": [{
            "name": "p", "endpoints": endpoints, "balance": {"algorithm": "consistent_hash", "hash": {"on": "prompt"}},
            "health": {"check": {"enabled": false}},
        }],
        "routes": [{"pools": ["p"]}],
    })
}

/// The sums over both endpoints.
fn sums(proxy: &dyn Proxy) -> [i64; 3] {
    let of = |what: &str| {
        let names = ENDPOINTS.map(|endpoint| format!("junheng.endpoint.p.{endpoint}.{what}"));
        names.iter().map(|name| proxy.metric(name)).sum()
    };
    [
        of("in_flight"),
        of("waiting_tokens"),
        proxy.metric("junheng.pool.p.in_flight"),
    ]
}

fn what_a_dead_worker_carried_is_taken_out_of_the_gauges_within_five_seconds(on: On) {
    let mut proxy = proxy(on, &config(), 3);
    pass(&mut *proxy, 0..3, Duration::from_secs(1));
    let open: Vec<_> = (0..12)
        .map(|request| chat_bytes(&mut *proxy, request % 3, BODY).0)
        .collect();
    let [all, tokens, total] = sums(&*proxy);
    assert_eq!((all, total), (12, 12));
    assert!(tokens > 12 && tokens % 12 == 0, "{tokens}");
    proxy.kill(1);
    pass(&mut *proxy, [0, 2], Duration::from_secs(5));
    assert_eq!(sums(&*proxy), [8, tokens / 12 * 8, 8]);
    for stream in open
        .iter()
        .enumerate()
        .filter(|(at, _)| at % 3 != 1)
        .map(|(_, stream)| stream)
    {
        answer(&mut *proxy, *stream, 200);
    }
    assert_eq!(sums(&*proxy), [0, 0, 0]);
    proxy.revive(1);
    pass(&mut *proxy, 0..3, Duration::from_secs(5));
    assert_eq!(sums(&*proxy), [0, 0, 0]);
}

fn nothing_is_taken_from_workers_that_live_however_long_they_carry_it(on: On) {
    let mut proxy = proxy(on, &config(), 3);
    let held: Vec<_> = (0..9)
        .map(|request| chat_bytes(&mut *proxy, request % 3, BODY).0)
        .collect();
    let before = sums(&*proxy);
    for round in 0..100 {
        pass(&mut *proxy, 0..3, Duration::from_millis(200));
        exchange(&mut *proxy, round % 3, BODY);
        assert_eq!(sums(&*proxy), before);
    }
    held.iter()
        .for_each(|stream| answer(&mut *proxy, *stream, 200));
    assert_eq!(sums(&*proxy), [0, 0, 0]);
}

fn a_worker_that_was_taken_for_dead_finds_its_way_back(on: On) {
    let mut proxy = proxy(on, &config(), 2);
    pass(&mut *proxy, 0..2, Duration::from_secs(1));
    let streams: Vec<_> = (0..6)
        .map(|request| chat_bytes(&mut *proxy, request % 2, BODY).0)
        .collect();
    // Worker 1 is at work for ten seconds, in which it has no tick.
    pass(&mut *proxy, [0], Duration::from_secs(10));
    assert_eq!(sums(&*proxy)[0], 3);
    pass(&mut *proxy, 0..2, Duration::from_secs(5));
    assert_eq!(sums(&*proxy)[0], 6, "its requests are in flight after all");
    streams
        .iter()
        .for_each(|stream| answer(&mut *proxy, *stream, 200));
    assert_eq!(sums(&*proxy), [0, 0, 0]);
}

fn a_trip_on_one_worker_is_every_workers_within_a_tick(on: On) {
    let mut proxy = proxy(on, &config(), 8);
    pass(&mut *proxy, 0..8, Duration::from_secs(1));
    let endpoint = trip(&mut *proxy);
    pass(&mut *proxy, 0..8, Duration::from_millis(50));
    for worker in 0..8 {
        assert_ne!(exchange(&mut *proxy, worker, BODY), endpoint);
    }
    for worker in 0..7 {
        proxy.kill(worker);
    }
    proxy.revive(0);
    pass(&mut *proxy, [0, 7], Duration::from_millis(200));
    assert_ne!(
        exchange(&mut *proxy, 0, BODY),
        endpoint,
        "a trip outlives the worker that saw it"
    );
    assert_eq!(
        proxy.metric(&format!("junheng.endpoint.p.{endpoint}.trips")),
        1
    );
}

/// A worker that leads again has to look at what others have shown meanwhile.
fn the_states_that_metrics_show_are_right_whoever_leads(on: On) {
    let mut proxy = proxy(on, &config(), 2);
    pass(&mut *proxy, 0..2, Duration::from_secs(1));
    pass(&mut *proxy, [1], Duration::from_millis(500));
    let (stream, step) = chat_bytes(&mut *proxy, 1, BODY);
    let name = format!("junheng.endpoint.p.{}.state", step.sent().endpoint());
    proxy.respond_with(stream, 503, 1, &[("retry-after", "1")]);
    proxy.close(stream);
    pass(&mut *proxy, [1], Duration::from_millis(100));
    assert_eq!(proxy.metric(&name), 4);
    proxy.advance(Duration::from_secs(2));
    pass(&mut *proxy, [0], Duration::from_millis(100));
    assert_eq!(proxy.metric(&name), 0);
}

/// Five failures in a row, on five workers; the endpoint.
fn trip(proxy: &mut dyn Proxy) -> String {
    let mut last = String::new();
    for worker in 0..5 {
        let (stream, step) = chat_bytes(proxy, worker, BODY);
        step.sent().endpoint().clone_into(&mut last);
        answer(proxy, stream, 500);
        pass(proxy, 0..8, Duration::from_millis(50));
    }
    last
}

/// nginx lets nobody wait for a body, so these requests have none.
#[test]
fn all_of_it_holds_by_nginx_rules_of_compare_and_swap() {
    let options = Options {
        profile: Profile::Nginx,
        ..Options::default()
    };
    let mut proxy = Wasm::with(options, &config(), 8);
    let ask = |proxy: &mut Wasm, worker| {
        let head = [
            (":method", "GET"),
            (":path", "/v1/models"),
            (":authority", "test"),
        ];
        let (stream, step) = proxy.open(worker, &head, true);
        (stream, step.sent().endpoint().to_owned())
    };
    pass(&mut proxy, 0..8, Duration::from_secs(1));
    while proxy.metric(&format!("junheng.endpoint.p.{}.trips", ENDPOINTS[0])) == 0 {
        let (stream, endpoint) = ask(&mut proxy, 0);
        answer(
            &mut proxy,
            stream,
            if endpoint == ENDPOINTS[0] { 500 } else { 200 },
        );
    }
    pass(&mut proxy, 0..8, Duration::from_millis(50));
    let open: Vec<_> = (0..8).map(|worker| ask(&mut proxy, worker)).collect();
    assert!(
        open.iter().all(|(_, endpoint)| endpoint == ENDPOINTS[1]),
        "{open:?}"
    );
    proxy.kill(3);
    let living = (0..8).filter(|worker| *worker != 3);
    pass(&mut proxy, living, Duration::from_secs(5));
    assert_eq!(sums(&proxy)[0], 7);
}

/// Of four times the endpoints, each of which every worker has load at and news of.
#[test]
fn what_the_leader_does_on_its_tick_grows_with_the_pool_and_not_faster() {
    const WORKERS: usize = 4;
    let dearest = [100, 400].map(|size| {
        let endpoints: Vec<Value> = (0..size)
            .map(|n| json!({"address": format!("10.0.{}.{}:80", n / 250, n % 250)}))
            .collect();
        let config = json!({
            "pools": [{
                "name": "p", "endpoints": endpoints, "balance": {"algorithm": "round_robin"},
                "health": {"check": {"enabled": false}},
            }],
            "routes": [{"pools": ["p"]}],
        });
        let mut proxy = Wasm::new(&config, WORKERS);
        for worker in 0..WORKERS {
            for _ in 0..size {
                chat_bytes(&mut proxy, worker, BODY);
            }
        }
        let mut dearest = 0;
        for _ in 0..220 {
            pass(&mut proxy, 0..WORKERS, Duration::from_millis(50));
            dearest = (0..WORKERS).fold(dearest, |most, worker| most.max(proxy.fuel_used(worker)));
        }
        dearest
    });
    println!("the dearest tick: {dearest:?}");
    assert!(dearest[1] < 5 * dearest[0], "{dearest:?}");
}

on_both! {
    what_a_dead_worker_carried_is_taken_out_of_the_gauges_within_five_seconds
    nothing_is_taken_from_workers_that_live_however_long_they_carry_it
    a_worker_that_was_taken_for_dead_finds_its_way_back
    a_trip_on_one_worker_is_every_workers_within_a_tick
    the_states_that_metrics_show_are_right_whoever_leads
}
