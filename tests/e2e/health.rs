//! Active checks through a real Envoy: counted at the servers, and what they lead to.

use harness::fleet::Order;
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

/// Waits until `names` alone are asked, and all of them, when 60 short prompts come: a worker learns on its tick what the
/// leader's metric shows.
async fn only_asked(world: &World, names: &[&str]) {
    let asked = async || {
        let before: Vec<_> = world.stats().map(|stats| stats.requests).collect();
        for _ in 0..60 {
            let caller = world.caller();
            let answer = caller.chat("qwen2.5-7b", "Name three rivers.").await;
            answer.expect("an answer");
        }
        let after = world.stats().map(|stats| stats.requests);
        let more = after.zip(before).map(|(after, before)| after > before);
        let asked = NAMES.into_iter().zip(more).filter(|(_, more)| *more);
        asked.map(|(name, _)| name).collect::<Vec<_>>()
    };
    eventually("asked", asked, |asked| asked == names).await;
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
    only_asked(&world, &["small-1", "small-3"]).await;
    victim.order(Order::Behave).unwrap();
    eventually(
        "back",
        async || world.state(victim).await,
        |state| *state == 0.0,
    )
    .await;
    only_asked(&world, &["small-1", "small-2", "small-3"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_answer_its_checks_is_left_out() {
    let world = World::configured(|document| {
        checked(document);
        // Whoever comes to one before it is left out, waits no longer than a check.
        for route in document["routes"].as_array_mut().expect("routes") {
            route["retry"] = json!({"answer": "500ms"});
        }
    })
    .await;
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
    only_asked(&world, &["small-2"]).await;
}
