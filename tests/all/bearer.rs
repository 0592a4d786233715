//! Bearer tokens: whose pass and as whom, when keys are fetched and issuers asked, and that nothing passes
//! unproven while they do not answer.

mod keys;
mod opaque;
pub mod signer;

use std::time::Duration;

use junheng::config::Config;
use serde_json::{Value, json};

use self::signer::{Key, confused, unsigned};
use crate::on_both;
use crate::scenario::{Asked, On, Proxy, Refused, Step, StreamId, pass, post, proxy};

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
