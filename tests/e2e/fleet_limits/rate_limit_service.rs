//! A rate limit service that speaks `envoy.service.ratelimit.v3`.
//!
//! No registry has a ready one. Limitador's library is on crates.io, without its server: 47 more crates to compile, among
//! them a parser generator's runtime, and an adapter to write all the same. So gRPC's own Python server, the messages
//! that the authors of gRPC generate from Envoy's files, and a limiter that counts as Envoy's reference service does.

use std::process::Command;

use harness::envoy::{Bootstrap, Envoy, EnvoyOptions, python};
use harness::fleet::{Answer, Caller, EndpointSpec, Fleet, Speed, json_request};
use serde_json::{Value, json};

use super::server::{Program, Server};
use crate::world::{Spoken, cluster, eventually};

const REQUIREMENTS: &str = "\
grpcio==1.85.1
limits==5.8.0
protobuf==7.36.2
xds-protos==1.85.0
";
const SCRIPT: &str = include_str!("rate_limit_service.py");

/// A rate limit service that counts in memory: killed and started again, it has forgotten all.
pub struct RateLimitService {
    pub server: Server,
}

impl RateLimitService {
    /// `rules` is an array of `{"domain", "keys": […], "limit", "unit"}`; the unit is one of Envoy's, such as `"day"`. A
    /// descriptor whose keys are those of no rule is not limited.
    ///
    /// Its answers have all that the reference's have: a status for each descriptor, with the limit, what is left of it,
    /// and the time until it is whole again. A request without domain or descriptors is refused with the gRPC status 2.
    pub async fn start(rules: &Value) -> RateLimitService {
        let bin = python::environment("gRPC 1.85.1", REQUIREMENTS);
        let python = bin.unwrap_or_else(|error| panic!("{error}")).join("python");
        let rules = rules.to_string();
        let program = Program {
            name: "rate_limit_service",
            command: Box::new(move |port, _| {
                let mut service = Command::new(&python);
                service.args(["-c", SCRIPT, &port.to_string(), &rules]);
                service
            }),
            ready: "serving",
        };
        RateLimitService {
            server: Server::start(program).await,
        }
    }
}

/// Envoy's own filter is the client: what it takes for the protocol, the service speaks.
#[tokio::test(flavor = "multi_thread")]
async fn the_rate_limit_service_refuses_what_is_above_its_limit() {
    let rules = json!([{"domain": "chat", "keys": ["tenant"], "limit": 2, "unit": "day"}]);
    let mut service = RateLimitService::start(&rules).await;
    let fleet = Fleet::start(&[EndpointSpec::new("model", Speed::INSTANT)]).expect("a fleet");
    let clusters = json!([
        cluster("models", fleet.endpoints()[0].address(), Spoken::Http1),
        cluster("limits", service.server.address(), Spoken::Http2),
    ]);
    let envoy = limited_by_envoy(clusters).await;
    let caller = Caller::new(envoy.listener_address());
    let asked = async |tenant: &str| {
        let mut request = json_request("/v1/completions", r#"{"model": "m", "prompt": "x"}"#);
        let tenant = tenant.parse().expect("a header's value");
        request.headers_mut().insert("x-tenant", tenant);
        caller.send(request).await.expect("an answer")
    };
    let status = async || asked("acme").await.status.as_u16();

    let left = |answer: &Answer| answer.header("x-ratelimit-remaining").map(str::to_owned);
    for expected in ["1", "0"] {
        let answer = asked("acme").await;
        assert_eq!(answer.status, 200, "{}", envoy.log());
        assert_eq!(left(&answer).as_deref(), Some(expected));
    }
    let refused = asked("acme").await;
    assert_eq!(refused.status, 429);
    let limit = refused.header("x-ratelimit-limit");
    assert_eq!(limit, Some("2, 2;w=86400;name=\"tenant\""));
    assert_eq!(asked("globex").await.status, 200);

    service.server.hold();
    assert_eq!(status().await, 500);
    service.server.go_on();
    eventually("refused again", status, |status| *status == 429).await;
    service.server.kill();
    eventually("an error", status, |status| *status == 500).await;
    service.server.restart().await;
    eventually("forgotten", status, |status| *status == 200).await;
}

/// An Envoy that asks the cluster `limits` about each request by its tenant, and passes it on to `models`. Where it has no
/// answer, its own is a 500.
async fn limited_by_envoy(clusters: Value) -> Envoy {
    let kind = |name: &str| format!("type.googleapis.com/envoy.extensions.filters.{name}");
    let limits = json!({
        "@type": kind("http.ratelimit.v3.RateLimit"), "domain": "chat", "failure_mode_deny": true, "timeout": "1s",
        "enable_x_ratelimit_headers": "DRAFT_VERSION_03",
        "rate_limit_service": {"transport_api_version": "V3", "grpc_service": {"envoy_grpc": {"cluster_name": "limits"}}},
    });
    let tenant =
        json!({"request_headers": {"header_name": "x-tenant", "descriptor_key": "tenant"}});
    let route = json!({
        "match": {"prefix": "/"}, "route": {"cluster": "models", "rate_limits": [{"actions": [tenant]}]},
    });
    let manager = json!({
        "@type": kind("network.http_connection_manager.v3.HttpConnectionManager"), "stat_prefix": "limited",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [
            {"name": "limits", "typed_config": limits},
            {"name": "router", "typed_config": {"@type": kind("http.router.v3.Router")}},
        ],
    });
    let anywhere = json!({"socket_address": {"address": "127.0.0.1", "port_value": 0}});
    let listener = json!({
        "address": anywhere, "filter_chains": [{"filters": [{"name": "manager", "typed_config": manager}]}],
    });
    let document = json!({
        "admin": {"address": anywhere},
        "static_resources": {"listeners": [listener], "clusters": clusters},
    });
    let bootstrap = Bootstrap::parse(&document.to_string()).expect("a bootstrap");
    let envoy = Envoy::start(EnvoyOptions::new(bootstrap)).await;
    envoy.unwrap_or_else(|error| panic!("{error}"))
}
