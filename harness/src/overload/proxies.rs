//! The two Envoys: the shipped bootstrap with Junheng, and the same without it.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::artifact;
use crate::cost::variant::{configure, replace_filter, route_to};
use crate::envoy::Bootstrap;

const POOL: &str = "small";
const CLUSTER_BALANCING: &str = "/static_resources/clusters/0/load_balancing_policy";

/// Envoy with Junheng, one pool of `endpoints`.
pub fn junheng(endpoints: &[SocketAddr]) -> Result<Bootstrap> {
    let mut bootstrap = bootstrap(endpoints)?;
    bootstrap.set_module(&artifact::build()?);
    let list: Vec<Value> = endpoints
        .iter()
        .map(|endpoint| json!({"address": endpoint.to_string()}))
        .collect();
    configure(&mut bootstrap, |fields| {
        fields.insert(
            "pools".into(),
            json!([{
                "name": POOL, "endpoints": list,
                "balance": {"algorithm": "least_connections"},
                "health": {"check": {"enabled": false}},
            }]),
        );
        fields.insert("routes".into(), json!([{"pools": [POOL]}]));
    })?;
    Ok(bootstrap)
}

/// Envoy without a filter, which balances by least request.
pub fn plain(endpoints: &[SocketAddr]) -> Result<Bootstrap> {
    let mut bootstrap = bootstrap(endpoints)?;
    let document = bootstrap.document_mut();
    route_to(document, POOL)?;
    replace_filter(document, None)?;
    let balancing = document
        .pointer_mut(CLUSTER_BALANCING)
        .context("no cluster")?;
    let kind = "envoy.extensions.load_balancing_policies.least_request.v3.LeastRequest";
    *balancing = json!({"policies": [{"typed_extension_config": {
        "name": "envoy.load_balancing_policies.least_request",
        "typed_config": {"@type": format!("type.googleapis.com/{kind}")},
    }}]});
    Ok(bootstrap)
}

fn bootstrap(endpoints: &[SocketAddr]) -> Result<Bootstrap> {
    let mut bootstrap = Bootstrap::shipped()?;
    bootstrap.listen_on(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let addresses = endpoints.iter().map(SocketAddr::to_string).collect();
    bootstrap.set_clusters(&[(POOL.to_owned(), addresses)])?;
    Ok(bootstrap)
}
