//! Servers that really are at fault: caution towards hostile tenants must not keep them in.

use std::time::Duration;

use harness::fleet::{Order, Speed};
use serde_json::{Value, json};

use super::{CHAT, HOSTILE, INNOCENT, ask, chat, chats, received, world};
use crate::world::{World, eventually};

/// Longer than the workers need to tell each other of a trip.
const KNOWN_TO_ALL: Duration = Duration::from_millis(300);
/// The failure in a row that trips an endpoint.
const DECIDING: u64 = 5;

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_fails_all_of_one_tenants_requests_trips_at_the_fifth() {
    trips_at_the_fifth(&[INNOCENT]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_fails_all_requests_of_two_tenants_trips_at_the_fifth() {
    trips_at_the_fifth(&[INNOCENT, HOSTILE]).await;
}

async fn trips_at_the_fifth(tenants: &[&str]) {
    let world = world(3, Speed::INSTANT, in_turn).await;
    world.endpoint("small-1").order(broken()).unwrap();
    let caller = world.caller();
    for tenant in tenants.iter().cycle().take(200) {
        assert_eq!(
            world.trips("small-1").await,
            0.0,
            "before the fifth failure"
        );
        ask(&caller, tenant, CHAT, &chat("hi", false)).await;
        if received(&world, "small-1") == DECIDING {
            break;
        }
    }
    tripped_and_left(&world).await;
    for name in ["small-2", "small-3"] {
        assert_eq!(world.trips(name).await, 0.0, "{name}");
    }
    let after = chats(&world, INNOCENT, 100).await;
    assert!(after.iter().all(|status| *status == 200), "{after:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pools_only_endpoint_that_fails_everything_trips_at_the_fifth() {
    let world = world(1, Speed::INSTANT, in_turn).await;
    world.endpoint("small-1").order(broken()).unwrap();
    let statuses = chats(&world, INNOCENT, DECIDING as usize - 1).await;
    tokio::time::sleep(KNOWN_TO_ALL).await;
    assert_eq!(world.trips("small-1").await, 0.0, "{statuses:?}");
    chats(&world, INNOCENT, 1).await;
    let trips = async || world.trips("small-1").await;
    eventually("tripped", trips, |trips| *trips == 1.0).await;
}

/// The endpoint has tripped, and gets nothing more of either tenant.
async fn tripped_and_left(world: &World) {
    let trips = async || world.trips("small-1").await;
    eventually("tripped", trips, |trips| *trips == 1.0).await;
    tokio::time::sleep(KNOWN_TO_ALL).await;
    let before = received(world, "small-1");
    for tenant in [INNOCENT, HOSTILE] {
        chats(world, tenant, 50).await;
    }
    assert_eq!((before, received(world, "small-1")), (DECIDING, DECIDING));
}

/// Each endpoint gets every third request, whatever became of the last.
fn in_turn(document: &mut Value) {
    document["pools"][0]["balance"] = json!({"algorithm": "round_robin"});
}

fn broken() -> Order {
    Order::Fail {
        status: 500,
        ratio: 1.0,
    }
}
