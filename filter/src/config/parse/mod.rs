//! From what is written to a valid [`Config`]: every bound, every name, every choice that excludes
//! another is checked here.

mod checks;
mod health;
mod place;
mod pool;
mod route;

use checks::{each, header_name, unique, within};

use super::read::{Json, Read};
use super::wire;
use super::{Config, HashKey, ModelPattern, Pool, Readers, Route};

const POOLS: usize = 256;
const ROUTES: usize = 1024;
const BODY_BYTES: std::ops::RangeInclusive<u32> = 1024..=64 * 1024 * 1024;
/// Holds the text of a million-token prompt; what most proxies buffer without being told is 1 MiB.
const BODY_BYTES_DEFAULT: u32 = 8 * 1024 * 1024;
const PROMPT_KEY_BYTES: std::ops::RangeInclusive<u32> = 1..=65_536;
const PROMPT_KEY_BYTES_DEFAULT: u32 = 1024;

/// A mistake in a configuration: where it is, and what is wrong and would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {problem}", if path.is_empty() { "configuration" } else { path })]
pub struct Error {
    /// The path of the value, like `pools[1].endpoints[0].address`; empty for the whole.
    pub path: String,
    /// What is wrong, and what would be right.
    pub problem: String,
}

impl Error {
    /// The same, of a value that is in the object's field `name`.
    #[cold]
    pub(super) fn within(mut self, name: &str) -> Error {
        let dot = match self.path.bytes().next() {
            None | Some(b'[') => "",
            Some(_) => ".",
        };
        self.path = format!("{name}{dot}{}", self.path);
        self
    }

    /// The same, of the array's item `index`.
    #[cold]
    pub(super) fn at(self, index: usize) -> Error {
        self.within(&format!("[{index}]"))
    }
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
    let pools = each("pools", 1..=POOLS, &document.pools, &pool::pool)?;
    unique("pools", "name", pools.iter().map(|pool| pool.name.as_str()))?;
    let routes = each("routes", 1..=ROUTES, &document.routes, &|path, route_| {
        route::route(path, route_, &pools)
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
        looked_at: looked_at(&pools, &routes, tenant_header.as_deref()),
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
        return wrong("", "is empty; give an object with `pools` and `routes`");
    }
    let tree: Json = serde_json::from_slice(json).map_err(|error| Error {
        path: place::at(json, error.line(), error.column()),
        problem: error.to_string(),
    })?;
    let mut document = wire::Document::default();
    document.read(tree)?;
    Ok(document)
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
    sorted(named.chain(aliases).map(String::as_str))
}

/// Every header that is named, and the path: what is kept of a request while its body is awaited.
fn looked_at(pools: &[Pool], routes: &[Route], tenant: Option<&str>) -> Vec<String> {
    let hashed = pools.iter().filter_map(|pool| match &pool.balance.key {
        Some(HashKey::Header(name)) => Some(name.as_str()),
        _ => None,
    });
    let matched = routes
        .iter()
        .flat_map(|route| &route.matches.headers)
        .map(|(name, _)| name.as_str());
    sorted(
        [":path"]
            .into_iter()
            .chain(tenant)
            .chain(hashed)
            .chain(matched),
    )
}

/// Each of `names` once, in order.
fn sorted<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut sorted: Vec<String> = Vec::new();
    names.for_each(|name| {
        if let Err(place) = sorted.binary_search_by(|known| known.as_str().cmp(name)) {
            sorted.insert(place, name.to_owned());
        }
    });
    sorted
}
