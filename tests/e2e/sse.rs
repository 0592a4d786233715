//! Streams through Envoy, which writes what the module leaves of a piece, or nothing.

use serde_json::json;

use crate::world::World;

const CHUNK_END: &str = "\r\n0\r\n\r\n";

async fn stream(world: &World, options: &str) -> String {
    let body = format!(
        r#"{{"model":"qwen2.5-7b","stream":true{options},"max_tokens":8,"messages":[{{"role":"user","content":"a river"}}]}}"#
    );
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    world.raw((head + &body).as_bytes()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn usage_is_asked_for_on_a_callers_behalf_and_not_shown_to_it() {
    let world = World::configured(|config| {
        for route in config["routes"].as_array_mut().expect("routes") {
            route["stream_usage"] = json!(true);
        }
    })
    .await;
    let unasked = stream(&world, "").await;
    assert!(unasked.starts_with("HTTP/1.1 200"), "{unasked}");
    assert!(!unasked.contains("\"usage\""), "{unasked}");
    assert!(
        unasked.contains("data: [DONE]\n\n") && unasked.ends_with(CHUNK_END),
        "{unasked}"
    );

    let asked = stream(&world, r#","stream_options":{"include_usage":true}"#).await;
    assert!(asked.contains("\"completion_tokens\":8"), "{asked}");
    let events = |answer: &str| answer.matches("data: ").count();
    assert_eq!(events(&asked), events(&unasked) + 1);
}
