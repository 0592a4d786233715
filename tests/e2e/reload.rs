//! Listener updates from the file system under traffic: each is a new configuration in the same
//! VMs.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use harness::envoy::{Bootstrap, Envoy, EnvoyOptions};
use harness::fleet::{Caller, Endpoint, EndpointSpec, Fleet, Order, Speed};
use serde_json::{Value, json};

use crate::world::{NAMES, bootstrap, eventually, moves};

/// A stream that was under way when its configuration was replaced has so long to end.
const DRAIN: Duration = Duration::from_secs(3);

/// An Envoy whose listeners come from a file.
struct World {
    envoy: Envoy,
    fleet: Fleet,
}

impl World {
    async fn start(speed: Speed, change: impl FnOnce(&mut Value)) -> World {
        let specs = NAMES.map(|name| EndpointSpec::new(name, speed));
        let fleet = Fleet::start(&specs).expect("a fleet");
        let options = EnvoyOptions {
            drain: Some(DRAIN),
            listeners_from_file: true,
            ..EnvoyOptions::new(configured(&fleet, change))
        };
        let envoy = Envoy::start(options).await;
        World {
            envoy: envoy.unwrap_or_else(|error| panic!("{error}")),
            fleet,
        }
    }

    async fn reload(&self, change: impl FnOnce(&mut Value)) {
        let updated = self.envoy.update(&configured(&self.fleet, change)).await;
        updated.unwrap_or_else(|error| panic!("{error}"));
    }

    /// A chat on a connection of its own.
    async fn chat(&self) -> u16 {
        chat(self.envoy.listener_address()).await
    }

    fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.envoy.pid()));
        let status = status.expect("a process");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
        kilobytes.and_then(|kb| kb.parse::<u64>().ok()).expect("kB") / 1024
    }
}

async fn chat(address: std::net::SocketAddr) -> u16 {
    let answer = Caller::new(address)
        .chat("qwen2.5-7b", "Name three rivers.")
        .await;
    answer.map_or(0, |answer| answer.status.as_u16())
}

fn configured(fleet: &Fleet, change: impl FnOnce(&mut Value)) -> Bootstrap {
    let addresses: Vec<_> = fleet.endpoints().iter().map(Endpoint::address).collect();
    bootstrap(|bootstrap| {
        let plugin = bootstrap.plugin_configuration().expect("a configuration");
        let mut document = serde_json::from_str(&plugin).expect("JSON");
        change(&mut document);
        bootstrap.set_plugin_configuration(&document.to_string());
        bootstrap.move_endpoints(&moves(&addresses));
    })
}

/// The `n`th configuration: each differs from the last in what is balanced, checked, limited and
/// weighed.
fn nth(n: usize) -> impl Fn(&mut Value) {
    move |document| {
        let algorithms = ["least_connections", "round_robin", "response_time"];
        for pool in document["pools"].as_array_mut().expect("pools") {
            pool["balance"] = json!({"algorithm": algorithms[n % 3]});
            pool["health"] = json!({"check": {"enabled": n.is_multiple_of(2), "interval": "1s"}});
            pool["load"] = json!({"weights": n % 4 < 2, "interval": "1s"});
            pool["endpoints"][0]["weight"] = json!(100 + n);
        }
        document["quotas"] =
            json!([{"name": "all", "requests": {"limit": 1_000_000 + n, "per": "1h"}}]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ninety_reloads_under_traffic_lose_no_request_and_keep_memory_flat() {
    let world = World::start(Speed::INSTANT, nth(0)).await;
    let stop = Arc::new(AtomicBool::new(false));
    let [served, lost] = [(); 2].map(|()| Arc::new(AtomicU64::new(0)));
    let address = world.envoy.listener_address();
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (stop, served, lost) = (stop.clone(), served.clone(), lost.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let counter = match chat(address).await {
                        200 => &served,
                        _ => &lost,
                    };
                    counter.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            })
        })
        .collect();
    let mut resident = Vec::new();
    for n in 1..=90 {
        world.reload(nth(n)).await;
        if n % 30 == 0 {
            // What drains is gone, as the first time.
            tokio::time::sleep(DRAIN + Duration::from_secs(1)).await;
            resident.push(world.resident());
        }
    }
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.expect("no panic");
    }
    let [served, lost] = [served, lost].map(|counter| counter.load(Ordering::Relaxed));
    assert_eq!(lost, 0, "beside {served}");
    assert!(served >= 900, "{served} requests over ninety reloads");
    assert!(
        resident[2] < resident[0] + 48,
        "{resident:?} MiB after 30, 60 and 90"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_ends_within_the_drain_time_is_whole() {
    let slow = Speed {
        decode_us: 20_000.0,
        ..Speed::INSTANT
    };
    let world = World::start(slow, nth(0)).await;
    let address = world.envoy.listener_address();
    let stream = tokio::spawn(async move {
        let body = json!({"model": "qwen2.5-7b", "stream": true, "max_tokens": 60,
            "messages": [{"role": "user", "content": "Name three rivers."}]});
        Caller::new(address)
            .post("/v1/chat/completions", &body)
            .await
    });
    let in_flight = async || {
        world
            .envoy
            .metrics()
            .await
            .expect("metrics")
            .sum("junheng_endpoint_in_flight", &[])
    };
    eventually("under way", in_flight, |count| *count > 0.0).await;
    world.reload(nth(1)).await;
    world.reload(nth(2)).await;
    let answer = stream.await.expect("no panic").expect("an answer");
    assert!(
        answer.body.ends_with(b"data: [DONE]\n\n"),
        "{:?}",
        answer.body
    );
    eventually("none in flight", in_flight, |count| *count == 0.0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_that_are_switched_off_by_a_reload_let_their_endpoints_back_in() {
    let checked = |enabled: bool| {
        move |document: &mut Value| {
            for pool in document["pools"].as_array_mut().expect("pools") {
                pool["health"] = json!({"check": {"enabled": enabled, "interval": "1s"}});
            }
        }
    };
    let world = World::start(Speed::INSTANT, checked(true)).await;
    for endpoint in world.fleet.endpoints() {
        endpoint
            .order(Order::Health { status: 503 })
            .expect("an order");
    }
    eventually(
        "none is fit",
        async || world.chat().await,
        |status| *status == 503,
    )
    .await;
    world.reload(checked(false)).await;
    eventually(
        "served again",
        async || world.chat().await,
        |status| *status == 200,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_is_raised_by_a_reload_gives_its_room_at_once() {
    let limited = |limit: u32| {
        move |document: &mut Value| {
            document["quotas"] =
                json!([{"name": "all", "requests": {"limit": limit, "per": "24h"}}]);
        }
    };
    let world = World::start(Speed::INSTANT, limited(10)).await;
    let passed = async || {
        let mut passed = 0;
        for _ in 0..40 {
            passed += u32::from(world.chat().await == 200);
        }
        passed
    };
    assert_eq!(passed().await, 10);
    for (limit, more) in [(15, 5), (12, 0), (20, 5)] {
        world.reload(limited(limit)).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(passed().await, more, "at {limit}");
    }
}
