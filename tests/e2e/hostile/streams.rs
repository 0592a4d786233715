//! Streams that begin late, or with an error.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use harness::fleet::{Opening, Order, Speed};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::{
    CHAT, HOSTILE, INNOCENT, SMALL, ask, assert_untouched, chat, chats, received, trips_and_states,
    world,
};
use crate::world::eventually;

/// A prompt that takes a second to read at this speed, four times the bound.
const SLOW_READER: Speed = Speed {
    prefill_us: 1_000.0,
    ..Speed::INSTANT
};
const LONG_PROMPT: usize = 4_000;
/// An answer of 24 tokens takes 48 ms.
const TAKES_A_MOMENT: Speed = Speed {
    decode_us: 2_000.0,
    ..Speed::INSTANT
};

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_think_longer_than_their_bound_trip_nothing() {
    let retry = json!({"first_byte": "250ms"});
    let world = world(3, SLOW_READER, |document| {
        document["routes"][0]["retry"] = retry;
    })
    .await;
    let world = Arc::new(world);
    for at_once in [1, 1, 1, 1, 1, 5, 15] {
        let mut thinkers = JoinSet::new();
        for _ in 0..at_once {
            let world = Arc::clone(&world);
            thinkers.spawn(async move {
                let long = chat(&"x".repeat(LONG_PROMPT), true);
                ask(&world.caller(), HOSTILE, CHAT, &long).await
            });
        }
        let good = chats(&world, INNOCENT, 30).await;
        let late = thinkers.join_all().await;
        assert!(late.iter().all(|answer| answer.status.as_u16() == 504));
        assert!(good.iter().all(|status| *status == 200), "{good:?}");
        let seen = trips_and_states(&world).await;
        assert_untouched(&seen);
    }
    let good = chats(&world, INNOCENT, 60).await;
    assert!(good.iter().all(|status| *status == 200), "{good:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_whose_chat_streams_open_with_an_error_is_left() {
    opens_with_an_error(CHAT, chat("hi", true)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_whose_message_streams_open_with_an_error_is_left() {
    let body = json!({
        "model": "qwen2.5-7b", "stream": true, "max_tokens": 9,
        "messages": [{"role": "user", "content": "hi"}],
    });
    opens_with_an_error("/v1/messages", body).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_whose_responses_open_with_an_error_is_left() {
    let body = json!({"model": "qwen2.5-7b", "stream": true, "input": "hi"});
    opens_with_an_error("/v1/responses", body).await;
}

/// Of 240 streams of two tenants a broken server got 220, as it was always the first to be free
/// again. Eight callers keep both servers busy.
async fn opens_with_an_error(path: &'static str, body: Value) {
    let world = Arc::new(world(2, TAKES_A_MOMENT, |_| ()).await);
    let broken = Order::ErrorInStream { status: 500 };
    world.endpoint("small-1").order(broken).unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let mut callers = JoinSet::new();
    for number in 0..8 {
        let (world, body, stop) = (Arc::clone(&world), body.clone(), Arc::clone(&stop));
        callers.spawn(async move {
            let caller = world.caller();
            while !stop.load(Relaxed) {
                ask(&caller, [INNOCENT, HOSTILE][number % 2], path, &body).await;
            }
        });
    }
    let both = async || {
        let trips = world.trips("small-1").await;
        (
            trips,
            SMALL[..2]
                .iter()
                .map(|name| received(&world, name))
                .collect(),
        )
    };
    let seen = eventually("tripped", both, |(trips, counts): &(f64, Vec<u64>)| {
        *trips == 1.0 && counts[1] >= 216
    })
    .await;
    stop.store(true, Relaxed);
    callers.join_all().await;
    assert!(seen.1[0] <= 24, "trips, and what each got: {seen:?}");
    assert_eq!(world.trips("small-2").await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_in_a_stream_that_is_the_callers_own_trips_nothing() {
    let world = world(3, Speed::INSTANT, |_| ()).await;
    for endpoint in world.fleet.endpoints() {
        let order = Order::ErrorInStream { status: 400 };
        endpoint.order(order).unwrap();
    }
    let caller = world.caller();
    for _ in 0..60 {
        let answer = ask(&caller, HOSTILE, CHAT, &chat("hi", true)).await;
        assert_eq!(answer.events()[0]["error"]["code"], 400);
    }
    let seen = trips_and_states(&world).await;
    assert_untouched(&seen);
}

/// The slow server sends a ping at once and its first token after 300 ms, the other all of it at
/// once.
#[tokio::test(flavor = "multi_thread")]
async fn a_ping_or_a_comment_is_no_first_token() {
    for opening in [Opening::Ping, Opening::Comment] {
        let world = world(2, Speed::INSTANT, |document| {
            document["pools"][0]["balance"] = json!({"algorithm": "response_time"});
        })
        .await;
        let order = Order::Think {
            millis: 300,
            opening,
        };
        world.endpoint("small-1").order(order).unwrap();
        let caller = world.caller();
        for request in 0..40 {
            let tenant = [INNOCENT, HOSTILE][request % 2];
            let answer = ask(&caller, tenant, CHAT, &chat("hi", true)).await;
            assert_eq!(answer.status.as_u16(), 200);
        }
        let slow = received(&world, "small-1");
        assert!(slow <= 10, "{opening:?}: the slow server got {slow} of 40");
    }
}
