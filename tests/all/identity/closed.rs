//! Nothing that callers show is told to anybody, and nothing that fails lets a stranger in.

use harness::host::{Faults, Headers, Host, Level, Options, StreamInfo, Verdict};
use junheng::config::Config;
use junheng::values::base64;
use serde_json::json;

use super::{SOURCE, config, keys, outcome, sha256};
use crate::bearer::signer::base64url;
use crate::scenario::{Proxy, Step, Wasm, module, post};

/// A key, a signature, a secret, a prompt and an address, in requests that pass and in such that are refused.
#[test]
fn nothing_that_callers_show_is_in_a_log_a_metric_or_an_answer() {
    let secret = "canary-secret-0123456789abcdef01";
    let signing = json!({"keys": [{"id": "k", "tenant": "acme", "secret": secret}]});
    let mut keys = keys();
    keys["tenants"][0]["sha256"] = json!([sha256("canary-key")]);
    let identity = json!({
        "keys": keys,
        "signatures": signing,
        "addresses": {"deny": ["192.0.2.66"]}
    });
    let mut document = config(identity);
    document["decision_header"] = json!({"callers": "all"});
    let options = Options {
        log_level: Level::Trace,
        ..Options::default()
    };
    let mut proxy = Wasm::with(options, &document, 1);
    proxy.set_property(&SOURCE, b"192.0.2.7:40000");
    let mut answers = String::new();
    let input =
        "s=(\"@method\" \"@path\" \"@query\");created=1099;nonce=\"canary-nonce\";keyid=\"k\"";
    for credential in [
        &[("x-api-key", "canary-key")][..],
        &[("authorization", "Bearer canary-key")],
        &[("authorization", "Bearer canary-wrong")],
        &[
            ("x-api-key", "canary-key"),
            ("authorization", "Bearer canary-wrong"),
        ],
        &[
            ("signature-input", input),
            ("signature", "s=:Y2FuYXJ5LXNpZ25hdHVyZQ==:"),
        ],
        &[("signature-input", "canary"), ("signature", "canary")],
        &[("x-other", "canary")],
    ] {
        for body in [
            r#"{"model":"canary-model","messages":[{"role":"user","content":"canary-prompt"}]}"#,
            r#"{"model":"m","messages":"canary-prompt""#,
        ] {
            let mut headers = post("/v1/chat/completions");
            headers.extend(credential);
            let (stream, step) = proxy.open(0, &headers, false);
            let step = match step {
                Step::Held => proxy.body(stream, body.as_bytes(), true),
                decided => decided,
            };
            match step {
                Step::Refused(refused) => answers += &format!("{refused:?}"),
                _ => answers += &format!("{:?}", proxy.respond(stream, 200, 1)),
            }
        }
    }
    proxy.set_property(&SOURCE, b"192.0.2.66:40000");
    answers += &outcome(&mut proxy, &[("x-api-key", "canary-key")]);
    proxy.tick(0);
    let told = proxy.told();
    assert!(answers.contains("invalid_api_key") && answers.contains("invalid_signature"));
    assert!(
        answers.contains("pool=\\\"acme\\\"") && answers.contains("address_not_allowed"),
        "{answers}"
    );
    assert!(told.contains("configured with") && told.contains("junheng.refused.invalid_api_key"));
    for canary in ["canary", "Y2FuYXJ5", "192.0.2.", &sha256("canary-key")] {
        assert!(!told.contains(canary), "{canary} in {told}");
        assert!(!answers.contains(canary), "{canary} in {answers}");
    }
}

/// Tokens, the secrets by which issuers and engines are asked, and what they answer.
#[test]
fn nothing_of_bearer_tokens_and_engines_is_in_a_log_a_metric_or_an_answer() {
    let issuer = json!({"cluster": "issuer", "authority": "i", "path": "/jwks"});
    let identity = json!({
        "jwt": [{"issuer": "https://i", "audiences": ["api"], "jwks": issuer}],
        "introspection": {
            "cluster": "issuer", "authority": "i", "path": "/introspect",
            "client_id": "canary-client", "client_secret": "canary-secret",
        },
    });
    let mut document = config(identity);
    let requests = json!({"limit": 9, "per": "1h", "lease": 0});
    document["quotas"] =
        json!([{"name": "all", "scope": "fleet", "key": ["tenant"], "requests": requests}]);
    document["quota_engine"] =
        json!({"webdis": {"cluster": "engine", "basic_auth": "canary-user:canary-password"}});
    let options = Options {
        log_level: Level::Trace,
        ..Options::default()
    };
    let mut proxy = Wasm::with(options, &document, 1);
    let header = base64url(br#"{"alg":"ES256","kid":"canary-kid"}"#);
    let claims =
        base64url(br#"{"iss":"https://i","aud":"api","exp":99999999999,"sub":"canary-subject"}"#);
    let jwt = format!("{header}.{claims}.{}", base64url(&[7; 64]));
    let mut asked = 0;
    for (token, said) in [
        (
            "canary-token",
            r#"{"active": true, "client_id": "canary-tenant"}"#,
        ),
        ("canary-other", r#"{"active": false, "canary": 1}"#),
        ("canary-third", "canary"),
        (&jwt, r#"{"keys": [{"kid": "canary"}]}"#),
    ] {
        let authorization = format!("Bearer {token}");
        let mut headers = post("/v1/chat/completions");
        headers.push(("authorization", &authorization));
        let (stream, step) = proxy.open(0, &headers, false);
        assert_eq!(step, Step::Held);
        proxy.body(stream, br#"{"model":"canary-model","messages":[]}"#, true);
        // The issuer's answer, then, where it told the tenant, the engine's.
        for _ in 0..2 {
            for question in proxy.errands(0) {
                asked += 1;
                let body = if question.cluster == "engine" {
                    "canary"
                } else {
                    said
                };
                proxy.reply(0, &question, 200, body.as_bytes());
            }
        }
        let step = proxy.later(stream).expect("an end");
        if let Step::Refused(refused) = &step {
            assert!(!format!("{refused:?}").contains("canary"), "{refused:?}");
        }
        proxy.close(stream);
    }
    proxy.tick(0);
    assert!(asked >= 5, "{asked} questions");
    let told = proxy.told();
    assert!(told.contains("junheng.quota_engine.failed") && told.contains("configured with"));
    let basic = ["canary-client:canary-secret", "canary-user:canary-password"];
    let hidden = basic.map(|text| base64::encode(text.as_bytes()));
    for canary in ["canary", &claims, &header, &hidden[0], &hidden[1]] {
        assert!(!told.contains(canary), "{canary} in {told}");
    }
}

/// Whatever the proxy refuses to tell or to do, who shows nothing that holds does not get through.
#[test]
fn no_hostcall_that_fails_lets_a_stranger_in() {
    let mut signing = json!({"keys": [{"id": "k", "tenant": "acme", "secret": "f".repeat(32)}]});
    signing["nonces"] = json!(1024);
    let identity =
        json!({"keys": keys(), "signatures": signing, "addresses": {"deny": ["192.0.2.66"]}});
    let plugin_configuration = config(identity).to_string().into_bytes();
    let input = "s=(\"@method\" \"@path\" \"@query\");created=0;nonce=\"n\";keyid=\"k\"";
    for seed in 0..2_000u64 {
        let rate = [0.02, 0.1, 0.3, 0.8][seed as usize % 4];
        let options = Options {
            plugin_configuration: plugin_configuration.clone(),
            faults: Faults::random(seed, rate),
            seed,
            ..Options::default()
        };
        let Ok(mut vm) = Host::new(&module(), options).start_vm() else {
            continue;
        };
        for (credential, address) in [
            (&[][..], "192.0.2.1:1"),
            (&[("x-api-key", "wrong")], "192.0.2.1:1"),
            (
                &[("signature-input", input), ("signature", "s=:AQI=:")],
                "192.0.2.1:1",
            ),
            (&[("x-api-key", "acme-1")], "192.0.2.66:1"),
            (&[("x-api-key", "acme-1")], ""),
        ] {
            let downstream_address = address.to_owned();
            let stream = vm.open_stream(StreamInfo {
                downstream_address,
                ..StreamInfo::default()
            });
            let mut headers = post("/v1/chat/completions");
            headers.extend(credential);
            let verdict = vm.request_headers(stream, Headers::from_iter(headers), true);
            let verdict = verdict.unwrap_or_else(|trap| panic!("seed {seed}: {trap}"));
            assert_ne!(
                verdict,
                Verdict::Continue,
                "seed {seed}: {credential:?} from {address:?}"
            );
            vm.close(stream).expect("no trap");
        }
    }
}

/// In no words in which a configuration is refused, either.
#[test]
fn no_mistake_in_a_configuration_tells_a_secret() {
    for identity in [
        json!({"keys": {"tenants": [{"tenant": "a", "sha256": ["canary-key"]}]}}),
        json!({"signatures": {"keys": [{"id": "a", "tenant": "a", "secret": "canary"}]}}),
        json!({"signatures": {"keys": [{"id": "a", "tenant": "a", "secret": ["canary"]}]}}),
        json!({"signatures": {"keys": [{"id": "a", "tenant": "a", "secret": {"canary-x": 1}}]}}),
    ] {
        let refused = Config::from_json(config(identity).to_string().as_bytes());
        let refused = refused.expect_err("a mistake").to_string();
        assert!(
            refused.starts_with("identity.") && !refused.contains("canary"),
            "{refused}"
        );
    }
    let good = json!({"signatures": {"keys": [{"id": "a", "tenant": "a", "secret": "canary-canary-canary-canary-cana"}]}});
    let config =
        Config::from_json(config(good).to_string().as_bytes()).expect("a valid configuration");
    assert!(!format!("{config:?}").contains("canary"));
}
