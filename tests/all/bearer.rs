//! Bearer tokens: whose pass and as whom, when keys are fetched and issuers asked, and that nothing passes
//! unproven while they do not answer.

pub mod signer;

use std::time::Duration;

use harness::host::{Faults, Options, Status, When};
use junheng::config::Config;
use serde_json::{Value, json};

use self::signer::{Key, confused, unsigned};
use crate::on_both;
use crate::scenario::{Asked, On, Proxy, Refused, Step, StreamId, Wasm, pass, post, proxy};

const BODY: &[u8] = br#"{"model":"m","messages":[]}"#;
const ALL: [(Key, &str); 3] = [
    (Key::Rsa, "rsa"),
    (Key::P256(1), "p256"),
    (Key::Ed25519(1), "ed25519"),
];
/// What the wall clock shows when a scenario begins.
const NOW: u64 = (1 << 40) / 1_000_000_000;

fn config(identity: Value) -> Value {
    let pool = |name: &str, address: &str| json!({"name": name, "cluster": "c", "endpoints": [{"address": address}], "health": {"check": {"enabled": false}}});
    json!({
        "identity": identity,
        "pools": [pool("acme", "10.0.0.1:80"), pool("others", "10.0.0.2:80")],
        "routes": [{"match": {"tenants": ["acme"]}, "pools": ["acme"]}, {"pools": ["others"]}],
    })
}

fn jwt() -> Value {
    config(json!({"jwt": [{
        "issuer": "https://issuer.example", "audiences": ["api"],
        "jwks": {"cluster": "issuer", "authority": "issuer.example", "path": "/jwks", "timeout": "3s", "refresh": "60s"},
    }]}))
}

fn introspection() -> Value {
    config(json!({"introspection": {
        "cluster": "issuer", "authority": "issuer.example", "path": "/introspect",
        "client_id": "junheng", "client_secret": "s3:cret", "cache": "30s",
    }}))
}

fn claims() -> Value {
    json!({"iss": "https://issuer.example", "aud": "api", "exp": NOW + 3600, "sub": "acme"})
}

fn key_set(keys: &[(Key, &str)]) -> Vec<u8> {
    let keys: Vec<Value> = keys.iter().map(|(key, kid)| key.jwk(kid)).collect();
    json!({ "keys": keys }).to_string().into_bytes()
}

/// A chat request with a token, its whole way in.
fn call(proxy: &mut dyn Proxy, worker: usize, token: &str) -> (StreamId, Step) {
    let value = format!("Bearer {token}");
    let mut headers = post("/v1/chat/completions");
    headers.push(("authorization", &value));
    let (stream, step) = proxy.open(worker, &headers, false);
    match step {
        Step::Held => (stream, proxy.body(stream, BODY, true)),
        decided => (stream, decided),
    }
}

/// A proxy that has the key set, and how often it asks for it.
fn with_keys(on: On, workers: usize, keys: &[(Key, &str)]) -> Box<dyn Proxy> {
    let mut proxy = proxy(on, &jwt(), workers);
    pass(&mut *proxy, 0..workers, Duration::from_millis(100));
    let asked = asked(&mut *proxy, workers);
    assert_eq!(asked.len(), 1, "one worker fetches");
    for (worker, asked) in asked {
        assert_eq!(
            (asked.cluster.as_str(), asked.path.as_str()),
            ("issuer", "/jwks")
        );
        assert_eq!(asked.header(":authority"), "issuer.example");
        proxy.reply(worker, &asked, 200, &key_set(keys));
    }
    pass(&mut *proxy, 0..workers, Duration::from_millis(50));
    proxy
}

fn asked(proxy: &mut dyn Proxy, workers: usize) -> Vec<(usize, Asked)> {
    let of = |worker| {
        let asked = proxy.errands(worker).into_iter();
        asked.map(move |asked| (worker, asked)).collect::<Vec<_>>()
    };
    (0..workers).flat_map(of).collect()
}

#[track_caller]
fn refused_as(refused: &Refused, status: u16, code: &str) {
    assert_eq!((refused.status, refused.error("code")), (status, code));
    match status {
        401 => {
            let challenge = refused.challenge.as_deref().expect("WWW-Authenticate");
            assert!(challenge.contains("error=\"invalid_token\""), "{challenge}");
        }
        _ => assert!(refused.retry_after.is_some()),
    }
}

fn a_token_of_each_algorithm_names_its_tenant(on: On) {
    let mut proxy = with_keys(on, 1, &ALL);
    for (key, kid) in ALL {
        for _ in 0..2 {
            let (stream, step) = call(&mut *proxy, 0, &key.token(kid, &claims()));
            let sent = step.sent();
            assert_eq!(sent.pool(), "acme", "{key:?}");
            let leaks = sent.headers.iter().any(|(name, _)| name == "authorization");
            assert!(!leaks, "the token is for us, and no endpoint's");
            proxy.close(stream);
        }
        let mut other = claims();
        other["sub"] = "globex".into();
        let (_, step) = call(&mut *proxy, 0, &key.token(kid, &other));
        assert_eq!(step.sent().pool(), "others", "{key:?}");
    }
    assert!(proxy.errands(0).is_empty());
}

fn what_is_not_proven_is_refused_and_fetches_nothing(on: On) {
    let mut proxy = with_keys(on, 1, &ALL);
    pass(&mut *proxy, 0..1, Duration::from_secs(11));
    let with = |field: &str, value: Value| {
        let mut changed = claims();
        changed[field] = value;
        changed
    };
    let good = Key::Ed25519(1);
    let tokens = [
        good.token("ed25519", &with("exp", (NOW - 60).into())),
        good.token("ed25519", &with("nbf", (NOW + 120).into())),
        good.token("ed25519", &with("aud", "other".into())),
        good.token("made up", &with("aud", "other".into())),
        good.token("ed25519", &with("iss", "https://other.example".into())),
        format!("{}.", unsigned(&json!({"alg": "none"}), &claims())),
        format!(
            "{}.",
            unsigned(&json!({"alg": "none", "kid": "rsa"}), &claims())
        ),
        confused(&claims()),
        Key::Ed25519(2).token("ed25519", &claims()),
        Key::P256(2).token("p256", &claims()),
        Key::P256(1).sign(&json!({"alg": "RS256", "kid": "rsa"}), &claims()),
        "not-a-jwt".to_owned(),
        "ey.ey.ey".to_owned(),
    ];
    for token in &tokens {
        let (_, step) = call(&mut *proxy, 0, token);
        refused_as(&step.refused(), 401, "invalid_token");
    }
    let (_, step) = proxy.open(0, &post("/v1/chat/completions"), false);
    assert_eq!(step.refused().error("code"), "missing_credentials");
    assert!(proxy.errands(0).is_empty());
    let refused = proxy.metric("junheng.refused.invalid_token");
    proxy.tick(0);
    assert_eq!(
        refused.max(proxy.metric("junheng.refused.invalid_token")),
        tokens.len() as i64
    );
}

fn a_token_that_was_good_ends_in_time(on: On) {
    let mut proxy = with_keys(on, 1, &ALL);
    let mut short = claims();
    short["exp"] = (NOW + 10).into();
    let token = Key::Rsa.token("rsa", &short);
    call(&mut *proxy, 0, &token).1.sent();
    pass(&mut *proxy, 0..1, Duration::from_secs(40));
    call(&mut *proxy, 0, &token).1.sent();
    pass(&mut *proxy, 0..1, Duration::from_secs(31));
    refused_as(
        &call(&mut *proxy, 0, &token).1.refused(),
        401,
        "invalid_token",
    );
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

/// An API key in the same header is known by its digest; what is no key is a token.
fn keys_and_tokens_share_a_header(on: On) {
    let mut config = jwt();
    // SHA-256 of "sk-one".
    let digest = "456f1612bd25c6c8455039437bf441f43aa3b7d1c0b0047c712d5036dfebef0d";
    config["identity"]["keys"] = json!({"tenants": [{"tenant": "acme", "sha256": [digest]}]});
    let mut proxy = proxy(on, &config, 1);
    assert_eq!(call(&mut *proxy, 0, "sk-one").1.sent().pool(), "acme");
    assert_eq!(
        call(&mut *proxy, 0, &Key::Rsa.token("rsa", &claims())).1,
        Step::Held
    );
    refused_as(
        &call(&mut *proxy, 0, "sk-two").1.refused(),
        401,
        "invalid_token",
    );
}

on_both! {
    keys_and_tokens_share_a_header
    a_token_of_each_algorithm_names_its_tenant
    what_is_not_proven_is_refused_and_fetches_nothing
    a_token_that_was_good_ends_in_time
    a_request_waits_for_the_first_key_set
    a_rotated_key_is_fetched_and_a_withdrawn_one_proves_nothing
    the_key_set_is_read_again_in_its_interval
    ten_thousand_made_up_keys_fetch_once_in_ten_seconds
    no_more_wait_than_a_worker_may_hold
    an_issuer_that_is_down_lets_nobody_in_and_takes_nobody_out
    who_waits_for_another_workers_fetch_does_not_wait_for_ever
    an_opaque_token_is_asked_about_once_and_remembered
    an_answer_holds_no_longer_than_its_token
    a_token_that_nobody_vouches_for_is_refused
    questions_are_bounded_and_no_answer_is_awaited_for_ever
}

#[test]
fn mistakes_are_refused_with_their_place_and_no_secret() {
    let jwt = |pointer: &str, value: Value| {
        let mut config = jwt();
        *config
            .pointer_mut(&format!("/identity/jwt/0/{pointer}"))
            .expect("a field") = value;
        config
    };
    let introspection = |pointer: &str, value: Value| {
        let mut config = introspection();
        *config
            .pointer_mut(&format!("/identity/introspection/{pointer}"))
            .expect("a field") = value;
        config
    };
    let twice = {
        let mut config = config(json!({}));
        let issuer = self::jwt()["identity"]["jwt"][0].clone();
        config["identity"]["jwt"] = json!([issuer, issuer]);
        config
    };
    for (config, problem) in [
        (jwt("issuer", "".into()), "identity.jwt[0].issuer: is empty"),
        (
            twice,
            "identity.jwt[1].issuer: \"https://issuer.example\" is taken",
        ),
        (
            jwt("audiences", json!([])),
            "identity.jwt[0].audiences: has 0 entries; give 1 to 32",
        ),
        (
            jwt("jwks/path", "jwks".into()),
            "identity.jwt[0].jwks.path: \"jwks\" is no path",
        ),
        (
            jwt("jwks/cluster", "a b".into()),
            "identity.jwt[0].jwks.cluster: \"a b\" cannot stand",
        ),
        (
            jwt("jwks/refresh", "9s".into()),
            "identity.jwt[0].jwks.refresh: \"9s\" is out of range",
        ),
        (
            jwt("jwks/timeout", "31s".into()),
            "identity.jwt[0].jwks.timeout: \"31s\" is out of range",
        ),
        (
            introspection("client_secret", 271_828.into()),
            "identity.introspection.client_secret: is no text",
        ),
        (
            introspection("client_secret", "".into()),
            "identity.introspection.client_secret: is empty",
        ),
        (
            introspection("client_id", "".into()),
            "identity.introspection.client_id: is empty",
        ),
        (
            introspection("cache", "2h".into()),
            "identity.introspection.cache: \"2h\" is out of range",
        ),
    ] {
        let error = Config::from_json(config.to_string().as_bytes()).expect_err(problem);
        let error = error.to_string();
        assert!(error.starts_with(problem), "{error}");
        assert!(
            !error.contains("271828") && !error.contains("s3:cret"),
            "{error}"
        );
    }
    let config = Config::from_json(self::introspection().to_string().as_bytes()).expect("valid");
    assert!(!format!("{config:?}").contains("anVuaGVuZzpzMyUzQWNyZXQ"));
}
