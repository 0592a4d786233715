//! One server that carries less than the others: callers need not know, and it is used as far as it
//! goes.

use std::sync::Arc;

use harness::fleet::{Order, Speed};
use tokio::task::JoinSet;

use super::{CHAT, HOSTILE, INNOCENT, ask, chat, trips_and_states, world};

const CLIENTS: usize = 9;
const REQUESTS: usize = 50;
const SLOTS: usize = 1;

#[tokio::test(flavor = "multi_thread")]
async fn refusals_of_one_small_server_are_served_by_the_others() {
    let speed = Speed {
        decode_us: 5_000.0,
        slots: 64,
        ..Speed::INSTANT
    };
    let world = world(3, speed, |_| ()).await;
    let small = world.endpoint("small-1");
    let shed = Order::Shed {
        slots: SLOTS,
        status: 503,
        retry_after: Some(1.0),
    };
    small.order(shed).unwrap();
    let caller = Arc::new(world.caller());
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let caller = Arc::clone(&caller);
        let tenant = [INNOCENT, HOSTILE][client % 2];
        clients.spawn(async move {
            let mut seen = Vec::new();
            for _ in 0..REQUESTS {
                let answer = ask(&caller, tenant, CHAT, &chat("wait", false)).await;
                seen.push((answer.status.as_u16(), answer.served_by().to_owned()));
            }
            seen
        });
    }
    let answers = clients.join_all().await.concat();
    let refused = answers.iter().filter(|(status, _)| *status != 200).count();
    let shed = small.stats().failures;
    assert!(shed > 0, "it was never asked for too much");
    // A question now and then.
    assert!(refused <= 5, "{refused} of {} were refused", answers.len());
    let by_small = answers.iter().filter(|(_, by)| by == "small-1").count();
    assert!(by_small >= REQUESTS / 2, "it has served {by_small}");
    let trips = trips_and_states(&world).await;
    assert!(trips.iter().all(|(trips, _)| *trips == 0.0), "{trips:?}");
}
