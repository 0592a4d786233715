//! The Envoys that are compared: the shipped bootstrap, with one filter exchanged.
//!
//! Where nobody names a cluster or an endpoint, everything is routed to the cluster that Junheng picks for
//! this body, by round robin. Listener, limits, codec and upstream
//! options are the same in all. Plain Envoy and the idle module pass the body on as it arrives; the
//! others have Envoy hold it until it is complete, which is part of what they cost. What the way costs that
//! placing a request takes, whoever decides, is shown by a module that does nothing else.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::SHIPPED_ENDPOINTS;
use super::load::API_KEY;
use crate::artifact;
use crate::envoy::Bootstrap;

/// What stands where Junheng stands in the shipped bootstrap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Variant {
    /// No filter.
    Plain,
    /// A module whose callbacks all return at once.
    Noop,
    /// A Lua filter that asks for the length of the body.
    Lua,
    /// A module that holds the body and names cluster and endpoints as Junheng does, and reads nothing.
    Route,
    /// The artifact.
    Junheng,
    /// The artifact, where the request's API key tells the tenant and two limits count the request.
    Limits,
}

/// Bodies above this go to the pool of long prompts: 8192 tokens of English prose are about 40 KB.
const SHORT_BYTES: usize = 40_000;

const HTTP_FILTERS: &str =
    "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters";
const ROUTE: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/route_config/virtual_hosts/0/routes/0/route";
const PROTOCOL: &str = "typed_extension_protocol_options";
const BALANCING: &str = "load_balancing_policy";
const FALLBACK: &str = "/policies/0/typed_extension_config/typed_config/fallback_policy";

impl Variant {
    /// All of them, in the order of tables.
    pub const ALL: [Self; 6] = [
        Self::Plain,
        Self::Noop,
        Self::Lua,
        Self::Route,
        Self::Junheng,
        Self::Limits,
    ];

    /// As users see it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Noop => "noop",
            Self::Lua => "lua",
            Self::Route => "route",
            Self::Junheng => "junheng",
            Self::Limits => "limits",
        }
    }

    /// The shipped bootstrap with this variant's filter, its endpoints served by `backends`.
    pub fn bootstrap(self, body_bytes: usize, backends: &[SocketAddr]) -> Result<Bootstrap> {
        let mut bootstrap = Bootstrap::shipped()?;
        bootstrap.listen_on(SocketAddr::from(([127, 0, 0, 1], 0)));
        bootstrap.move_endpoints(&moves(backends));
        match self {
            Self::Plain | Self::Lua => {}
            Self::Noop => bootstrap.set_module(&artifact::build_guest("noop")?),
            Self::Route => {
                bootstrap.set_module(&artifact::build_guest("route")?);
                bootstrap.set_plugin_configuration(&placement(body_bytes, backends));
            }
            Self::Junheng => {
                bootstrap.set_module(&artifact::build()?);
                configure(&mut bootstrap, leave_decisions_out)?;
            }
            Self::Limits => {
                bootstrap.set_module(&artifact::build()?);
                configure(&mut bootstrap, |fields| {
                    leave_decisions_out(fields);
                    limit(fields);
                })?;
            }
        }
        let document = bootstrap.document_mut();
        same_protocol_everywhere(document)?;
        if !matches!(self, Self::Route | Self::Junheng | Self::Limits) {
            route_to(document, pool(body_bytes))?;
        }
        match self {
            Self::Plain => replace_filter(document, None)?,
            Self::Lua => replace_filter(document, Some(lua()))?,
            Self::Noop | Self::Route | Self::Junheng | Self::Limits => {}
        }
        Ok(bootstrap)
    }
}

/// The pool that Junheng picks for a body of this size.
fn pool(body_bytes: usize) -> &'static str {
    if body_bytes <= SHORT_BYTES {
        "small"
    } else {
        "long"
    }
}

/// That pool's cluster and endpoints: the first half of the shipped ones is the small pool's, the second the other's.
fn placement(body_bytes: usize, backends: &[SocketAddr]) -> String {
    let (small, long) = backends.split_at(backends.len() / 2);
    let endpoints = if pool(body_bytes) == "small" {
        small
    } else {
        long
    };
    let list: Vec<String> = endpoints.iter().map(SocketAddr::to_string).collect();
    format!("{} {}", pool(body_bytes), list.join(","))
}

/// Changes the plugin configuration.
pub(crate) fn configure(
    bootstrap: &mut Bootstrap,
    change: impl Fn(&mut Map<String, Value>),
) -> Result<()> {
    let mut configuration: Value = serde_json::from_str(&bootstrap.plugin_configuration()?)
        .context("the shipped plugin configuration is no JSON")?;
    configuration.as_object_mut().map(change);
    bootstrap.set_plugin_configuration(&configuration.to_string());
    Ok(())
}

/// The shipped bootstrap shows decisions to everybody; left alone, Junheng shows them to nobody, and that
/// is the path whose cost is asked for.
fn leave_decisions_out(configuration: &mut Map<String, Value>) {
    configuration.remove("decision_header");
}

/// An API key, and two limits that count every request of the measurement and refuse none: so large that they
/// are never used up, and so slow that what was taken from them has not come back at the next request, as it
/// is where limits matter. Each has a bucket for as many callers as one that says nothing of it.
pub(super) fn limit(configuration: &mut Map<String, Value>) {
    let digest: String = Sha256::digest(API_KEY)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let much = |limit: u32| json!({"limit": limit, "per": "24h"});
    configuration.insert(
        "identity".into(),
        json!({"keys": {"tenants": [{"tenant": "acme", "sha256": [digest]}]}}),
    );
    configuration.insert(
        "quotas".into(),
        json!([
            {"name": "tenant", "key": ["tenant"], "requests": much(100_000_000), "tokens": much(4_000_000_000)},
            {"name": "model", "key": ["model"], "requests": much(100_000_000)},
        ]),
    );
}

fn moves(backends: &[SocketAddr]) -> BTreeMap<String, String> {
    let shipped = SHIPPED_ENDPOINTS.map(|port| format!("127.0.0.1:{port}"));
    shipped
        .zip(backends.iter().map(SocketAddr::to_string))
        .collect()
}

/// The pools may speak different protocols; a measurement compares filters, not those.
fn same_protocol_everywhere(document: &mut Value) -> Result<()> {
    let clusters = clusters(document)?;
    let first = clusters
        .first()
        .and_then(|cluster| cluster.get(PROTOCOL))
        .cloned();
    let first = first.context("the first cluster has no protocol options")?;
    clusters
        .iter_mut()
        .for_each(|cluster| cluster[PROTOCOL] = first.clone());
    Ok(())
}

pub(crate) fn route_to(document: &mut Value, cluster: &str) -> Result<()> {
    let route = document
        .pointer_mut(ROUTE)
        .and_then(Value::as_object_mut)
        .context("no route")?;
    route.remove("cluster_header");
    route.insert("cluster".into(), json!(cluster));
    for cluster in clusters(document)? {
        let balancing = cluster
            .get(BALANCING)
            .and_then(|policy| policy.pointer(FALLBACK))
            .cloned();
        cluster[BALANCING] = balancing.context("a cluster has no fallback policy")?;
    }
    Ok(())
}

fn clusters(document: &mut Value) -> Result<&mut Vec<Value>> {
    document
        .pointer_mut("/static_resources/clusters")
        .and_then(Value::as_array_mut)
        .context("no clusters")
}

/// Junheng's is the first of the filters.
pub(crate) fn replace_filter(document: &mut Value, by: Option<Value>) -> Result<()> {
    let filters = document
        .pointer_mut(HTTP_FILTERS)
        .and_then(Value::as_array_mut)
        .context("no http filters")?;
    filters.splice(..1, by);
    Ok(())
}

fn lua() -> Value {
    let script =
        "function envoy_on_request(request)\n  local length = request:body():length()\nend\n";
    json!({
        "name": "lua",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
            "default_source_code": {"inline_string": script},
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_and_lua_differ_in_nothing_but_the_filter() {
        let backends: Vec<_> = (1..=6)
            .map(|port| SocketAddr::from(([127, 0, 0, 1], port)))
            .collect();
        let mut plain = Variant::Plain.bootstrap(1024, &backends).unwrap();
        let mut lua = Variant::Lua.bootstrap(1024, &backends).unwrap();
        assert_ne!(plain, lua);
        replace_filter(lua.document_mut(), None).unwrap();
        assert_eq!(plain, lua);
        let route = plain.document_mut().pointer(ROUTE).unwrap();
        assert_eq!(
            (route.get("cluster").unwrap(), route.get("cluster_header")),
            (&json!("small"), None)
        );
        assert!(!plain.to_json().contains("override_host"));
    }

    #[test]
    fn limits_add_a_key_and_two_quotas_to_what_junheng_is_measured_with() {
        let mut configuration = Map::from_iter([("pools".to_owned(), json!([]))]);
        limit(&mut configuration);
        assert_eq!(configuration["quotas"].as_array().unwrap().len(), 2);
        let tenant = &configuration["identity"]["keys"]["tenants"][0];
        // As `printf %s "$KEY" | sha256sum` prints it.
        let digest = "63623426039290d464f5ed32b4446bd07269becf84e547b116143ed6d25afedd";
        assert_eq!(tenant["sha256"], json!([digest]));
        assert_eq!(configuration.len(), 3);
    }
}
