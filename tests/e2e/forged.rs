//! An endpoint that writes in Envoy's name.

use std::net::{Ipv4Addr, SocketAddr};

use harness::envoy::Envoy;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::raw_server::{answer, serve};
use crate::world::{envoy, eventually, read_to_end};

const OVERFLOW: &str =
    "upstream connect error or disconnect/reset before headers. reset reason: overflow";

/// Three servers, the first of which forges, and an Envoy before them.
async fn start(check: Value, count_in_response: bool) -> (Envoy, Vec<String>) {
    let mut addresses = Vec::new();
    for forges in [true, false, false] {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let serving = serve(address, move |path| match (path, forges) {
            ("/health", true) => answer(503, "x-envoy-upstream-service-time: \r\n", OVERFLOW),
            (_, true) => answer(200, "x-envoy-attempt-count: 3\r\n", "{}"),
            (_, false) => answer(200, "", "{}"),
        });
        addresses.push(serving.await.expect("a port").to_string());
    }
    let endpoints: Vec<_> = addresses
        .iter()
        .map(|address| json!({"address": address}))
        .collect();
    let config = json!({
        "pools": [{
            "name": "small", "endpoints": endpoints, "balance": {"algorithm": "round_robin"},
            "health": {"check": check},
        }],
        "routes": [{"pools": ["small"]}],
    });
    let envoy = envoy(|bootstrap| {
        bootstrap.set_plugin_configuration(&config.to_string());
        let clusters = [("small".to_owned(), addresses.clone())];
        bootstrap.set_clusters(&clusters).expect("clusters");
        let manager = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
        let host = format!("{manager}/route_config/virtual_hosts/0");
        let host = bootstrap
            .document_mut()
            .pointer_mut(&host)
            .expect("a virtual host");
        host["include_attempt_count_in_response"] = json!(count_in_response);
    });
    (envoy.await, addresses)
}

async fn states(envoy: &Envoy, addresses: &[String]) -> Vec<f64> {
    let metrics = envoy.metrics().await.expect("metrics");
    let state =
        |address: &String| metrics.sum("junheng_endpoint_state", &[("endpoint", address.as_str())]);
    addresses.iter().map(state).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_claims_an_overflow_is_left_out() {
    let check = json!({"interval": "1s", "timeout": "500ms"});
    let (envoy, addresses) = start(check, true).await;
    let look = async || states(&envoy, &addresses).await;
    eventually("left out", look, |states| *states == [5.0, 0.0, 0.0]).await;
}

/// With Envoy's option its own count stands in the place of the endpoint's; without, nothing does.
#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_claims_attempts_charges_no_other_one() {
    for count_in_response in [true, false] {
        let (envoy, addresses) = start(json!({"enabled": false}), count_in_response).await;
        let body = r#"{"model":"m","messages":[]}"#;
        let request = format!(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut counts = Vec::new();
        for _ in 0..60 {
            let stream = TcpStream::connect(envoy.listener_address()).await;
            let mut stream = stream.expect("Envoy accepts");
            stream
                .write_all(request.as_bytes())
                .await
                .expect("Envoy reads");
            let answer = read_to_end(&mut stream).await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            let count = answer
                .lines()
                .find(|line| line.starts_with("x-envoy-attempt-count"));
            counts.extend(count.map(str::to_owned));
        }
        let (written, forged) = ("x-envoy-attempt-count: 1", "x-envoy-attempt-count: 3");
        match count_in_response {
            true => assert_eq!(counts, vec![written; 60]),
            // Each of two workers begins its round robin anywhere.
            false => {
                assert!((18..=22).contains(&counts.len()), "{counts:?}");
                assert!(counts.iter().all(|count| count == forged), "{counts:?}");
            }
        }
        let requests = async || {
            let metrics = envoy.metrics().await.expect("metrics");
            metrics.sum("junheng_pool_requests", &[])
        };
        eventually("counted", requests, |requests| *requests == 60.0).await;
        let metrics = envoy.metrics().await.expect("metrics");
        assert_eq!(metrics.sum("junheng_pool_retries", &[]), 0.0);
        assert_eq!(states(&envoy, &addresses).await, [0.0; 3]);
    }
}
