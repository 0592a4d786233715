//! Two tenants, one of them hostile: what the other gets.
//!
//! Both come from one address, as behind a gateway, and are told apart by a header. The hostile one
//! sends what no server can answer, or what one server is at fault for in its eyes alone.

mod faults;
mod limits;
mod poison;
mod sessions;
mod streams;
mod uneven;

use harness::fleet::{Answer, Caller, Speed, TENANT_HEADER, json_request};
use serde_json::{Value, json};

use crate::world::World;

const INNOCENT: &str = "innocent";
const HOSTILE: &str = "hostile";
const SMALL: [&str; 3] = ["small-1", "small-2", "small-3"];
const CHAT: &str = "/v1/chat/completions";

/// The first `endpoints` of the shipped pool of short prompts, all of one weight, and a rule that
/// uses no other pool and retries as rules do that name nothing else; `change` changes more.
async fn world(endpoints: usize, speed: Speed, change: impl FnOnce(&mut Value)) -> World {
    World::of(speed, |document| {
        document["identity"] = json!({"tenant_header": TENANT_HEADER});
        let mut pool = document["pools"][0].take();
        let list = pool["endpoints"].as_array_mut().expect("endpoints");
        list.truncate(endpoints);
        list.iter_mut().for_each(|one| one["weight"] = json!(100));
        document["pools"] = json!([pool]);
        document["routes"] = json!([{"pools": ["small"], "attempts": 3}]);
        change(document);
    })
    .await
}

fn chat(prompt: &str, stream: bool) -> Value {
    json!({
        "model": "qwen2.5-7b", "stream": stream,
        "messages": [{"role": "user", "content": prompt}],
    })
}

/// One request of `tenant`.
async fn ask(caller: &Caller, tenant: &str, path: &str, body: &Value) -> Answer {
    let mut request = json_request(path, body.to_string());
    let tenant = tenant.parse().expect("a header's value");
    request.headers_mut().insert(TENANT_HEADER, tenant);
    caller.send(request).await.expect("an answer")
}

/// The statuses of `count` chats of `tenant`, one after the other.
async fn chats(world: &World, tenant: &str, count: usize) -> Vec<u16> {
    let caller = world.caller();
    let mut statuses = Vec::new();
    for _ in 0..count {
        let answer = ask(&caller, tenant, CHAT, &chat("hi", false)).await;
        statuses.push(answer.status.as_u16());
    }
    statuses
}

/// Asserts that no endpoint of the pool has ever tripped and all of them admit requests now.
#[track_caller]
fn assert_untouched(trips_and_states: &[(f64, f64)]) {
    let all_well = trips_and_states.iter().all(|seen| *seen == (0.0, 0.0));
    assert!(all_well, "trips and states: {trips_and_states:?}");
}

async fn trips_and_states(world: &World) -> Vec<(f64, f64)> {
    let mut seen = Vec::new();
    for name in SMALL {
        let state = world.state(world.endpoint(name)).await;
        seen.push((world.trips(name).await, state));
    }
    seen
}

/// API requests that the endpoint of that name has received.
fn received(world: &World, name: &str) -> u64 {
    world.endpoint(name).stats().requests
}
