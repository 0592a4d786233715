//! Pools, their endpoints, and how one of them is chosen.

use std::net::{IpAddr, SocketAddr};

use super::checks::{each, header_name, model_pattern, name, unique};
use super::{Result, health, wrong};
use crate::config::wire;
use crate::config::{Balance, Endpoint, HashKey, Pool};
use crate::values::units::{Tokens, Weight};

const ENDPOINTS: usize = 4096;

pub(super) fn pool(path: &str, pool: &wire::Pool) -> Result<Pool> {
    let pool_name = name(&format!("{path}.name"), &pool.name)?;
    let cluster = match pool.cluster.as_deref() {
        None => pool_name.clone(),
        Some(cluster) if !cluster.is_empty() && header_value(cluster) => cluster.to_owned(),
        Some(cluster) => {
            return wrong(
                format!("{path}.cluster"),
                format!(
                    "{cluster:?} cannot name a cluster; write its name as the proxy has it, or leave it out for {pool_name:?}"
                ),
            );
        }
    };
    if pool.context_window == Some(0) {
        return wrong(
            format!("{path}.context_window"),
            "nothing fits 0 tokens; give the model's window, or leave it out for no bound",
        );
    }
    let endpoints_path = format!("{path}.endpoints");
    let endpoints = each(&endpoints_path, 1..=ENDPOINTS, &pool.endpoints, &endpoint)?;
    let addresses: Vec<String> = endpoints
        .iter()
        .map(|endpoint| endpoint.address.to_string())
        .collect();
    unique(
        &endpoints_path,
        "address",
        addresses.iter().map(String::as_str),
    )?;
    Ok(Pool {
        name: pool_name,
        cluster,
        models: each(
            &format!("{path}.models"),
            0..=usize::MAX,
            &pool.models,
            &|path, model| model_pattern(path, model),
        )?,
        context_window: pool.context_window.map(Tokens),
        balance: balance(&format!("{path}.balance"), &pool.balance)?,
        check: health::check(&format!("{path}.health.check"), &pool.health.check)?,
        breaker: health::breaker(&format!("{path}.health.breaker"), &pool.health.breaker)?,
        ramp: health::ramp(&format!("{path}.health.ramp"), &pool.health.ramp)?,
        load: health::load(&format!("{path}.load"), &pool.load)?,
        endpoints,
    })
}

fn endpoint(path: &str, endpoint: &wire::Endpoint) -> Result<Endpoint> {
    let weight = endpoint.weight.map_or(Ok(Weight::DEFAULT), |value| {
        Weight::new(value).map_or_else(
            || {
                wrong(
                    format!("{path}.weight"),
                    format!(
                        "{value} is out of range; give 0 (drained) to {}",
                        Weight::MAX
                    ),
                )
            },
            Ok,
        )
    })?;
    Ok(Endpoint {
        address: address(&format!("{path}.address"), &endpoint.address)?,
        weight,
        zone: endpoint
            .zone
            .as_deref()
            .map(|zone| name(&format!("{path}.zone"), zone))
            .transpose()?,
    })
}

fn address(path: &str, text: &str) -> Result<SocketAddr> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return match address.port() {
            0 => wrong(path, format!("{text:?} has port 0; give 1 to 65535")),
            _ => Ok(address),
        };
    }
    if let Ok(ip) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
        return wrong(
            path,
            format!(
                "{text:?} has no port; write {:?}",
                SocketAddr::new(ip, 8080).to_string()
            ),
        );
    }
    wrong(
        path,
        format!(
            "{text:?} is not ip:port, like \"10.0.1.1:8080\" or \"[fd00::1]:8080\"; a host name must be resolved first"
        ),
    )
}

fn balance(path: &str, balance: &wire::Balance) -> Result<Balance> {
    let hashing = balance.algorithm == wire::Algorithm::ConsistentHash;
    let path = format!("{path}.hash");
    let key = match &balance.hash {
        None if hashing => {
            return wrong(
                path,
                "is missing; `consistent_hash` needs to know what to hash, like {\"on\": \"prompt\"}",
            );
        }
        None => None,
        Some(_) if !hashing => {
            return wrong(
                path,
                "is for `algorithm: consistent_hash` only; leave it out",
            );
        }
        Some(hash) => Some(hash_key(&path, hash)?),
    };
    Ok(Balance {
        algorithm: balance.algorithm,
        key,
    })
}

fn hash_key(path: &str, hash: &wire::Hash) -> Result<HashKey> {
    if hash.header.is_some() && hash.on != wire::HashOn::Header {
        return wrong(
            format!("{path}.header"),
            "is for `on: header` only; leave it out",
        );
    }
    match hash.on {
        wire::HashOn::Header => match hash.header.as_deref() {
            None => wrong(
                format!("{path}.header"),
                "is missing; name the header to hash",
            ),
            Some(name) => Ok(HashKey::Header(header_name(
                &format!("{path}.header"),
                name,
            )?)),
        },
        wire::HashOn::Tenant => Ok(HashKey::Tenant),
        wire::HashOn::Prompt => Ok(HashKey::Prompt),
    }
}

/// Whether `text` can stand in a header as it is.
fn header_value(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'!'..=b'~'))
}
