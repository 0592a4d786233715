//! The issuer's key set: when it is fetched and how often, who waits for it, and what becomes of tokens while it does not come.

use std::time::Duration;

use serde_json::json;

use super::signer::{Key, unsigned};
use super::{ALL, BODY, asked, call, claims, jwt, key_set, refused_as, with_keys};
use crate::on_both;
use crate::scenario::{On, Step, pass, post, proxy};

on_both! {
    a_request_waits_for_the_first_key_set
    a_rotated_key_is_fetched_and_a_withdrawn_one_proves_nothing
    the_key_set_is_read_again_in_its_interval
    ten_thousand_made_up_keys_fetch_once_in_ten_seconds
    no_more_wait_than_a_worker_may_hold
    an_issuer_that_is_down_lets_nobody_in_and_takes_nobody_out
    who_waits_for_another_workers_fetch_does_not_wait_for_ever
}

/// Before its body has come, after it, and for one that has none.
fn a_request_waits_for_the_first_key_set(on: On) {
    let mut proxy = proxy(on, &jwt(), 1);
    let token = format!("Bearer {}", Key::Rsa.token("rsa", &claims()));
    let mut headers = post("/v1/chat/completions");
    headers.push(("authorization", &token));
    let (early, step) = proxy.open(0, &headers, false);
    assert_eq!(step, Step::Held);
    let (late, _) = proxy.open(0, &headers, false);
    assert_eq!(proxy.body(late, &BODY[..7], false), Step::Held);
    assert_eq!(proxy.body(late, &BODY[7..], true), Step::Held);
    let (bare, step) = proxy.open(
        0,
        &[
            (":method", "GET"),
            (":path", "/v1/models"),
            (":authority", "t"),
            ("authorization", &token),
        ],
        true,
    );
    assert_eq!(step, Step::Held);
    let (upload, step) = proxy.open(
        0,
        &[
            (":method", "POST"),
            (":path", "/v1/files"),
            (":authority", "t"),
            ("authorization", &token),
        ],
        false,
    );
    assert_eq!(step, Step::Held);
    assert_eq!(proxy.body(upload, b"some", false), Step::Held);
    let (gone, _) = proxy.open(0, &headers, false);
    proxy.close(gone);

    let asked = proxy.errands(0);
    assert_eq!(asked.len(), 1, "one fetch for all of them");
    proxy.reply(0, &asked[0], 200, &key_set(&ALL));
    assert_eq!(proxy.later(early), None, "its body is still to come");
    assert_eq!(proxy.body(early, BODY, true).sent().pool(), "acme");
    let sent = proxy.later(late).expect("decided").sent();
    assert!(sent.headers.iter().all(|(name, _)| name != "authorization"));
    assert_eq!((sent.pool(), sent.body.as_slice()), ("acme", BODY));
    assert_eq!(proxy.later(bare).expect("decided").sent().pool(), "acme");
    assert_eq!(proxy.later(upload).expect("decided").sent().pool(), "acme");
    for stream in [early, late, bare, upload] {
        proxy.close(stream);
    }
    assert_eq!(
        proxy.metric("junheng.endpoint.acme.10.0.0.1:80.in_flight"),
        0
    );
}

fn a_rotated_key_is_fetched_and_a_withdrawn_one_proves_nothing(on: On) {
    let (old, new) = ((Key::P256(1), "old"), (Key::P256(2), "new"));
    let mut proxy = with_keys(on, 2, &[old]);
    let [old_token, new_token] = [old, new].map(|(key, kid)| key.token(kid, &claims()));
    for worker in 0..2 {
        call(&mut *proxy, worker, &old_token).1.sent();
    }
    pass(&mut *proxy, 0..2, Duration::from_secs(11));
    let (first, step) = call(&mut *proxy, 0, &new_token);
    assert_eq!(step, Step::Held);
    let (second, step) = call(&mut *proxy, 1, &new_token);
    assert_eq!(step, Step::Held);
    let asked = asked(&mut *proxy, 2);
    assert_eq!(asked.len(), 1);
    proxy.reply(asked[0].0, &asked[0].1, 200, &key_set(&[new]));
    proxy.later(first).expect("decided").sent();
    pass(&mut *proxy, 0..2, Duration::from_millis(50));
    proxy
        .later(second)
        .expect("the other worker reads it")
        .sent();
    for worker in 0..2 {
        let (_, step) = call(&mut *proxy, worker, &old_token);
        refused_as(&step.refused(), 401, "invalid_token");
        call(&mut *proxy, worker, &new_token).1.sent();
    }
}

fn the_key_set_is_read_again_in_its_interval(on: On) {
    let mut proxy = with_keys(on, 3, &ALL);
    let mut fetches = Vec::new();
    for second in 0..300 {
        pass(&mut *proxy, 0..3, Duration::from_secs(1));
        for (worker, asked) in asked(&mut *proxy, 3) {
            proxy.reply(worker, &asked, 200, &key_set(&ALL));
            fetches.push(second);
        }
    }
    assert!((4..=5).contains(&fetches.len()), "{fetches:?}");
}

fn ten_thousand_made_up_keys_fetch_once_in_ten_seconds(on: On) {
    let mut proxy = with_keys(on, 3, &ALL);
    let good = Key::Ed25519(1).token("ed25519", &claims());
    let (mut fetches, mut held) = (Vec::new(), Vec::new());
    for request in 0..10_000u64 {
        let worker = request as usize % 3;
        // What is not looked at costs no signature: the key is looked for first.
        let token = unsigned(
            &json!({"alg": "EdDSA", "kid": format!("k{request}")}),
            &claims(),
        );
        let (stream, step) = call(&mut *proxy, worker, &format!("{token}.AAAA"));
        match step {
            Step::Held => held.push(stream),
            step => {
                refused_as(&step.refused(), 401, "invalid_token");
                proxy.close(stream);
            }
        }
        proxy.advance(Duration::from_millis(5));
        if request % 10 == 0 {
            (0..3).for_each(|worker| proxy.tick(worker));
        }
        if request % 1000 == 0 {
            call(&mut *proxy, worker, &good).1.sent();
        }
        for (worker, asked) in asked(&mut *proxy, 3) {
            fetches.push(request * 5);
            proxy.reply(worker, &asked, 200, &key_set(&ALL));
        }
        held.retain(|stream| match proxy.later(*stream) {
            None => true,
            Some(step) => {
                refused_as(&step.refused(), 401, "invalid_token");
                proxy.close(*stream);
                false
            }
        });
    }
    let apart = fetches.windows(2).map(|pair| pair[1] - pair[0]);
    assert!(apart.min() >= Some(10_000), "{fetches:?}");
    assert!((4..=5).contains(&fetches.len()), "{fetches:?}");
    assert!(held.len() <= 2, "{}", held.len());
}

fn no_more_wait_than_a_worker_may_hold(on: On) {
    let mut proxy = proxy(on, &jwt(), 1);
    let token = Key::Rsa.token("rsa", &claims());
    let mut held = 0;
    for _ in 0..1100 {
        match call(&mut *proxy, 0, &token).1 {
            Step::Held => held += 1,
            step => refused_as(&step.refused(), 503, "identity_unavailable"),
        }
    }
    assert_eq!(held, 1024);
}

fn an_issuer_that_is_down_lets_nobody_in_and_takes_nobody_out(on: On) {
    let mut proxy = proxy(on, &jwt(), 1);
    let token = Key::Rsa.token("rsa", &claims());
    for (status, body) in [(503, &b""[..]), (200, b"<html>"), (200, br#"{"keys":7}"#)] {
        let (stream, step) = call(&mut *proxy, 0, &token);
        assert_eq!(step, Step::Held);
        let asked = proxy.errands(0);
        proxy.reply(0, &asked[0], status, body);
        let step = proxy.later(stream).expect("decided");
        refused_as(&step.refused(), 503, "identity_unavailable");
        let (_, step) = call(&mut *proxy, 0, &token);
        refused_as(&step.refused(), 503, "identity_unavailable");
        proxy.advance(Duration::from_secs(11));
    }
    let (stream, _) = call(&mut *proxy, 0, &token);
    let asked = proxy.errands(0);
    proxy.reply(0, &asked[0], 200, &key_set(&ALL));
    proxy.later(stream).expect("decided").sent();
    let mut fetches = 0;
    for _ in 0..200 {
        pass(&mut *proxy, 0..1, Duration::from_secs(1));
        for asked in proxy.errands(0) {
            fetches += 1;
            proxy.reply(0, &asked, 503, b"");
        }
        call(&mut *proxy, 0, &token).1.sent();
    }
    assert!((13..=15).contains(&fetches), "{fetches} tries in 200 s");
    let (_, step) = call(&mut *proxy, 0, &Key::Rsa.token("new", &claims()));
    refused_as(&step.refused(), 503, "identity_unavailable");
    assert!(proxy.metric("junheng.identity.key_fetches_failed") >= 13);
}

/// The worker that asked has died, and its answer with it.
fn who_waits_for_another_workers_fetch_does_not_wait_for_ever(on: On) {
    let mut proxy = proxy(on, &jwt(), 2);
    let token = Key::Rsa.token("rsa", &claims());
    call(&mut *proxy, 0, &token);
    let (stream, step) = call(&mut *proxy, 1, &token);
    assert_eq!(step, Step::Held);
    proxy.kill(0);
    pass(&mut *proxy, [1], Duration::from_millis(3_900));
    assert_eq!(proxy.later(stream), None);
    pass(&mut *proxy, [1], Duration::from_millis(200));
    let step = proxy.later(stream).expect("decided");
    refused_as(&step.refused(), 503, "identity_unavailable");
    pass(&mut *proxy, [1], Duration::from_secs(7));
    let asked = proxy.errands(1);
    assert_eq!(asked.len(), 1, "it asks itself");
    proxy.reply(1, &asked[0], 200, &key_set(&ALL));
    call(&mut *proxy, 1, &token).1.sent();
}
