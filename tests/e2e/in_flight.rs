//! The in-flight gauges as Prometheus reads them: exact, whichever way a stream ends.

use harness::fleet::Speed;
use tokio::io::AsyncWriteExt;

use crate::world::{World, eventually, read_until};

async fn in_flight(world: &World, pool: &str) -> f64 {
    world
        .envoy
        .metrics()
        .await
        .unwrap()
        .sum("junheng_endpoint_in_flight", &[("pool", pool)])
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_that_leave_in_the_middle_of_a_stream_leave_nothing_in_flight() {
    let world = World::with_speed(Speed::FAST).await;
    let body = r#"{"model":"qwen2.5-7b","stream":true,"max_tokens":10000,"messages":[{"role":"user","content":"Count."}]}"#;
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut clients = Vec::new();
    for _ in 0..12 {
        let mut client = world.connect().await;
        client.write_all(request.as_bytes()).await.unwrap();
        read_until(&mut client, "data: ").await;
        clients.push(client);
    }
    assert_eq!(in_flight(&world, "small").await, 12.0);
    drop(clients);
    eventually(
        "0 in flight",
        async || in_flight(&world, "small").await,
        |count| *count == 0.0,
    )
    .await;
    eventually(
        "idle endpoints",
        async || world.stats().map(|stats| stats.in_flight).sum::<u64>(),
        |count| *count == 0,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_refusals_and_metrics_agree() {
    let world = World::start().await;
    let caller = world.caller();
    for _ in 0..10 {
        caller
            .chat("qwen2.5-7b", "Name three rivers.")
            .await
            .unwrap();
    }
    caller
        .chat("no-such-model", "Name three rivers.")
        .await
        .unwrap();
    eventually(
        "0 in flight",
        async || in_flight(&world, "small").await,
        |count| *count == 0.0,
    )
    .await;
    // Counters are told to Envoy on the module's next tick.
    eventually(
        "10 requests counted",
        async || {
            let metrics = world.envoy.metrics().await.unwrap();
            metrics.sum(
                "junheng_pool_requests",
                &[("pool", "small"), ("status", "ok")],
            )
        },
        |count| *count == 10.0,
    )
    .await;
    let metrics = world.envoy.metrics().await.unwrap();
    assert_eq!(metrics.sum("junheng_refused", &[]), 1.0);
    assert!(metrics.sum("junheng_pool_input_tokens", &[("pool", "small")]) > 0.0);
    assert_eq!(
        metrics.count("junheng_endpoint_in_flight"),
        6,
        "one gauge an endpoint"
    );
    // Envoy shows what went into a histogram once it has merged its workers', every five seconds.
    eventually(
        "10 times to first token",
        async || {
            let metrics = world.envoy.metrics().await.unwrap();
            metrics.sum("junheng_pool_ttft_ms_count", &[("pool", "small")])
        },
        |count| *count == 10.0,
    )
    .await;
}
