//! Who may call, as a real Envoy tells it: from where a request comes, what its own filters have verified, and
//! requests that the shipped programs have signed.

use std::path::Path;

use harness::fleet::{Endpoint, EndpointSpec, Fleet, Speed};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::world::{NAMES, World, envoy, moves};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// The same in base64url, as a key set has it.
const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY";
/// Signed with it, `{"iss": "https://issuer.test", "org": "acme"}`; and with the number 7 for the text.
const TOKEN: &str = "eyJhbGciOiJIUzI1NiIsImtpZCI6ImsifQ.eyJpc3MiOiJodHRwczovL2lzc3Vlci50ZXN0Iiwib3JnIjoiYWNtZSJ9.SxnIq76_-MztLkxh0-VC1FrNcdER2K6hJTlZHHX4VJA";
const NUMBER: &str = "eyJhbGciOiJIUzI1NiIsImtpZCI6ImsifQ.eyJpc3MiOiJodHRwczovL2lzc3Vlci50ZXN0Iiwib3JnIjo3fQ.EwZ-b1abrtbFnCy0aobmiWU8Ow95iCNzaBFJtZEnlaY";

/// The shipped bootstrap with `identity`, and a connection manager that `change` has changed. Where tenants can be told
/// acme's requests go to the pool `small`, all others to `long`.
async fn world(identity: Value, change: impl FnOnce(&mut Value)) -> World {
    let specs = NAMES.map(|name| EndpointSpec::new(name, Speed::INSTANT));
    let fleet = Fleet::start(&specs).expect("a fleet");
    let addresses: Vec<_> = fleet.endpoints().iter().map(Endpoint::address).collect();
    let envoy = envoy(|bootstrap| {
        let plugin = bootstrap.plugin_configuration().expect("a configuration");
        let mut document: Value = serde_json::from_str(&plugin).expect("JSON");
        document["routes"] = match identity.get("addresses") {
            Some(_) => json!([{"pools": ["small"]}]),
            None => {
                json!([{"match": {"tenants": ["acme"]}, "pools": ["small"]}, {"pools": ["long"]}])
            }
        };
        document["identity"] = identity;
        bootstrap.set_plugin_configuration(&document.to_string());
        bootstrap.move_endpoints(&moves(&addresses));
        let listener = &mut bootstrap.document_mut()["static_resources"]["listeners"][0];
        change(&mut listener["filter_chains"][0]["filters"][0]["typed_config"]);
    })
    .await;
    World { envoy, fleet }
}

/// The status of a GET with these headers, and the pool that it went to.
async fn get(world: &World, headers: &str) -> String {
    let request =
        format!("GET /v1/models HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{headers}\r\n");
    let answer = world.raw(request.as_bytes()).await;
    match answer.split_once("pool=\"") {
        Some((_, pool)) => pool.split('"').next().expect("a name").to_owned(),
        None => answer.split(' ').nth(1).expect("a status").to_owned(),
    }
}

/// Whether Envoy counts the hops or Junheng does, the same address is the client's. Envoy's peer is 127.0.0.1 here.
#[tokio::test(flavor = "multi_thread")]
async fn trusted_hops_are_counted_as_envoy_counts_them() {
    let forwarded = "x-forwarded-for: 203.0.113.9, 203.0.113.1\r\n";
    for (hops, client, other) in [
        (0, "127.0.0.1", "203.0.113.1"),
        (1, "203.0.113.1", "203.0.113.9"),
        (2, "203.0.113.9", "203.0.113.1"),
        (3, "127.0.0.1", "203.0.113.9"),
    ] {
        for by_envoy in [true, false] {
            let lists = json!({"allow": [client]});
            let identity = match by_envoy {
                true => json!({"addresses": lists}),
                false => json!({"addresses": lists, "trusted_hops": hops}),
            };
            let world = world(identity, |manager| {
                if by_envoy {
                    manager["xff_num_trusted_hops"] = json!(hops);
                }
            })
            .await;
            assert_eq!(
                get(&world, forwarded).await,
                "small",
                "{hops} hops, by Envoy: {by_envoy}"
            );
            if hops > 0 {
                let forged = format!("x-forwarded-for: {client}, {other}, {other}, {other}\r\n");
                assert_eq!(
                    get(&world, &forged).await,
                    "403",
                    "{hops} hops, by Envoy: {by_envoy}"
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_claim_of_a_token_that_envoy_has_verified_is_the_tenant() {
    let identity =
        json!({"jwt_authn": {"payload": "payload", "claim": "org"}, "anonymous": "allow"});
    let world = world(identity, |manager| {
        let keys = json!({"keys": [{"kty": "oct", "alg": "HS256", "kid": "k", "k": KEY}]});
        let filter = json!({
            "name": "envoy.filters.http.jwt_authn",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
                "providers": {"issuer": {
                    "issuer": "https://issuer.test",
                    "payload_in_metadata": "payload",
                    "local_jwks": {"inline_string": keys.to_string()}
                }},
                "rules": [{"match": {"prefix": "/"}, "requires": {
                    "requires_any": {"requirements": [{"provider_name": "issuer"}, {"allow_missing": {}}]}
                }}]
            }
        });
        manager["http_filters"].as_array_mut().expect("filters").insert(0, filter);
    })
    .await;
    let bearer = |token: &str| format!("authorization: Bearer {token}\r\n");
    assert_eq!(get(&world, &bearer(TOKEN)).await, "small");
    assert_eq!(get(&world, "").await, "long");
    // A number is no name: Envoy tells it as eight bytes.
    assert_eq!(get(&world, &bearer(NUMBER)).await, "long");
    // Another tenant under acme's signature: Envoy's filter refuses it before it comes here.
    let altered = TOKEN.replace("YWNtZSJ9", "YWNtYSJ9");
    assert_ne!(altered, TOKEN);
    assert_eq!(get(&world, &bearer(&altered)).await, "401");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_shipped_programs_sign_passes_once() {
    let keys = json!([{"id": "acme-1", "tenant": "acme", "secret": SECRET}]);
    let world = world(json!({"signatures": {"keys": keys}}), |_| ()).await;
    let url = format!(
        "http://{}/v1/chat/completions?api-version=1",
        world.envoy.listener_address()
    );
    let body = r#"{"model":"qwen2.5-7b","messages":[{"role":"user","content":"hi"}]}"#;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("envoy");
    for signer in ["sign.py", "sign.sh"] {
        let sign = || {
            let mut command = Command::new(folder.join(signer));
            command
                .env("JUNHENG_SECRET", SECRET)
                .args(["acme-1", "POST", &url, body]);
            command
        };
        let sent = sign().output().await.expect("the program");
        let answer = String::from_utf8_lossy(&sent.stdout).into_owned();
        let told = String::from_utf8_lossy(&sent.stderr).into_owned();
        assert!(
            sent.status.success() && answer.contains("\"choices\""),
            "{signer}: {answer}{told}"
        );
        let guessed = sign().env("JUNHENG_SECRET", "f".repeat(32)).output().await;
        let guessed = guessed.expect("the program");
        let told = [guessed.stdout, guessed.stderr].concat();
        let told = String::from_utf8_lossy(&told).into_owned();
        assert!(
            !guessed.status.success() && told.contains("invalid_signature"),
            "{signer}: {told}"
        );
    }
    // A body is sent as it stands, be it one that curl would take for a file's name, and a URL may lack its path.
    let bare = format!("http://{}?x=1", world.envoy.listener_address());
    for signer in ["sign.py", "sign.sh"] {
        let told = async |args: &[&str]| {
            let mut command = Command::new(folder.join(signer));
            command.env("JUNHENG_SECRET", SECRET).args(args);
            let sent = command.output().await.expect("the program");
            let told = [sent.stdout, sent.stderr].concat();
            String::from_utf8_lossy(&told).into_owned()
        };
        let refused = told(&["acme-1", "POST", &url, "@/etc/hostname\n"]).await;
        assert!(refused.contains("invalid_json"), "{signer}: {refused}");
        let from_the_endpoint = told(&["acme-1", "GET", &bare]).await;
        assert!(
            from_the_endpoint.contains("there is /v1/"),
            "{signer}: {from_the_endpoint}"
        );
    }
    let before = world.forwarded();
    let printed = Command::new(folder.join("sign.py"))
        .env("JUNHENG_SECRET", SECRET)
        .args(["--print", "acme-1", "POST", &url, body])
        .output()
        .await
        .expect("the program");
    let signed = String::from_utf8(printed.stdout)
        .expect("UTF-8")
        .replace('\n', "\r\n");
    let request = |body: &str| {
        let head =
            "POST /v1/chat/completions?api-version=1 HTTP/1.1\r\nhost: test\r\nconnection: close";
        format!(
            "{head}\r\ncontent-length: {}\r\n{signed}\r\n{body}",
            body.len()
        )
    };
    let first = world.raw(request(body).as_bytes()).await;
    assert!(
        first.starts_with("HTTP/1.1 200") && first.contains("pool=\"small\""),
        "{first}"
    );
    for body in [body, &body.replace("hi", "ho")] {
        let again = world.raw(request(body).as_bytes()).await;
        assert!(
            again.starts_with("HTTP/1.1 401") && again.contains("signature_replayed"),
            "{again}"
        );
        assert!(
            again.contains("www-authenticate: Signature realm=\"junheng\""),
            "{again}"
        );
    }
    assert_eq!(world.forwarded(), before + 1);
    assert!(!world.envoy.log().contains(SECRET));
}
