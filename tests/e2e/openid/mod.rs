//! A real OpenID provider, whose tokens and keys Envoy's requests are checked with.

mod npm;

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use crate::world::{Spoken, World, cluster, eventually};

struct Provider {
    address: SocketAddr,
    _process: Child,
}

impl Provider {
    async fn start() -> Provider {
        let folder = npm::folder(&[
            ("package.json", include_str!("package.json")),
            ("package-lock.json", include_str!("package-lock.json")),
            ("provider.mjs", include_str!("provider.mjs")),
        ]);
        let mut node = Command::new("node");
        node.arg(folder.join("provider.mjs"))
            .env("PATH", npm::path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let mut process = node.spawn().expect("node starts");
        let output = process.stdout.take().expect("a pipe");
        let line = BufReader::new(output).lines().next_line().await;
        let line = line.expect("UTF-8").expect("the provider prints its port");
        Provider {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, line.parse().expect("a port"))),
            _process: process,
        }
    }

    async fn asked(&self, path: &str) -> Value {
        let mut stream = TcpStream::connect(self.address)
            .await
            .expect("the provider");
        let request = format!("GET {path} HTTP/1.0\r\nhost: {}\r\n\r\n", self.address);
        stream
            .write_all(request.as_bytes())
            .await
            .expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("UTF-8");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
    }

    async fn world(&self) -> World {
        let authority = self.address.to_string();
        let identity = json!({
            "jwt": [{
                "issuer": format!("http://{authority}"), "audiences": ["api"], "tenant_claim": "client_id",
                "jwks": {"cluster": "issuer", "authority": authority, "path": "/jwks"},
            }],
            "introspection": {
                "cluster": "issuer", "authority": authority, "path": "/token/introspection",
                "client_id": "junheng", "client_secret": "junheng-secret",
            },
        });
        let issuer = cluster("issuer", self.address, Spoken::Http1);
        World::beside(issuer, |config| {
            config["identity"] = identity;
            config["decision_header"] = json!({"callers": "tenants", "tenants": ["acme"]});
        })
        .await
    }
}

/// The status of a chat request with this token, and whether it was taken for the tenant `acme`'s.
async fn call(world: &World, token: &str) -> (u16, bool) {
    let body =
        r#"{"model":"qwen2.5-7b","max_tokens":2,"messages":[{"role":"user","content":"Hello"}]}"#;
    let request = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: models\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let answer = world.raw(request.as_bytes()).await;
    let status = answer.get(9..12).and_then(|status| status.parse().ok());
    (
        status.unwrap_or_else(|| panic!("no status: {answer}")),
        answer.contains("x-junheng-decision"),
    )
}

const PASSES: (u16, bool) = (200, true);
const FAILS: (u16, bool) = (401, false);

#[tokio::test(flavor = "multi_thread")]
async fn a_providers_tokens_pass_and_what_is_made_up_does_not() {
    let provider = Provider::start().await;
    let tokens = provider.asked("/test/tokens").await;
    let world = provider.world().await;
    let token = |name: &str| tokens[name].as_str().expect("a token").to_owned();

    for name in ["RS256", "ES256", "EdDSA", "opaque"] {
        for _ in 0..4 {
            assert_eq!(
                call(&world, &token(name)).await,
                PASSES,
                "{name}\n{}",
                world.envoy.log()
            );
        }
    }
    for name in [
        "expired", "audience", "unsigned", "confused", "foreign", "unknown",
    ] {
        assert_eq!(call(&world, &token(name)).await, FAILS, "{name}");
    }
    assert_eq!(call(&world, "made-up").await, FAILS);
    assert_eq!(provider.asked("/test/fetches").await, 1);
    let log = world.envoy.log();
    for name in ["RS256", "opaque"] {
        assert!(!log.contains(&token(name)), "{name} is in the log");
    }
    assert!(!log.contains("junheng-secret"));
}

/// The first token under the new key fetches the set again, ten seconds after it was fetched last.
#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_key_is_learned_from_the_provider_and_the_old_one_forgotten() {
    let provider = Provider::start().await;
    let world = provider.world().await;
    let old = provider.asked("/test/tokens").await;
    let old = old["ES256"].as_str().expect("a token");
    assert_eq!(call(&world, old).await, PASSES);
    assert_eq!(provider.asked("/test/rotate").await, 2);
    let new = provider.asked("/test/tokens").await;
    let new = new["ES256"].as_str().expect("a token");
    eventually(
        "taken under the new key",
        async || call(&world, new).await,
        |outcome| *outcome == PASSES,
    )
    .await;
    eventually(
        "refused under the old key",
        async || call(&world, old).await,
        |outcome| *outcome == FAILS,
    )
    .await;
    assert_eq!(provider.asked("/test/fetches").await, 2);
}
