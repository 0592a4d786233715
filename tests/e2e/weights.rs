//! Dynamic weights through a real Envoy: an endpoint's report of its GPU, and its share of the traffic.

use harness::fleet::Order;
use serde_json::{Value, json};

use crate::world::{World, eventually};

/// Weights each second, from what responses say and from nothing else.
fn weighted(document: &mut Value) {
    for pool in document["pools"].as_array_mut().expect("pools") {
        pool["balance"] = json!({"algorithm": "weighted_round_robin"});
        pool["load"] = json!({"interval": "1s"});
        for endpoint in pool["endpoints"].as_array_mut().expect("endpoints") {
            endpoint["weight"] = json!(100);
        }
    }
}

const NAMES: [&str; 3] = ["small-1", "small-2", "small-3"];

async fn weights(world: &World) -> [f64; 3] {
    let metrics = world.envoy.metrics().await.expect("metrics");
    NAMES.map(|name| {
        let address = world.endpoint(name).address().to_string();
        let labels = [("endpoint", address.as_str())];
        metrics.sum("junheng_endpoint_weight", &labels)
    })
}

/// The formula, with the little that a server on this machine takes to begin its answer.
fn is_weight(weight: f64, idle: f64) -> bool {
    (weight - (100.0 * idle).floor()).abs() <= 2.0
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gpu_that_fills_up_gets_its_formulas_share() {
    let world = World::configured(weighted).await;
    for name in NAMES {
        world
            .endpoint(name)
            .order(Order::Gpu { utilisation: 0.2 })
            .unwrap();
    }
    let ask = async || {
        for _ in 0..60 {
            let answer = world
                .caller()
                .chat("qwen2.5-7b", "Name three rivers.")
                .await;
            answer.expect("an answer");
        }
        weights(&world).await
    };
    eventually("three equal weights", &ask, |weights| {
        weights.iter().all(|weight| is_weight(*weight, 0.8))
    })
    .await;
    world
        .endpoint("small-1")
        .order(Order::Gpu { utilisation: 0.95 })
        .unwrap();
    let weights = eventually("a weight of what is left", &ask, |weights| {
        is_weight(weights[0], 0.3)
    })
    .await;

    let mut served = 0.0;
    for _ in 0..1500 {
        let answer = world
            .caller()
            .chat("qwen2.5-7b", "Name three rivers.")
            .await;
        served += f64::from(answer.expect("an answer").served_by() == "small-1");
    }
    let share = weights[0] / weights.iter().sum::<f64>();
    assert!(
        (served / 1500.0 - share).abs() < 0.02,
        "{served} of 1500 for {share}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn reports_of_load_are_kept_from_clients() {
    let world = World::start().await;
    let answer = world
        .caller()
        .chat("qwen2.5-7b", "Name three rivers.")
        .await
        .unwrap();
    assert_eq!(answer.header("endpoint-load-metrics"), None);
    assert!(answer.header("x-junheng-decision").is_some());
}
