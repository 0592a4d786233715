//! The real OpenAI client, which thousands of programs use, in a Python of its own.

use std::process::Command;

use harness::envoy::python;
use serde_json::Value;

use crate::world::World;

const REQUIREMENTS: &str = "openai==3.54.0\n";
const SCRIPT: &str = include_str!("client.py");

/// What `script`, run with the client and the URL of Envoy, prints as JSON.
pub async fn run(world: &World, script: &'static str) -> Value {
    let bin =
        python::environment("the openai client 3.54.0", REQUIREMENTS).expect("the openai client");
    let base = format!("http://{}", world.envoy.listener_address());
    let mut client = Command::new(bin.join("python"));
    client.args(["-c", script, &base]);
    let output = tokio::task::spawn_blocking(move || client.output())
        .await
        .unwrap()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{}", world.envoy.log());
    serde_json::from_slice(&output.stdout).expect("the script prints JSON")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_openai_client_gets_chat_stream_and_embedding_from_the_pool_that_the_config_names() {
    let world = World::start().await;
    let saw = run(&world, SCRIPT).await;

    let by = |call: &str| saw[call]["by"].as_str().unwrap_or_default().to_owned();
    for call in ["chat", "stream", "embedding"] {
        assert!(
            by(call).starts_with("small-"),
            "{call} was served by {:?}",
            by(call)
        );
        assert!(world.endpoint(&by(call)).stats().requests > 0, "{call}");
    }
    assert!(
        by("long").starts_with("long-"),
        "300 KB were served by {:?}",
        by("long")
    );
    assert_eq!(saw["chat"]["used"], 8, "{saw}");
    assert!(
        saw["chat"]["text"]
            .as_str()
            .is_some_and(|text| !text.is_empty()),
        "{saw}"
    );
    assert_eq!(
        (&saw["stream"]["chunks"], &saw["stream"]["used"]),
        (&8.into(), &8.into()),
        "{saw}"
    );
    assert_eq!(saw["embedding"]["vectors"], 2, "{saw}");
    assert!(saw["embedding"]["floats"].as_u64() > Some(0), "{saw}");
    // The client understood the refusal as OpenAI's own.
    let status = saw["refusal"]["status"].as_u64().unwrap_or_default();
    assert!(
        (400..500).contains(&status) && saw["refusal"]["code"].is_string(),
        "{saw}"
    );
}
