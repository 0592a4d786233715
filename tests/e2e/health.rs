//! Active checks through a real Envoy: counted at the servers, and what they lead to.

use harness::fleet::{Endpoint, Order};
use serde_json::{Value, json};

use crate::world::{NAMES, World, eventually};

/// Everybody in turn; checks each second, ramps of a second, nothing else that could take an endpoint out.
fn checked(document: &mut Value) {
    for pool in document["pools"].as_array_mut().expect("pools") {
        pool["balance"] = json!({"algorithm": "round_robin"});
        pool["health"] = json!({
            "check": {"interval": "1s", "timeout": "500ms"}, "breaker": {"enabled": false}, "ramp": "1s"
        });
    }
}

fn checks(world: &World) -> Vec<u64> {
    world.stats().map(|stats| stats.health_checks).collect()
}

/// Who serves 60 short prompts.
async fn used(world: &World) -> Vec<String> {
    let mut used = Vec::new();
    for _ in 0..60 {
        let answer = world
            .caller()
            .chat("qwen2.5-7b", "Name three rivers.")
            .await;
        used.push(answer.expect("an answer").served_by().to_owned());
    }
    used.sort();
    used.dedup();
    used
}

/// Two workers and the main thread have a VM each; one of the three asks.
#[tokio::test(flavor = "multi_thread")]
async fn each_endpoint_is_checked_once_an_interval_by_the_whole_process() {
    let world = World::configured(checked).await;
    let seen = eventually(
        "ten checks of each",
        async || checks(&world),
        |seen| seen.iter().all(|count| *count >= 10),
    )
    .await;
    // The endpoints' turns lie apart by less than an interval.
    assert!(seen.iter().all(|count| *count <= 12), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_whose_health_fails_is_left_out_and_comes_back() {
    let world = World::configured(checked).await;
    let victim = world.endpoint("small-2");
    victim.order(Order::Health { status: 503 }).unwrap();
    eventually(
        "left out",
        async || world.state(victim).await,
        |state| *state == 5.0,
    )
    .await;
    assert_eq!(used(&world).await, ["small-1", "small-3"]);
    victim.order(Order::Behave).unwrap();
    eventually(
        "back",
        async || world.state(victim).await,
        |state| *state == 0.0,
    )
    .await;
    assert_eq!(used(&world).await, ["small-1", "small-2", "small-3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_answer_its_checks_is_left_out() {
    let world = World::configured(checked).await;
    world.endpoint("small-1").order(Order::Hang).unwrap();
    world.endpoint("small-3").order(Order::Kill).unwrap();
    for name in ["small-1", "small-3"] {
        let endpoint = world.endpoint(name);
        eventually(
            "left out",
            async || world.state(endpoint).await,
            |state| *state == 5.0,
        )
        .await;
    }
    assert_eq!(used(&world).await, ["small-2"]);
    let states = world
        .fleet
        .endpoints()
        .iter()
        .map(Endpoint::name)
        .zip(NAMES);
    assert!(states.into_iter().all(|(name, known)| name == known));
}
