//! From what is written to a valid [`Config`]: every bound, every name, every choice that excludes
//! another is checked here.

mod bearer;
mod checks;
mod engine;
mod health;
mod identity;
mod place;
mod pool;
mod quota;
mod route;

use std::hash::{DefaultHasher, Hasher};

use checks::{each, unique, within};

use super::read::{Json, Read};
use super::wire;
use super::{Config, HashKey, Identity, KeyPart, Match, ModelPattern, Pool, Quota, Readers, Route};

const POOLS: usize = 256;
const ROUTES: usize = 1024;
/// Each costs a request two calls for shared data.
const QUOTAS: usize = 64;
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
    /// What is wrong with a value whose place is still to come.
    #[cold]
    pub(super) fn new(problem: impl Into<String>) -> Error {
        Error {
            path: String::new(),
            problem: problem.into(),
        }
    }

    /// The same, of a value that is in the object's field `name`.
    #[cold]
    fn within(mut self, name: &str) -> Error {
        let dot = match self.path.bytes().next() {
            None | Some(b'[') => "",
            Some(_) => ".",
        };
        self.path = format!("{name}{dot}{}", self.path);
        self
    }
}

type Result<T> = std::result::Result<T, Error>;

/// A check knows what is wrong, and each of its callers a part of where: the path is told from the inside out,
/// and only where there is a mistake.
pub(super) trait At: Sized {
    /// The same, of what is in the field `name`.
    fn at(self, name: &str) -> Self;

    /// The same, of the item `index`.
    fn at_item(self, index: usize) -> Self;
}

impl<T> At for Result<T> {
    fn at(self, name: &str) -> Self {
        self.map_err(|error| error.within(name))
    }

    fn at_item(self, index: usize) -> Self {
        self.map_err(|error| error.within(&format!("[{index}]")))
    }
}

fn wrong<T>(problem: impl Into<String>) -> Result<T> {
    Err(Error::new(problem))
}

pub(super) fn config(json: &[u8]) -> Result<Config> {
    let document = document(json)?;
    let pools = each(1..=POOLS, &document.pools, &pool::pool).at("pools")?;
    unique("name", pools.iter().map(|pool| pool.name.as_str())).at("pools")?;
    let route = |route: &wire::Route| route::route(route, &pools);
    let routes = each(1..=ROUTES, &document.routes, &route).at("routes")?;
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
    unique("name", routes.iter().map(|route| route.name.as_str())).at("routes")?;
    let identity = identity::identity(&document.identity).at("identity")?;
    let engine = document.quota_engine.as_ref();
    let quota = |quota: &wire::Quota| quota::quota(quota, engine);
    let quotas = each(0..=QUOTAS, &document.quotas, &quota).at("quotas")?;
    unique("name", quotas.iter().map(|quota| quota.name.as_str())).at("quotas")?;
    let quota_engine = engine.map(|engine| engine::engine(engine, &quotas));
    tenants_can_be_told(&document, &pools, &quotas, identity.tells_tenants())?;
    Ok(Config {
        fingerprint: fingerprint(json),
        models: models(&pools, &routes, &quotas),
        looked_at: looked_at(&pools, &routes, &quotas, &identity),
        routes,
        identity,
        quotas,
        quota_engine: quota_engine.transpose().at("quota_engine")?,
        body_limit: within(document.limits.body_bytes, BODY_BYTES, BODY_BYTES_DEFAULT)
            .at("limits.body_bytes")? as usize,
        prompt_key_bytes: prompt_key_bytes(document.limits.prompt_key_bytes, &pools)
            .at("limits.prompt_key_bytes")?,
        pools,
        decision_readers: readers(&document.decision_header).at("decision_header.tenants")?,
        upgrades: document.upgrades,
    })
}

fn fingerprint(json: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(json);
    hasher.finish()
}

fn document(json: &[u8]) -> Result<wire::Document> {
    if json.iter().all(u8::is_ascii_whitespace) {
        return wrong("is empty; give an object with `pools` and `routes`");
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
    if !pools
        .iter()
        .any(|pool| pool.balance.key == Some(HashKey::Prompt))
    {
        return match bytes {
            None => Ok(0),
            Some(_) => wrong("no pool hashes prompts (`hash: {on: prompt}`); leave it out"),
        };
    }
    Ok(within(bytes, PROMPT_KEY_BYTES, PROMPT_KEY_BYTES_DEFAULT)? as usize)
}

fn readers(header: &wire::DecisionHeader) -> Result<Readers> {
    match header.callers {
        wire::Callers::Tenants if header.tenants.is_empty() => {
            wrong("is empty; list the tenants who may see decisions")
        }
        wire::Callers::Tenants => Ok(Readers::Tenants(header.tenants.clone())),
        _ if !header.tenants.is_empty() => wrong("is for `callers: tenants` only; leave it out"),
        wire::Callers::None => Ok(Readers::Nobody),
        wire::Callers::All => Ok(Readers::Everybody),
    }
}

/// Refuses what depends on the tenant where no tenant can be told.
fn tenants_can_be_told(
    document: &wire::Document,
    pools: &[Pool],
    quotas: &[Quota],
    told: bool,
) -> Result<()> {
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
    if let Some(index) = quotas
        .iter()
        .position(|quota| quota.is_by(&KeyPart::Tenant))
    {
        return untold(&format!("quotas[{index}].key"));
    }
    if let Some(index) = quotas
        .iter()
        .position(|quota| !quota.matches.tenants.is_empty())
    {
        return untold(&format!("quotas[{index}].match.tenants"));
    }
    let path = match (rule, pool) {
        (Some(index), _) => format!("routes[{index}].match.tenants"),
        (None, Some(index)) => format!("pools[{index}].balance.hash.on"),
        (None, None) if !document.decision_header.tenants.is_empty() => {
            "decision_header.tenants".into()
        }
        (None, None) => return Ok(()),
    };
    untold(&path)
}

#[cold]
fn untold(path: &str) -> Result<()> {
    wrong("no tenant can be told; say in `identity` how callers show who they are (`keys`, `signatures`, `jwt`, `introspection`, `jwt_authn`), or name a trusted `tenant_header`").at(path)
}

/// Every model that is named, for the tables that keep something for each.
fn models(pools: &[Pool], routes: &[Route], quotas: &[Quota]) -> Vec<String> {
    let patterns = pools
        .iter()
        .flat_map(|pool| &pool.models)
        .chain(all_matches(routes, quotas).flat_map(|matches| &matches.models));
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

/// What all rules and limits match.
fn all_matches<'a>(routes: &'a [Route], quotas: &'a [Quota]) -> impl Iterator<Item = &'a Match> {
    let routes = routes.iter().map(|route| &route.matches);
    routes.chain(quotas.iter().map(|quota| &quota.matches))
}

/// Every header that is named, and the path: what is kept of a request while its body is awaited.
fn looked_at(
    pools: &[Pool],
    routes: &[Route],
    quotas: &[Quota],
    identity: &Identity,
) -> Vec<String> {
    let forwarded = (identity.trusted_hops > 0).then_some("x-forwarded-for");
    let hashed = pools.iter().filter_map(|pool| match &pool.balance.key {
        Some(HashKey::Header(name)) => Some(name.as_str()),
        _ => None,
    });
    let matched = all_matches(routes, quotas)
        .flat_map(|matches| &matches.headers)
        .map(|(name, _)| name.as_str());
    let counted = quotas.iter().flat_map(|quota| &quota.key);
    let counted = counted.filter_map(|part| match part {
        KeyPart::Header(name) => Some(name.as_str()),
        // The client's address may stand in one.
        KeyPart::Address => Some("x-forwarded-for"),
        KeyPart::Tenant | KeyPart::Model | KeyPart::Route => None,
    });
    sorted(
        [":path"]
            .into_iter()
            .chain(identity.tenant_header.as_deref())
            .chain(forwarded)
            .chain(hashed)
            .chain(counted)
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
