//! Two listeners, each with a plugin and a configuration of its own, in the VMs of one `vm_id`.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use harness::envoy::Envoy;
use harness::fleet::{Caller, Endpoint, EndpointSpec, Fleet, Speed};
use serde_json::{Value, json};

use crate::world::{NAMES, envoy, eventually, moves};

struct World {
    envoy: Envoy,
    fleet: Fleet,
    second: SocketAddr,
}

const PLUGIN: &str = "/filter_chains/0/filters/0/typed_config/http_filters/0/typed_config/config";

/// The shipped listener, and one beside it. `root_id` is the second one's; each has a pool of its
/// own, and a limit of one name.
async fn world(root_id: &str) -> World {
    let fleet = Fleet::start(&NAMES.map(|name| EndpointSpec::new(name, Speed::INSTANT)));
    let fleet = fleet.expect("a fleet");
    let addresses: Vec<_> = fleet.endpoints().iter().map(Endpoint::address).collect();
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr());
    let second = free.expect("a port that is free");
    let envoy = envoy(|bootstrap| {
        let plugin = bootstrap.plugin_configuration().expect("a configuration");
        let document: Value = serde_json::from_str(&plugin).expect("JSON");
        let listeners = &mut bootstrap.document_mut()["static_resources"]["listeners"];
        let listeners = listeners.as_array_mut().expect("listeners");
        let mut other = listeners[0].clone();
        other["name"] = json!("other");
        other["address"] =
            json!({"socket_address": {"address": "127.0.0.1", "port_value": second.port()}});
        listeners.push(other);
        let limits = [
            json!({"limit": 5, "per": "24h"}),
            json!({"limit": 50, "per": "24h"}),
        ];
        for (place, requests) in limits.into_iter().enumerate() {
            let mut document = document.clone();
            let pool = &mut document["pools"][place];
            pool["name"] = json!("p");
            pool["cluster"] = json!(["small", "long"][place]);
            pool["health"] = json!({"check": {"interval": "1s"}});
            pool["load"] = json!({"interval": "1s"});
            let pool = pool.clone();
            document["pools"] = json!([pool]);
            document["routes"] = json!([{"pools": ["p"]}]);
            document["quotas"] =
                json!([{"name": "team", "key": ["header:x-team"], "requests": requests}]);
            if place == 1 {
                document["quotas"][0]["callers"] = json!(64);
            }
            let plugin = listeners[place].pointer_mut(PLUGIN).expect("a plugin");
            plugin["configuration"]["value"] = json!(document.to_string());
            plugin["root_id"] = json!(["junheng", root_id][place]);
        }
        bootstrap.move_endpoints(&moves(&addresses));
    });
    World {
        envoy: envoy.await,
        fleet,
        second,
    }
}

/// How many of 120 requests pass, eight at a time.
async fn passed(address: SocketAddr) -> usize {
    let callers: Vec<_> = (0..8)
        .map(|_| {
            tokio::spawn(async move {
                let caller = Caller::new(address);
                let mut passed = 0;
                for _ in 0..15 {
                    let answer = caller.chat("qwen2.5-7b", "Name three rivers.").await;
                    passed += usize::from(answer.expect("an answer").status == 200);
                }
                passed
            })
        })
        .collect();
    let mut passed = 0;
    for caller in callers {
        passed += caller.await.expect("no panic");
    }
    passed
}

async fn both_are_served(root_id: &str) {
    let world = world(root_id).await;
    let first = world.envoy.listener_address();
    let passed = [passed(first).await, passed(world.second).await];
    assert_eq!(passed, [5, 50]);
    let checks = async || {
        world
            .fleet
            .endpoints()
            .iter()
            .map(|it| it.stats().health_checks)
            .collect()
    };
    let seen: Vec<u64> = eventually("five checks of each", checks, |seen: &Vec<u64>| {
        seen.iter().all(|count| *count >= 5)
    })
    .await;
    assert!(seen.iter().all(|count| *count <= 7), "{seen:?}");
    let weights = async || {
        let metrics = world.envoy.metrics().await.expect("metrics");
        let of = |endpoint: &Endpoint| {
            let address = endpoint.address().to_string();
            metrics.sum(
                "junheng_endpoint_weight",
                &[("endpoint", &address), ("pool", "p")],
            )
        };
        world.fleet.endpoints().iter().map(of).collect()
    };
    eventually("a weight of each", weights, |weights: &Vec<f64>| {
        weights.iter().all(|weight| *weight > 0.0)
    })
    .await;
    let metrics = world.envoy.metrics().await.expect("metrics");
    let refused = |labels: &[(&str, &str)]| metrics.sum("junheng_quota_refused", labels);
    assert_eq!(refused(&[("limit", "team")]), 115.0 + 70.0);
    let labelled = if root_id == "junheng" { 0.0 } else { 70.0 };
    assert_eq!(refused(&[("root", root_id)]), labelled);
}

#[tokio::test(flavor = "multi_thread")]
async fn plugins_of_two_roots_are_both_checked_weighed_and_exact() {
    both_are_served("edge").await;
}

/// As an operator has them who copies a listener and changes the configuration alone.
#[tokio::test(flavor = "multi_thread")]
async fn plugins_named_alike_are_both_checked_weighed_and_exact() {
    both_are_served("junheng").await;
}

/// Which endpoint trips in one plugin's eyes is no matter of the other's.
#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_trips_for_one_root_serves_the_other() {
    let world = world("edge").await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    let victim = world.fleet.endpoints().first().expect("an endpoint");
    victim
        .order(harness::fleet::Order::Health { status: 503 })
        .expect("an order");
    let states = async || {
        let metrics = world.envoy.metrics().await.expect("metrics");
        let address = victim.address().to_string();
        let labels = [("endpoint", address.as_str())];
        (
            metrics.sum("junheng_endpoint_state", &labels),
            metrics.sum("junheng_endpoint_state", &[("root", "edge")]),
        )
    };
    eventually("out for the first alone", states, |states| {
        *states == (5.0, 0.0)
    })
    .await;
}
