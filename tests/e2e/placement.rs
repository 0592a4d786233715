//! Where requests land: the endpoint that the module names is the endpoint that Envoy calls.

use serde_json::json;

use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_short_prompt_goes_to_the_small_pool_and_300_kb_go_to_the_long_one() {
    let world = World::start().await;
    let caller = world.caller();
    let short = caller
        .chat("qwen2.5-7b", "Name three rivers.")
        .await
        .unwrap();
    assert!(short.served_by().starts_with("small-"), "{short:?}");
    let long = caller
        .chat("qwen2.5-7b", &"The river rose again. ".repeat(14_000))
        .await
        .unwrap();
    assert!(long.served_by().starts_with("long-"), "{long:?}");
    let embedding = json!({"model": "bge-m3", "input": "The river rose again."});
    let embedding = caller.post("/v1/embeddings", &embedding).await.unwrap();
    assert!(embedding.served_by().starts_with("small-"), "{embedding:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_endpoint_that_served_is_the_first_of_the_list_and_the_list_reaches_it() {
    let world = World::start().await;
    let caller = world.caller();
    for _ in 0..20 {
        let answer = caller
            .chat("qwen2.5-7b", "Name three rivers.")
            .await
            .unwrap();
        let endpoint = world.endpoint(answer.served_by());
        let received = endpoint.stats().recent.back().cloned().expect("a request");
        let list = received
            .header("x-gateway-destination-endpoint")
            .unwrap_or_default()
            .to_owned();
        assert_eq!(
            list.split(',').next(),
            Some(endpoint.address().to_string().as_str()),
            "{list}"
        );
        assert!(list.contains(','), "no endpoint to retry at in {list:?}");
        assert_eq!(received.header("x-junheng-cluster"), Some("small"));
        assert_eq!(received.header("x-envoy-attempt-count"), Some("1"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_cannot_choose_the_endpoint_or_the_cluster() {
    let world = World::start().await;
    let body = r#"{"model":"qwen2.5-7b","messages":[{"role":"user","content":"hi"}]}"#;
    let chosen = world.endpoint("long-1").address();
    for _ in 0..10 {
        let answer = world
            .raw(
                format!(
                    "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-junheng-cluster: long\r\n\
                     x-gateway-destination-endpoint: {chosen}\r\nX-Gateway-Destination-Endpoint: {chosen}\r\n\
                     content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                )
                .as_bytes(),
            )
            .await;
        assert!(answer.contains("x-served-by: small-"), "{answer}");
    }
}
