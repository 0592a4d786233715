//! Dynamic weights through a real Envoy: an endpoint's report of its GPU, and its share of the traffic.

use std::net::{Ipv4Addr, SocketAddr};

use harness::fleet::Order;
use serde_json::{Value, json};

use crate::raw_server::{answer, serve};
use crate::world::{World, envoy, eventually};

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

/// An exporter for each of two servers, at one port of two addresses; the port.
async fn exporters(pages: [&'static str; 2]) -> u16 {
    let at = |last, port| SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), port));
    // The port of the first may be another's at the second address.
    for _ in 0..20 {
        let page = |page: &'static str| move |_: &str| answer(200, "", page);
        let first = serve(at(2, 0), page(pages[0])).await.expect("a port");
        if serve(at(3, first.port()), page(pages[1])).await.is_ok() {
            return first.port();
        }
    }
    panic!("no port is free at both addresses");
}

/// Envoy sends a call only to a host of the cluster that it names: the exporters have a cluster of
/// their own.
#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_read_from_the_exporter_beside_each_endpoint() {
    let gpu = "DCGM_FI_DEV_GPU_UTIL{gpu=\"0\"} 60\n";
    let queue = "vllm:kv_cache_usage_perc 0.99\nvllm:num_requests_running 256\nvllm:num_requests_waiting 581\n";
    let port = exporters([gpu, queue]).await;
    let servers = ["127.0.0.2:1", "127.0.0.3:1"];
    let load = json!({
        "interval": "1s", "metrics_path": "/metrics", "metrics_port": port, "metrics_cluster": "exporters",
    });
    let config = json!({
        "pools": [{
            "name": "small", "endpoints": servers.map(|address| json!({"address": address})),
            "health": {"check": {"enabled": false}}, "load": load,
        }],
        "routes": [{"pools": ["small"]}],
    });
    let envoy = envoy(|bootstrap| {
        bootstrap.set_plugin_configuration(&config.to_string());
        let exporters = ["127.0.0.2", "127.0.0.3"].map(|ip| format!("{ip}:{port}"));
        let clusters = [
            ("small".to_owned(), servers.map(str::to_owned).to_vec()),
            ("exporters".to_owned(), exporters.to_vec()),
        ];
        bootstrap.set_clusters(&clusters).expect("clusters");
    })
    .await;
    let weights = async || {
        let metrics = envoy.metrics().await.expect("metrics");
        servers.map(|server| metrics.sum("junheng_endpoint_weight", &[("endpoint", server)]))
    };
    eventually("38 and 10", weights, |weights| *weights == [38.0, 10.0]).await;
}
