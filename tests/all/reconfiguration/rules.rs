//! Standings that were decided under rules which are no more.

use std::time::Duration;

use serde_json::{Value, json};

use super::{A, B, WORKERS, config, live, plain, trip, used};
use crate::on_both;
use crate::scenario::{On, pass, proxy};

on_both! {
    a_breaker_that_is_switched_off_forgets_a_trip
    checks_that_are_switched_off_forget_their_failures
}

fn a_breaker_that_is_switched_off_forgets_a_trip(on: On) {
    let proxy = &mut *proxy(on, &plain(&[A, B]), WORKERS);
    trip(proxy, A);
    proxy.reload(&config(&[A, B], |pool| {
        pool["health"]["breaker"] = json!({"enabled": false});
    }));
    for _ in 0..2 {
        assert_eq!(used(proxy), [(A.to_owned(), 30), (B.to_owned(), 30)].into());
        pass(proxy, 0..WORKERS, Duration::from_secs(40));
        proxy.drain();
    }
}

fn checked(check: Value) -> Value {
    config(&[A, B], |pool| pool["health"]["check"] = check)
}

fn checks_that_are_switched_off_forget_their_failures(on: On) {
    let proxy = &mut *proxy(on, &checked(json!({})), WORKERS);
    let status = |endpoint: &str| if endpoint == A { 500 } else { 200 };
    live(proxy, Duration::from_secs(60), |asked| {
        status(&asked.endpoint)
    });
    assert_eq!(used(proxy), [(B.to_owned(), 60)].into());
    proxy.reload(&checked(json!({"enabled": false})));
    for _ in 0..2 {
        assert_eq!(used(proxy), [(A.to_owned(), 30), (B.to_owned(), 30)].into());
        proxy.drain();
        assert!(live(proxy, Duration::from_secs(30), |_| 500).is_empty());
    }
}
