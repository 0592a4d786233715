//! A tenant whose own limit at the servers is used up.

use harness::fleet::{LIMITED_TENANT, Order, Speed};

use super::{
    CHAT, INNOCENT, SMALL, ask, assert_untouched, chat, received, trips_and_states, world,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_tenants_own_429_reaches_it_and_rests_no_endpoint() {
    let world = world(3, Speed::INSTANT, |_| ()).await;
    for endpoint in world.fleet.endpoints() {
        let order = Order::LimitTenant { retry_after: 60.0 };
        endpoint.order(order).unwrap();
    }
    let caller = world.caller();
    let mut served = Vec::new();
    for _ in 0..30 {
        let limited = ask(&caller, LIMITED_TENANT, CHAT, &chat("hi", false)).await;
        assert_eq!(limited.status.as_u16(), 429);
        assert_eq!(limited.header("retry-after"), Some("60"));
        for _ in 0..10 {
            let answer = ask(&caller, INNOCENT, CHAT, &chat("hi", false)).await;
            served.push((answer.status.as_u16(), answer.served_by().to_owned()));
        }
        let seen = trips_and_states(&world).await;
        assert_untouched(&seen);
    }
    assert!(
        served.iter().all(|(status, _)| *status == 200),
        "{served:?}"
    );
    for name in SMALL {
        let by = served.iter().filter(|(_, by)| by == name).count();
        assert!(by > 300 / 6, "{name} served {by} of 300");
    }
    assert!(SMALL.iter().all(|name| received(&world, name) > 0));
}
