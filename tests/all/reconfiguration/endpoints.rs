//! Endpoints added, removed and put in another order.

use std::time::Duration;

use serde_json::json;

use super::{A, B, BODY, C, WORKERS, config, gauge, live, plain, used};
use crate::on_both;
use crate::scenario::{On, answer, chat_bytes, pass, proxy};

on_both! {
    an_endpoint_that_is_added_is_used_and_one_that_is_removed_is_not
    streams_of_an_order_that_is_gone_count_for_the_endpoints_that_serve_them
    a_configuration_that_drains_is_checked_on
    what_two_configurations_share_is_checked_once
    load_that_a_dead_worker_left_is_taken_out_once
    forty_configurations_that_drain_at_once_check_as_one_does
}

fn an_endpoint_that_is_added_is_used_and_one_that_is_removed_is_not(on: On) {
    let proxy = &mut *proxy(on, &plain(&[A, B]), WORKERS);
    let open: Vec<_> = (0..4)
        .map(|n| chat_bytes(proxy, n % WORKERS, BODY).0)
        .collect();
    proxy.reload(&plain(&[C, B]));
    assert_eq!(used(proxy), [(B.to_owned(), 30), (C.to_owned(), 30)].into());
    assert_eq!([A, B, C].map(|it| gauge(proxy, it, "in_flight")), [2, 2, 0]);
    proxy.drain();
    for stream in open {
        answer(proxy, stream, 200);
    }
    assert_eq!([A, B, C].map(|it| gauge(proxy, it, "in_flight")), [0, 0, 0]);
}

fn streams_of_an_order_that_is_gone_count_for_the_endpoints_that_serve_them(on: On) {
    let proxy = &mut *proxy(on, &plain(&[A, B, C]), WORKERS);
    let mut at_a = Vec::new();
    let mut others = Vec::new();
    for request in 0..30 {
        let (stream, step) = chat_bytes(proxy, request % WORKERS, BODY);
        match step.sent().endpoint() == A {
            true => at_a.push(stream),
            false => others.push(stream),
        }
    }
    proxy.reload(&plain(&[C, B, A]));
    pass(proxy, 0..WORKERS, Duration::from_millis(100));
    for stream in others {
        answer(proxy, stream, 200);
    }
    for stream in at_a {
        answer(proxy, stream, 500);
    }
    pass(proxy, 0..WORKERS, Duration::from_millis(100));
    assert_eq!([A, B, C].map(|it| gauge(proxy, it, "state")), [3, 0, 0]);
    assert!(!used(proxy).contains_key(A));
}

fn a_configuration_that_drains_is_checked_on(on: On) {
    let checked =
        |endpoints: &[&str]| config(endpoints, |pool| pool["health"]["check"] = json!({}));
    let proxy = &mut *proxy(on, &checked(&[A]), WORKERS);
    live(proxy, Duration::from_secs(20), |_| 200);
    proxy.reload(&checked(&[B]));
    let asked = live(proxy, Duration::from_secs(100), |_| 200);
    assert!(
        [A, B].iter().all(|it| (9..=10).contains(&asked[*it])),
        "{asked:?}"
    );
    proxy.drain();
    let asked = live(proxy, Duration::from_secs(100), |_| 200);
    assert!(
        (9..=10).contains(&asked[B]) && asked.len() == 1,
        "{asked:?}"
    );
}

fn what_two_configurations_share_is_checked_once(on: On) {
    let checked = |endpoints: &[&str]| {
        config(endpoints, |pool| {
            pool["health"]["check"] = json!({});
            pool["load"] = json!({"interval": "10s", "metrics_path": "/metrics"});
        })
    };
    let proxy = &mut *proxy(on, &checked(&[A, B]), WORKERS);
    live(proxy, Duration::from_secs(20), |_| 200);
    proxy.reload(&checked(&[B, C]));
    let asked = live(proxy, Duration::from_secs(100), |_| 200);
    // A check and a page each ten seconds.
    assert!(
        [A, B, C].iter().all(|it| (18..=20).contains(&asked[*it])),
        "{asked:?}"
    );
    // Another question is another matter.
    proxy.reload(&config(&[B], |pool| {
        pool["health"]["check"] = json!({"path": "/live"})
    }));
    let asked = live(proxy, Duration::from_secs(100), |_| 200);
    assert!((27..=30).contains(&asked[B]), "{asked:?}");
}

fn load_that_a_dead_worker_left_is_taken_out_once(on: On) {
    let proxy = &mut *proxy(on, &plain(&[A]), 3);
    pass(proxy, 0..3, Duration::from_secs(1));
    let stays = chat_bytes(proxy, 1, BODY).0;
    for _ in 0..6 {
        chat_bytes(proxy, 0, BODY);
    }
    for n in 0..3 {
        proxy.reload(&config(&[A], |pool| {
            pool["context_window"] = json!(1000 + n)
        }));
        pass(proxy, 0..3, Duration::from_millis(150));
    }
    assert_eq!(gauge(proxy, A, "in_flight"), 7);
    proxy.kill(0);
    for _ in 0..200 {
        pass(proxy, 1..3, Duration::from_millis(50));
        assert!(gauge(proxy, A, "in_flight") >= 1, "taken out twice");
    }
    assert_eq!(gauge(proxy, A, "in_flight"), 1);
    answer(proxy, stays, 200);
    assert_eq!(gauge(proxy, A, "in_flight"), 0);
}

fn forty_configurations_that_drain_at_once_check_as_one_does(on: On) {
    let checked = |n: usize| {
        config(&[A], |pool| {
            pool["health"]["check"] = json!({});
            pool["context_window"] = json!(1000 + n);
        })
    };
    let proxy = &mut *proxy(on, &checked(0), WORKERS);
    for n in 1..=40 {
        proxy.reload(&checked(n));
        pass(proxy, 0..WORKERS, Duration::from_millis(50));
    }
    proxy.errands(0);
    proxy.errands(1);
    let asked = live(proxy, Duration::from_secs(60), |_| 200);
    assert!((5..=6).contains(&asked[A]), "{asked:?}");
    assert_eq!(used(proxy)[A], 60);
}
