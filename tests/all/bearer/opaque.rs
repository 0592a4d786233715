//! Tokens that their issuer is asked about: once, for a time, and what becomes of them while it does not answer.

use std::time::Duration;

use harness::host::{Faults, Options, Status, When};
use serde_json::json;

use super::signer::Key;
use super::{NOW, call, claims, introspection, jwt, refused_as};
use crate::on_both;
use crate::scenario::{On, Step, Wasm, pass, proxy};

on_both! {
    an_opaque_token_is_asked_about_once_and_remembered
    an_answer_holds_no_longer_than_its_token
    a_token_that_nobody_vouches_for_is_refused
    questions_are_bounded_and_no_answer_is_awaited_for_ever
}

fn an_opaque_token_is_asked_about_once_and_remembered(on: On) {
    let mut proxy = proxy(on, &introspection(), 1);
    let (first, step) = call(&mut *proxy, 0, "opaque~1");
    assert_eq!(step, Step::Held);
    let (second, step) = call(&mut *proxy, 0, "opaque~1");
    assert_eq!(step, Step::Held);
    let asked = proxy.errands(0);
    assert_eq!(asked.len(), 1, "they share one question");
    let asked = &asked[0];
    assert_eq!(
        (asked.path.as_str(), asked.header(":method")),
        ("/introspect", "POST")
    );
    assert_eq!(asked.body, b"token_type_hint=access_token&token=opaque%7E1");
    // junheng:s3%3Acret
    assert_eq!(
        asked.header("authorization"),
        "Basic anVuaGVuZzpzMyUzQWNyZXQ="
    );
    let answer = json!({"active": true, "client_id": "acme", "exp": NOW + 3600});
    proxy.reply(0, asked, 200, answer.to_string().as_bytes());
    for stream in [first, second] {
        assert_eq!(proxy.later(stream).expect("decided").sent().pool(), "acme");
    }
    pass(&mut *proxy, 0..1, Duration::from_secs(29));
    assert_eq!(call(&mut *proxy, 0, "opaque~1").1.sent().pool(), "acme");
    assert!(proxy.errands(0).is_empty());
    pass(&mut *proxy, 0..1, Duration::from_secs(2));
    assert_eq!(call(&mut *proxy, 0, "opaque~1").1, Step::Held);
    assert_eq!(proxy.errands(0).len(), 1, "the answer has aged");
}

fn an_answer_holds_no_longer_than_its_token(on: On) {
    let mut proxy = proxy(on, &introspection(), 1);
    let (stream, _) = call(&mut *proxy, 0, "opaque");
    let asked = proxy.errands(0);
    let answer = json!({"active": true, "client_id": "acme", "exp": NOW - 50});
    proxy.reply(0, &asked[0], 200, answer.to_string().as_bytes());
    proxy.later(stream).expect("decided").sent();
    pass(&mut *proxy, 0..1, Duration::from_secs(11));
    assert_eq!(call(&mut *proxy, 0, "opaque").1, Step::Held);
}

fn a_token_that_nobody_vouches_for_is_refused(on: On) {
    let mut proxy = proxy(on, &introspection(), 1);
    for (token, status, body, expected) in [
        ("a", 200, r#"{"active":false}"#, 401),
        ("b", 200, r#"{"active":true}"#, 401),
        ("c", 401, r#"{"active":true,"client_id":"acme"}"#, 503),
        ("d", 503, "", 503),
        (
            "e",
            200,
            r#"{"active":true,"active":true,"client_id":"acme"}"#,
            503,
        ),
    ] {
        let (stream, step) = call(&mut *proxy, 0, token);
        assert_eq!(step, Step::Held);
        let asked = proxy.errands(0);
        proxy.reply(0, &asked[0], status, body.as_bytes());
        let refused = proxy.later(stream).expect("decided").refused();
        let code = match expected {
            401 => "invalid_token",
            _ => "identity_unavailable",
        };
        refused_as(&refused, expected, code);
    }
    refused_as(&call(&mut *proxy, 0, "a").1.refused(), 401, "invalid_token");
    assert!(proxy.errands(0).is_empty(), "it is remembered for a moment");
    assert_eq!(call(&mut *proxy, 0, "d").1, Step::Held, "this one is not");
    pass(&mut *proxy, 0..1, Duration::from_secs(6));
    assert_eq!(proxy.metric("junheng.identity.introspections"), 5);
    assert_eq!(proxy.metric("junheng.identity.introspections_failed"), 3);
}

fn questions_are_bounded_and_no_answer_is_awaited_for_ever(on: On) {
    let mut proxy = proxy(on, &introspection(), 1);
    let mut held = Vec::new();
    for token in 0..100 {
        match call(&mut *proxy, 0, &format!("opaque{token}")) {
            (stream, Step::Held) => held.push(stream),
            (_, step) => refused_as(&step.refused(), 503, "identity_unavailable"),
        }
    }
    assert_eq!(held.len(), 64);
    pass(&mut *proxy, 0..1, Duration::from_millis(6_050));
    for stream in held {
        let step = proxy.later(stream).expect("decided");
        refused_as(&step.refused(), 503, "identity_unavailable");
    }
    assert_eq!(call(&mut *proxy, 0, "opaque").1, Step::Held);
}

/// As with a cluster that is not there, or has no host.
#[test]
fn a_question_that_cannot_be_sent_is_answered_at_once() {
    for (config, token) in [
        (jwt(), Key::Rsa.token("rsa", &claims())),
        (introspection(), "opaque".to_owned()),
    ] {
        let unsent = Options {
            faults: Faults::on("proxy_http_call", When::Every(1), Status::InternalFailure),
            ..Options::default()
        };
        let mut proxy = Wasm::with(unsent, &config, 1);
        for _ in 0..2 {
            let (_, step) = call(&mut proxy, 0, &token);
            refused_as(&step.refused(), 503, "identity_unavailable");
        }
    }
}
