//! A second configuration for one root context, as hosts give it that keep their contexts.

use std::time::Duration;

use serde_json::{Value, json};

use super::{A, B, BODY, WORKERS, config, gauge, live, plain, used};
use crate::on_both;
use crate::scenario::{On, Step, answer, chat_bytes, pass, post, proxy};

on_both! {
    the_first_is_retired_and_its_streams_end_under_it
    an_answer_goes_to_the_configuration_that_asked
    a_request_that_waits_is_woken
    counts_that_were_not_told_are_not_lost
}

fn checked(endpoints: &[&str]) -> Value {
    config(endpoints, |pool| pool["health"]["check"] = json!({}))
}

fn the_first_is_retired_and_its_streams_end_under_it(on: On) {
    let proxy = &mut *proxy(on, &checked(&[A]), WORKERS);
    let (stream, step) = chat_bytes(proxy, 0, BODY);
    assert_eq!(step.sent().endpoint(), A);
    live(proxy, Duration::from_secs(11), |_| 200);
    proxy.configure_again(&checked(&[B]));
    let asked = live(proxy, Duration::from_secs(60), |_| 200);
    assert!(asked.len() == 1 && asked[B] >= 5, "{asked:?}");
    assert_eq!(used(proxy), [(B.to_owned(), 60)].into());
    assert_eq!(gauge(proxy, A, "in_flight"), 1);
    answer(proxy, stream, 200);
    assert_eq!(gauge(proxy, A, "in_flight"), 0);
}

fn an_answer_goes_to_the_configuration_that_asked(on: On) {
    let proxy = &mut *proxy(on, &checked(&[A, B]), 1);
    for _ in 0..6 {
        // All that is asked of A is answered under a configuration in which B stands in its place,
        // and the other way round.
        let mut asked = Vec::new();
        while asked.len() < 2 {
            pass(proxy, [0], Duration::from_millis(50));
            asked.extend(proxy.errands(0));
        }
        proxy.configure_again(&checked(&[B, A]));
        for errand in &asked {
            let status = if errand.endpoint == A { 500 } else { 200 };
            proxy.reply(0, errand, status, b"");
        }
        proxy.configure_again(&checked(&[A, B]));
    }
    assert_eq!(
        [A, B].map(|endpoint| gauge(proxy, endpoint, "state")),
        [0, 0]
    );
    for _ in 0..4 {
        assert!([A, B].contains(&chat_bytes(proxy, 0, BODY).1.sent().endpoint()));
    }
}

fn asking() -> Value {
    let mut config = plain(&[A]);
    config["identity"] = json!({"introspection": {
        "cluster": "issuer", "authority": "issuer.example", "path": "/introspect",
        "client_id": "junheng", "client_secret": "s3:cret",
    }});
    config
}

fn a_request_that_waits_is_woken(on: On) {
    let proxy = &mut *proxy(on, &asking(), 1);
    let mut headers = post("/v1/chat/completions");
    headers.push(("authorization", "Bearer opaque"));
    let (stream, step) = proxy.open(0, &headers, false);
    assert_eq!(step, Step::Held);
    assert_eq!(proxy.errands(0).len(), 1);
    proxy.configure_again(&plain(&[B]));
    let woken = proxy.later(stream).expect("it does not wait any more");
    assert_eq!(woken.refused().status, 503);
}

fn counts_that_were_not_told_are_not_lost(on: On) {
    let proxy = &mut *proxy(on, &plain(&[A]), WORKERS);
    for n in 0..5 {
        let (stream, _) = chat_bytes(proxy, n % WORKERS, BODY);
        answer(proxy, stream, 200);
    }
    proxy.configure_again(&plain(&[B]));
    assert_eq!(proxy.metric("junheng.pool.p.requests_ok"), 5);
}
