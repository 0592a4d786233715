//! Requests that every server fails.

use std::sync::Arc;
use std::time::{Duration, Instant};

use harness::fleet::{Order, POISON, Speed};
use serde_json::json;
use tokio::task::JoinSet;

use super::{CHAT, HOSTILE, INNOCENT, ask, assert_untouched, chat, trips_and_states, world};
use crate::world::World;

const CALLERS: usize = 8;
const REQUESTS_A_CALLER: usize = 100;

#[tokio::test(flavor = "multi_thread")]
async fn poison_that_every_server_answers_500_fails_no_good_request() {
    poison_of_every_share(500, false).await;
}

/// 501 is what a chat server says to an embedding.
#[tokio::test(flavor = "multi_thread")]
async fn poison_that_every_server_answers_501_fails_no_good_request() {
    poison_of_every_share(501, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_that_fails_inside_its_stream_fails_no_good_request() {
    poison_of_every_share(500, true).await;
}

async fn poison_of_every_share(status: u16, in_stream: bool) {
    let world = Arc::new(world(3, Speed::INSTANT, |_| ()).await);
    poison(&world, status, in_stream);
    for percent in [1, 10, 30, 50] {
        let mut callers = JoinSet::new();
        for caller in 0..CALLERS {
            let world = Arc::clone(&world);
            callers.spawn(mixed(world, caller, percent, in_stream));
        }
        let counts = callers.join_all().await;
        let good: usize = counts.iter().map(|(good, _)| good).sum();
        let failed: usize = counts.iter().map(|(_, failed)| failed).sum();
        assert_eq!(
            good + failed,
            CALLERS * REQUESTS_A_CALLER * (100 - percent) / 100
        );
        assert_eq!(failed, 0, "at {percent} % of poison");
        let seen = trips_and_states(&world).await;
        assert_untouched(&seen);
    }
}

/// Good requests of one tenant with `percent` of the other's poison among them; the good ones that
/// were answered well and those that were not.
async fn mixed(world: Arc<World>, number: usize, percent: usize, stream: bool) -> (usize, usize) {
    let caller = world.caller();
    let (mut good, mut failed) = (0, 0);
    for request in 0..REQUESTS_A_CALLER {
        // Spread evenly, at another moment for each caller.
        let turn = request + number * REQUESTS_A_CALLER / CALLERS;
        if turn * percent % 100 < percent {
            ask(&caller, HOSTILE, CHAT, &chat(POISON, stream)).await;
            continue;
        }
        let answer = ask(&caller, INNOCENT, CHAT, &chat("hi", stream)).await;
        match answer.status.as_u16() {
            200 => good += 1,
            _ => failed += 1,
        }
    }
    (good, failed)
}

/// A failed answer is charged as a request.
#[tokio::test(flavor = "multi_thread")]
async fn no_more_poison_reaches_an_endpoint_than_its_tenants_limit_allows() {
    let world = world(3, Speed::INSTANT, |document| {
        let minute = json!({"limit": 6, "per": "1m"});
        document["quotas"] = json!([{"name": "minute", "key": ["tenant"], "requests": minute}]);
        document["routes"][0]["attempts"] = json!(1);
    })
    .await;
    poison(&world, 500, false);
    let began = Instant::now();
    let caller = world.caller();
    let mut statuses = Vec::new();
    for _ in 0..40 {
        let answer = ask(&caller, HOSTILE, CHAT, &chat(POISON, false)).await;
        statuses.push(answer.status.as_u16());
    }
    // Six at once, and one more for each ten seconds.
    let ten_seconds = Duration::from_secs(10).as_secs_f64();
    let most = 6 + (began.elapsed().as_secs_f64() / ten_seconds) as u64;
    assert!(
        world.forwarded() <= most,
        "{} of {most}: {statuses:?}",
        world.forwarded()
    );
    assert!(
        statuses.contains(&429) && statuses.contains(&500),
        "{statuses:?}"
    );
    let innocent = ask(&caller, INNOCENT, CHAT, &chat("hi", false)).await;
    assert_eq!(innocent.status.as_u16(), 200);
}

fn poison(world: &World, status: u16, in_stream: bool) {
    for endpoint in world.fleet.endpoints() {
        endpoint.order(Order::Poison { status, in_stream }).unwrap();
    }
}
