//! From what is written to a valid [`Config`]: every bound, every name, every choice that excludes
//! another is checked here.

use std::net::{IpAddr, SocketAddr};

use super::{
    Balance, Config, Endpoint, HashKey, HeaderPattern, Match, ModelPattern, Pattern, Pool, PoolId,
    Readers, Route,
};
use super::{place, wire};
use crate::values::units::{Tokens, Weight};

const POOLS: usize = 256;
const ROUTES: usize = 1024;
const ENDPOINTS: usize = 4096;
const NAME_BYTES: usize = 64;
const ATTEMPTS: std::ops::RangeInclusive<u8> = 1..=8;
const ATTEMPTS_DEFAULT: u8 = 3;
const BODY_BYTES: std::ops::RangeInclusive<u32> = 1024..=64 * 1024 * 1024;
/// Holds the text of a million-token prompt; what most proxies buffer without being told is 1 MiB.
const BODY_BYTES_DEFAULT: u32 = 8 * 1024 * 1024;
const PROMPT_KEY_BYTES: std::ops::RangeInclusive<u32> = 1..=65_536;
const PROMPT_KEY_BYTES_DEFAULT: u32 = 1024;

/// A mistake in a configuration: where it is, and what is wrong and would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {problem}")]
pub struct Error {
    /// The path of the value, like `pools[1].endpoints[0].address`; `configuration` for the whole.
    pub path: String,
    /// What is wrong, and what would be right.
    pub problem: String,
}

type Result<T> = std::result::Result<T, Error>;

fn wrong<T>(path: impl Into<String>, problem: impl Into<String>) -> Result<T> {
    Err(Error {
        path: path.into(),
        problem: problem.into(),
    })
}

pub(super) fn config(json: &[u8]) -> Result<Config> {
    let document = document(json)?;
    let pools = each("pools", 1..=POOLS, &document.pools, pool)?;
    unique("pools", "name", pools.iter().map(|pool| pool.name.as_str()))?;
    let routes = each("routes", 1..=ROUTES, &document.routes, |path, route_| {
        route(path, route_, &pools)
    })?;
    let routes: Vec<Route> = routes
        .into_iter()
        .enumerate()
        .map(|(index, route)| {
            if route.name.is_empty() {
                Route {
                    name: format!("route-{index}"),
                    ..route
                }
            } else {
                route
            }
        })
        .collect();
    unique(
        "routes",
        "name",
        routes.iter().map(|route| route.name.as_str()),
    )?;
    let tenant_header = document
        .identity
        .tenant_header
        .as_deref()
        .map(|name| header_name("identity.tenant_header", name))
        .transpose()?;
    tenants_can_be_told(&document, &pools, tenant_header.is_some())?;
    Ok(Config {
        models: models(&pools, &routes),
        routes,
        tenant_header,
        body_limit: within(
            "limits.body_bytes",
            document.limits.body_bytes,
            BODY_BYTES,
            BODY_BYTES_DEFAULT,
        )? as usize,
        prompt_key_bytes: prompt_key_bytes(document.limits.prompt_key_bytes, &pools)?,
        pools,
        decision_readers: readers(&document.decision_header)?,
        upgrades: document.upgrades,
    })
}

fn document(json: &[u8]) -> Result<wire::Document> {
    if json.iter().all(u8::is_ascii_whitespace) {
        return wrong(
            "configuration",
            "is empty; give an object with `pools` and `routes`",
        );
    }
    serde_json::from_slice(json).map_err(|error| {
        let path = place::at(json, error.line(), error.column());
        Error {
            path: if path.is_empty() {
                "configuration".into()
            } else {
                path
            },
            problem: without_place(&error),
        }
    })
}

/// The error's text without its line and column: a configuration that came as YAML has others.
fn without_place(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((problem, _)) => problem.to_owned(),
        None => text,
    }
}

/// Parses each of `items`, whose number must lie in `count`.
fn each<W, T>(
    path: &str,
    count: std::ops::RangeInclusive<usize>,
    items: &[W],
    parse: impl Fn(&str, &W) -> Result<T>,
) -> Result<Vec<T>> {
    if !count.contains(&items.len()) {
        return wrong(
            path,
            format!(
                "has {} entries; give {} to {}",
                items.len(),
                count.start(),
                count.end()
            ),
        );
    }
    items
        .iter()
        .enumerate()
        .map(|(index, item)| parse(&format!("{path}[{index}]"), item))
        .collect()
}

fn unique<'a>(path: &str, field: &str, values: impl Iterator<Item = &'a str>) -> Result<()> {
    let mut seen: Vec<&str> = Vec::new();
    for (index, value) in values.enumerate() {
        match seen.binary_search(&value) {
            Err(place) => seen.insert(place, value),
            Ok(_) => {
                return wrong(
                    format!("{path}[{index}].{field}"),
                    format!("{value:?} is taken by an earlier entry; choose another"),
                );
            }
        }
    }
    Ok(())
}

fn within<T: PartialOrd + std::fmt::Display>(
    path: &str,
    value: Option<T>,
    range: std::ops::RangeInclusive<T>,
    default: T,
) -> Result<T> {
    match value {
        None => Ok(default),
        Some(value) if range.contains(&value) => Ok(value),
        Some(value) => wrong(
            path,
            format!(
                "{value} is out of range; give {} to {}",
                range.start(),
                range.end()
            ),
        ),
    }
}

fn name(path: &str, name: &str) -> Result<String> {
    let fine = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
    if name.is_empty() || name.len() > NAME_BYTES || !name.bytes().all(fine) {
        return wrong(
            path,
            format!("{name:?} is no name; give 1 to {NAME_BYTES} of a-z, 0-9, `_` and `-`"),
        );
    }
    Ok(name.to_owned())
}

fn pool(path: &str, pool: &wire::Pool) -> Result<Pool> {
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
    let endpoints = each(&endpoints_path, 1..=ENDPOINTS, &pool.endpoints, endpoint)?;
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
            |path, model| model_pattern(path, model),
        )?,
        context_window: pool.context_window.map(Tokens),
        balance: balance(&format!("{path}.balance"), &pool.balance)?,
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
        zone: endpoint.zone.clone(),
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

fn model_pattern(path: &str, model: &str) -> Result<ModelPattern> {
    match model {
        "" => wrong(
            path,
            "is empty; give a model's name, `name@version`, or `*`",
        ),
        "*" => Ok(ModelPattern::Any),
        _ if super::base_name(model) == model => Ok(ModelPattern::Name(model.to_owned())),
        _ => Ok(ModelPattern::Version(model.to_owned())),
    }
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

/// How much of a prompt makes its key; an error where nothing would use it.
fn prompt_key_bytes(bytes: Option<u32>, pools: &[Pool]) -> Result<usize> {
    let path = "limits.prompt_key_bytes";
    if !pools
        .iter()
        .any(|pool| pool.balance.key == Some(HashKey::Prompt))
    {
        return match bytes {
            None => Ok(0),
            Some(_) => wrong(
                path,
                "no pool hashes prompts (`hash: {on: prompt}`); leave it out",
            ),
        };
    }
    Ok(within(path, bytes, PROMPT_KEY_BYTES, PROMPT_KEY_BYTES_DEFAULT)? as usize)
}

/// `name` in lower case, if it is one: RFC 9110's token, or a pseudo-header.
fn header_name(path: &str, name: &str) -> Result<String> {
    let bare = name.strip_prefix(':').unwrap_or(name);
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if bare.is_empty() || !bare.bytes().all(fine) {
        return wrong(path, format!("{name:?} is no header name"));
    }
    Ok(name.to_ascii_lowercase())
}

/// Whether `text` can stand in a header as it is.
fn header_value(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, b'!'..=b'~'))
}

fn route(path: &str, route: &wire::Route, pools: &[Pool]) -> Result<Route> {
    let mut chosen = Vec::new();
    for (index, pool) in route.pools.iter().enumerate() {
        let path = format!("{path}.pools[{index}]");
        let Some(at) = pools.iter().position(|known| known.name == *pool) else {
            let known: Vec<&str> = pools.iter().map(|pool| pool.name.as_str()).collect();
            return wrong(
                path,
                format!(
                    "there is no pool {pool:?}; the pools are {}",
                    known.join(", ")
                ),
            );
        };
        if chosen.contains(&PoolId(at)) {
            return wrong(path, format!("{pool:?} is named twice; name it once"));
        }
        chosen.push(PoolId(at));
    }
    if chosen.is_empty() {
        return wrong(format!("{path}.pools"), "is empty; name at least one pool");
    }
    let mut alias: Vec<(String, String)> = route
        .alias
        .iter()
        .map(|(from, to)| (from.clone(), to.clone()))
        .collect();
    alias.sort_unstable();
    for (from, to) in &alias {
        let path = format!("{path}.alias.{from}");
        if to.is_empty() || from.is_empty() {
            return wrong(path, "model names cannot be empty");
        }
        if !chosen
            .iter()
            .filter_map(|id| pools.get(id.0))
            .any(|pool| pool.serves(to))
        {
            return wrong(
                path,
                format!("none of the rule's pools serves {to:?}; add it to a pool's models"),
            );
        }
    }
    Ok(Route {
        name: route.name.as_deref().map_or(Ok(String::new()), |text| {
            name(&format!("{path}.name"), text)
        })?,
        matches: matches(&format!("{path}.match"), &route.matches)?,
        alias,
        pools: chosen,
        attempts: within(
            &format!("{path}.attempts"),
            route.attempts,
            ATTEMPTS,
            ATTEMPTS_DEFAULT,
        )?
        .into(),
    })
}

fn matches(path: &str, matches: &wire::Match) -> Result<Match> {
    let input = match &matches.input_tokens {
        None => None,
        Some(range) => {
            let (min, max) = (range.min.unwrap_or(0), range.max.unwrap_or(u32::MAX));
            if min > max {
                return wrong(
                    format!("{path}.input_tokens"),
                    format!("min {min} is above max {max}; no request would match"),
                );
            }
            Some((Tokens(min), Tokens(max)))
        }
    };
    if matches.stream.is_some() && matches.realtime == Some(true) {
        return wrong(
            format!("{path}.stream"),
            "a Realtime session has no body that could ask for a stream; leave `stream` or `realtime` out",
        );
    }
    if matches.realtime == Some(true) && input.is_some() {
        return wrong(
            format!("{path}.input_tokens"),
            "a Realtime session's input is not known when it is routed; leave `input_tokens` or `realtime` out",
        );
    }
    Ok(Match {
        models: each(
            &format!("{path}.models"),
            0..=usize::MAX,
            &matches.models,
            |path, model| model_pattern(path, model),
        )?,
        input,
        stream: matches.stream,
        realtime: matches.realtime,
        path: matches
            .path
            .as_ref()
            .map(|text| pattern(&format!("{path}.path"), &text.exact, &text.prefix))
            .transpose()?,
        headers: each(
            &format!("{path}.headers"),
            0..=usize::MAX,
            &matches.headers,
            header,
        )?,
        tenants: matches.tenants.clone(),
    })
}

fn header(path: &str, header: &wire::HeaderMatch) -> Result<(String, HeaderPattern)> {
    let name = header_name(&format!("{path}.name"), &header.name)?;
    let pattern = match header.present {
        Some(_) if header.exact.is_some() || header.prefix.is_some() => {
            return wrong(path, "give one of `exact`, `prefix` and `present`");
        }
        Some(present) => HeaderPattern::Present(present),
        None => HeaderPattern::Value(pattern(path, &header.exact, &header.prefix)?),
    };
    Ok((name, pattern))
}

fn pattern(path: &str, exact: &Option<String>, prefix: &Option<String>) -> Result<Pattern> {
    match (exact, prefix) {
        (Some(exact), None) => Ok(Pattern::Exact(exact.clone())),
        (None, Some(prefix)) => Ok(Pattern::Prefix(prefix.clone())),
        _ => wrong(path, "give one of `exact` and `prefix`"),
    }
}

fn readers(header: &wire::DecisionHeader) -> Result<Readers> {
    let path = "decision_header.tenants";
    match header.callers {
        wire::Callers::Tenants if header.tenants.is_empty() => {
            wrong(path, "is empty; list the tenants who may see decisions")
        }
        wire::Callers::Tenants => Ok(Readers::Tenants(header.tenants.clone())),
        _ if !header.tenants.is_empty() => {
            wrong(path, "is for `callers: tenants` only; leave it out")
        }
        wire::Callers::None => Ok(Readers::Nobody),
        wire::Callers::All => Ok(Readers::Everybody),
    }
}

/// Refuses what depends on the tenant where no tenant can be told.
fn tenants_can_be_told(document: &wire::Document, pools: &[Pool], told: bool) -> Result<()> {
    if told {
        return Ok(());
    }
    let rule = document
        .routes
        .iter()
        .position(|route| !route.matches.tenants.is_empty());
    let pool = pools
        .iter()
        .position(|pool| pool.balance.key == Some(HashKey::Tenant));
    let path = match (rule, pool) {
        (Some(index), _) => format!("routes[{index}].match.tenants"),
        (None, Some(index)) => format!("pools[{index}].balance.hash.on"),
        (None, None) if !document.decision_header.tenants.is_empty() => {
            "decision_header.tenants".into()
        }
        (None, None) => return Ok(()),
    };
    wrong(path, "no tenant can be told; set `identity.tenant_header`")
}

/// Every model that is named, for the tables that keep something for each.
fn models(pools: &[Pool], routes: &[Route]) -> Vec<String> {
    let patterns = pools
        .iter()
        .flat_map(|pool| &pool.models)
        .chain(routes.iter().flat_map(|route| &route.matches.models));
    let named = patterns.filter_map(|pattern| match pattern {
        ModelPattern::Any => None,
        ModelPattern::Name(name) | ModelPattern::Version(name) => Some(name),
    });
    let aliases = routes
        .iter()
        .flat_map(|route| &route.alias)
        .flat_map(|(from, to)| [from, to]);
    let mut all: Vec<String> = named.chain(aliases).cloned().collect();
    all.sort_unstable();
    all.dedup();
    all
}
