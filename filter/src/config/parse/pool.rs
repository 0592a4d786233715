//! Pools, their endpoints, and how one of them is chosen.

use std::net::{IpAddr, SocketAddr};

use super::checks::{cluster_name, each, header_name, models, name, unique};
use super::{At, Result, health, wrong};
use crate::config::wire;
use crate::config::{Balance, Endpoint, HashKey, Pool};
use crate::values::units::{Tokens, Weight};

const ENDPOINTS: usize = 4096;

pub(super) fn pool(pool: &wire::Pool) -> Result<Pool> {
    let pool_name = name(&pool.name).at("name")?;
    let cluster = match pool.cluster.as_deref() {
        None => pool_name.clone(),
        Some(cluster) => cluster_name(cluster).at("cluster")?,
    };
    if pool.context_window == Some(0) {
        return wrong(
            "nothing fits 0 tokens; give the model's window, or leave it out for no bound",
        )
        .at("context_window");
    }
    let endpoints = each(1..=ENDPOINTS, &pool.endpoints, &endpoint).at("endpoints")?;
    let addresses: Vec<String> = endpoints
        .iter()
        .map(|endpoint| endpoint.address.to_string())
        .collect();
    unique("address", addresses.iter().map(String::as_str)).at("endpoints")?;
    Ok(Pool {
        name: pool_name,
        load: health::load(&pool.load, &cluster).at("load")?,
        cluster,
        models: models(&pool.models).at("models")?,
        context_window: pool.context_window.map(Tokens),
        balance: balance(&pool.balance).at("balance")?,
        check: health::check(&pool.health.check).at("health.check")?,
        breaker: health::breaker(&pool.health.breaker).at("health.breaker")?,
        max_ejected_percent: health::max_ejected_percent(&pool.health.breaker)
            .at("health.breaker")?,
        ramp: health::ramp(&pool.health.ramp).at("health.ramp")?,
        endpoints,
    })
}

fn endpoint(endpoint: &wire::Endpoint) -> Result<Endpoint> {
    let weight = endpoint.weight.map_or(Ok(Weight::DEFAULT), |value| {
        Weight::new(value).map_or_else(
            || {
                wrong(format!(
                    "{value} is out of range; give 0 (drained) to {}",
                    Weight::MAX
                ))
            },
            Ok,
        )
    });
    Ok(Endpoint {
        weight: weight.at("weight")?,
        address: address(&endpoint.address).at("address")?,
        zone: endpoint.zone.as_deref().map(name).transpose().at("zone")?,
    })
}

fn address(text: &str) -> Result<SocketAddr> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return match address.port() {
            0 => wrong(format!("{text:?} has port 0; give 1 to 65535")),
            _ => Ok(address),
        };
    }
    if let Ok(ip) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
        return wrong(format!(
            "{text:?} has no port; write {:?}",
            SocketAddr::new(ip, 8080).to_string()
        ));
    }
    wrong(format!(
        "{text:?} is not ip:port, like \"10.0.1.1:8080\" or \"[fd00::1]:8080\"; a host name must be resolved first"
    ))
}

fn balance(balance: &wire::Balance) -> Result<Balance> {
    let hashing = balance.algorithm == wire::Algorithm::ConsistentHash;
    let key = match &balance.hash {
        None if hashing => {
            return wrong(
                "is missing; `consistent_hash` needs to know what to hash, like {\"on\": \"prompt\"}",
            )
            .at("hash");
        }
        None => None,
        Some(_) if !hashing => {
            return wrong("is for `algorithm: consistent_hash` only; leave it out").at("hash");
        }
        Some(hash) => Some(hash_key(hash).at("hash")?),
    };
    Ok(Balance {
        algorithm: balance.algorithm,
        key,
    })
}

fn hash_key(hash: &wire::Hash) -> Result<HashKey> {
    if hash.header.is_some() && hash.on != wire::HashOn::Header {
        return wrong("is for `on: header` only; leave it out").at("header");
    }
    match hash.on {
        wire::HashOn::Header => match hash.header.as_deref() {
            None => wrong("is missing; name the header to hash").at("header"),
            Some(name) => header_name(name).at("header").map(HashKey::Header),
        },
        wire::HashOn::Tenant => Ok(HashKey::Tenant),
        wire::HashOn::Prompt => Ok(HashKey::Prompt),
    }
}
