//! Endpoints that die: what is retried, and what is not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use harness::fleet::{Order, Speed};
use http::StatusCode;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

use crate::world::{World, eventually, read_to_end, read_until};

/// Both workers have connections, and several requests are on their way at any time.
const CALLERS: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn a_request_whose_first_endpoint_is_dead_is_served_by_the_second_of_the_list() {
    let world = World::start().await;
    world.endpoint("small-2").order(Order::Kill).unwrap();
    let dead = world.endpoint("small-2").address().to_string();
    let caller = world.caller();
    let mut retried = 0;
    for _ in 0..60 {
        let answer = caller
            .chat("qwen2.5-7b", "Name three rivers.")
            .await
            .unwrap();
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        let received = world
            .endpoint(answer.served_by())
            .stats()
            .recent
            .back()
            .cloned()
            .unwrap();
        let list = received
            .header("x-gateway-destination-endpoint")
            .unwrap_or_default()
            .to_owned();
        let list: Vec<_> = list.split(',').collect();
        if list.first() == Some(&dead.as_str()) {
            retried += 1;
            let server = world.endpoint(answer.served_by()).address().to_string();
            assert_eq!(list.get(1), Some(&server.as_str()), "{list:?}");
            assert_eq!(received.header("x-envoy-attempt-count"), Some("2"));
        }
    }
    assert!(
        retried > 0,
        "no request was ever sent to the dead endpoint first"
    );
    let retries = world
        .envoy
        .metrics()
        .await
        .unwrap()
        .sum("envoy_cluster_upstream_rq_retry", &[]);
    assert_eq!(retries, f64::from(retried));
}

/// The endpoint is killed with requests on their way: their connections are reset, and they are answered by
/// another.
#[tokio::test(flavor = "multi_thread")]
async fn no_request_fails_while_an_endpoint_dies_and_comes_back_under_traffic() {
    let world = Arc::new(World::start().await);
    let stop = Arc::new(AtomicBool::new(false));
    let (answered, mut answers) = mpsc::unbounded_channel();
    for _ in 0..CALLERS {
        let (world, stop) = (Arc::clone(&world), Arc::clone(&stop));
        let answered = answered.clone();
        tokio::spawn(async move {
            let caller = world.caller();
            while !stop.load(Ordering::Relaxed) {
                let answer = caller.chat("qwen2.5-7b", "Name three rivers.").await;
                if answered.send(answer).is_err() {
                    break;
                }
            }
        });
    }
    drop(answered);

    let mut served_by = Vec::new();
    for order in [None, Some(Order::Kill), Some(Order::Revive)] {
        if let Some(order) = order {
            world.endpoint("small-1").order(order).unwrap();
        }
        for _ in 0..300 {
            let answer = answers
                .recv()
                .await
                .expect("callers go on")
                .expect("an unbroken answer");
            assert_eq!(answer.status, StatusCode::OK, "after {order:?}: {answer:?}");
            served_by.push(answer.served_by().to_owned());
        }
    }
    stop.store(true, Ordering::Relaxed);
    let by_the_victim = |part: &[String]| part.iter().filter(|by| *by == "small-1").count();
    assert!(
        by_the_victim(&served_by[..300]) > 0,
        "nothing went to small-1 before it died"
    );
    // What was answered before the order may still be read after it.
    assert!(
        by_the_victim(&served_by[300..600]) <= 300 / 3,
        "small-1 answers though it is dead"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_has_begun_is_not_repeated_elsewhere() {
    let world = World::with_speed(Speed::FAST).await;
    let request = long_stream();
    let mut client = world.connect().await;
    client.write_all(request.as_bytes()).await.unwrap();
    let begun = read_until(&mut client, "data: ").await;
    assert!(begun.starts_with("HTTP/1.1 200"), "{begun}");
    let endpoints = world.fleet.endpoints();
    let busy = endpoints
        .iter()
        .find(|endpoint| endpoint.stats().in_flight == 1)
        .unwrap();
    busy.order(Order::Kill).unwrap();
    let rest = read_to_end(&mut client).await;
    assert!(!rest.contains("[DONE]"), "{rest}");
    assert_eq!(world.forwarded(), 1);
}

/// Nobody retries what has begun, so this is told by Envoy's response code details alone.
#[tokio::test(flavor = "multi_thread")]
async fn streams_that_an_endpoint_breaks_off_trip_it_and_those_that_clients_leave_do_not() {
    let world = World::with_speed(Speed::FAST).await;
    let request = long_stream();
    let open = async |count: usize| {
        let mut clients = Vec::new();
        for _ in 0..count {
            let mut client = world.connect().await;
            client.write_all(request.as_bytes()).await.unwrap();
            read_until(&mut client, "data: ").await;
            clients.push(client);
        }
        clients
    };
    let trips = async |name: &str| {
        let metrics = world.envoy.metrics().await.unwrap();
        let address = world.endpoint(name).address().to_string();
        metrics.sum("junheng_endpoint_trips", &[("endpoint", address.as_str())])
    };
    drop(open(24).await);
    let idle = async || world.stats().map(|stats| stats.in_flight).sum::<u64>();
    eventually("all clients gone", idle, |left| *left == 0).await;
    let clients = open(24).await;
    let victim = "small-1";
    assert!(world.endpoint(victim).stats().in_flight >= 5);
    world.endpoint(victim).order(Order::Kill).unwrap();
    eventually(
        "a trip",
        async || trips(victim).await,
        |trips| *trips == 1.0,
    )
    .await;
    for other in ["small-2", "small-3"] {
        assert_eq!(trips(other).await, 0.0, "{other}");
    }
    drop(clients);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_status_is_retried_down_the_list_and_the_last_reaches_the_client() {
    let world = World::start().await;
    for endpoint in world.fleet.endpoints() {
        endpoint
            .order(Order::Fail {
                status: 500,
                ratio: 1.0,
            })
            .unwrap();
    }
    let body = json!({"model": "qwen2.5-7b", "messages": [{"role": "user", "content": "hi"}]});
    let answer = world
        .caller()
        .post("/v1/chat/completions", &body)
        .await
        .unwrap();
    assert_eq!((answer.status.as_u16(), world.forwarded()), (500, 3));
}

/// A request over HTTP/1.1 whose answer goes on for longer than any test.
fn long_stream() -> String {
    let body = r#"{"model":"qwen2.5-7b","stream":true,"max_tokens":10000,"messages":[{"role":"user","content":"Count."}]}"#;
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}
