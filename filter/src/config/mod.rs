//! What a valid configuration is.
//!
//! [`wire`] is what may be written, [`read`] takes it out of the JSON, [`parse`] checks it once and for all, and what comes out is a
//! [`Config`] whose every value is in range and whose every name leads somewhere: nothing behind this
//! floor asks again. The other way, to check where a value is used, would let a mistake in a
//! configuration show up in a request.

mod bearer;
mod check;
mod identity;
mod parse;
mod quota;
mod read;
mod secret;
mod wire;

use std::net::SocketAddr;
use std::time::Duration;

pub use bearer::{Introspection, Issuer, Service, SignatureAlgorithm};
pub use check::{Check, CheckAnswer};
pub use identity::{Addresses, Identity, Keys, Signatures, SigningKey};
pub use parse::Error;
pub use quota::{Budget, EngineProtocol, KeyPart, OnError, Quota, QuotaEngine};
pub(crate) use read::Json;
pub use secret::Secret;
pub use wire::{Algorithm, RetryOn, Upgrades, WhenNoneIsFit};

use crate::values::units::{Tokens, Weight};

/// A configuration, valid by construction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Config {
    /// Tells it from others: a hash of its text.
    pub fingerprint: u64,
    /// The pools; at least one.
    pub pools: Vec<Pool>,
    /// The rules, in order; at least one.
    pub routes: Vec<Route>,
    /// Every model name that is written somewhere, sorted, without duplicates.
    pub models: Vec<String>,
    /// Every request header that a decision may depend on, in lower case, without duplicates.
    pub looked_at: Vec<String>,
    /// Who may call.
    pub identity: Identity,
    /// How much, and by whom.
    pub quotas: Vec<Quota>,
    /// Who keeps those that are the fleet's; there if any is.
    pub quota_engine: Option<QuotaEngine>,
    /// The largest body that is read, in bytes.
    pub body_limit: usize,
    /// How many bytes of a prompt's text, from its start, make its key; 0 where no pool hashes prompts.
    pub prompt_key_bytes: usize,
    /// Who sees `x-junheng-decision`.
    pub decision_readers: Readers,
    /// What becomes of upgrades.
    pub upgrades: Upgrades,
}

/// A pool's place in [`Config::pools`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolId(pub usize);

/// A rule's place in [`Config::routes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteId(pub usize);

/// A model's place in [`Config::models`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelId(pub usize);

/// Endpoints that serve the same models equally well.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pool {
    /// Unique among the pools.
    pub name: String,
    /// The proxy's cluster.
    pub cluster: String,
    /// The models served; any if empty.
    pub models: Vec<ModelPattern>,
    /// Input and output that fit together; `None` for no bound.
    pub context_window: Option<Tokens>,
    /// How an endpoint is chosen.
    pub balance: Balance,
    /// Asking endpoints how they are, where that is done.
    pub check: Option<Check>,
    /// When an endpoint is left out for what it answers; never where this is `None`.
    pub breaker: Option<Breaker>,
    /// Of a hundred endpoints, the most that the breaker keeps out; below 100, one always stays.
    pub max_ejected_percent: u8,
    /// How long an endpoint that comes back is ramped up.
    pub ramp: Duration,
    /// How weights follow load; they stay as they are written where this is `None`.
    pub load: Option<Load>,
    /// At least one; addresses are unique.
    pub endpoints: Vec<Endpoint>,
}

/// One model server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// As the proxy's cluster has it.
    pub address: SocketAddr,
    /// Its share relative to its pool's.
    pub weight: Weight,
    /// Where it stands.
    pub zone: Option<String>,
}

/// When an endpoint is left out for what it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Breaker {
    /// By its share of failures, and by failures in a row.
    Window {
        /// Trips above this share of failures, in percent.
        error_percent: u8,
        /// Not before so many requests.
        minimum_requests: u32,
        /// The window's length.
        window: Duration,
        /// Trips at so many failures in a row.
        failures_in_a_row: u16,
        /// How long it stays out before it is probed.
        open: Duration,
    },
    /// As nginx does it.
    FailTimeout {
        /// So many failures within `fail_timeout`.
        max_fails: u16,
        /// Leave it out for as long.
        fail_timeout: Duration,
    },
}

/// How weights follow load.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Load {
    /// How often they are computed.
    pub interval: Duration,
    /// Where endpoints' Prometheus text is, where it is read.
    pub metrics: Option<MetricsPage>,
}

/// Where endpoints' Prometheus text is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MetricsPage {
    /// The path of the GET.
    pub path: String,
    /// The port at the endpoint's address; the endpoint's own if `None`.
    pub port: Option<u16>,
    /// The proxy's cluster that holds the addresses asked.
    pub cluster: String,
}

/// How an endpoint is chosen.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Balance {
    /// The algorithm.
    pub algorithm: Algorithm,
    /// Where `consistent_hash` takes its key from.
    pub key: Option<HashKey>,
}

/// Where a hash key comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HashKey {
    /// A request header.
    Header(String),
    /// The caller's tenant.
    Tenant,
    /// The start of the prompt's text: [`Config::prompt_key_bytes`] of it.
    Prompt,
}

/// A rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    /// Unique among the rules.
    pub name: String,
    /// Which requests it is for.
    pub matches: Match,
    /// Model names to rewrite, sorted by what is asked for.
    pub alias: Vec<(String, String)>,
    /// Whether streams are asked for their usage where the caller did not.
    pub stream_usage: bool,
    /// Pools in order of preference; at least one, none twice.
    pub pools: Vec<PoolId>,
    /// How many endpoints a request may try; 1 to 8.
    pub attempts: usize,
    /// When the next one is tried.
    pub retry: Retry,
    /// What becomes of a request when no endpoint is fit.
    pub when_none_is_fit: WhenNoneIsFit,
}

/// When the next endpoint is tried.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Retry {
    /// After what.
    pub on: Vec<RetryOn>,
    /// How long a streamed answer may take to begin.
    pub first_byte: Option<Duration>,
    /// How long an answer may take that is not streamed.
    pub answer: Option<Duration>,
}

/// Which requests a rule is for; all of it must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Match {
    /// Any of these; if empty, any model and also none.
    pub models: Vec<ModelPattern>,
    /// The estimated input lies between these, both included.
    pub input: Option<(Tokens, Tokens)>,
    /// The answer is a stream, or is not.
    pub stream: Option<bool>,
    /// It is a Realtime session, or is not.
    pub realtime: Option<bool>,
    /// The path without its query.
    pub path: Option<Pattern>,
    /// Headers, names in lower case.
    pub headers: Vec<(String, HeaderPattern)>,
    /// Any of these; if empty, any tenant and also none.
    pub tenants: Vec<String>,
}

/// Which model names are meant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ModelPattern {
    /// `*`
    Any,
    /// A name without a version: every version of it.
    Name(String),
    /// `name@version`: this version only.
    Version(String),
}

impl ModelPattern {
    /// Whether `model`, with or without a version, is meant.
    pub fn matches(&self, model: &str) -> bool {
        match self {
            ModelPattern::Any => true,
            ModelPattern::Name(name) => name == model || name == base_name(model),
            ModelPattern::Version(whole) => whole == model,
        }
    }
}

/// `model` without its version: what stands before the last `@`, unless nothing does.
pub fn base_name(model: &str) -> &str {
    match model.rsplit_once('@') {
        Some((base, _)) if !base.is_empty() => base,
        _ => model,
    }
}

/// Which texts are meant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Pattern {
    /// The whole text.
    Exact(String),
    /// Its start.
    Prefix(String),
}

impl Pattern {
    /// Whether `text` is meant.
    pub fn matches(&self, text: &[u8]) -> bool {
        match self {
            Pattern::Exact(whole) => text == whole.as_bytes(),
            Pattern::Prefix(start) => text.starts_with(start.as_bytes()),
        }
    }
}

/// What a header must be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HeaderPattern {
    /// There, or not there.
    Present(bool),
    /// There, with one value like this.
    Value(Pattern),
}

/// Who sees how a decision was made.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Readers {
    /// Nobody.
    Nobody,
    /// These tenants.
    Tenants(Vec<String>),
    /// Everybody.
    Everybody,
}

impl Config {
    /// Reads a configuration from JSON.
    ///
    /// # Errors
    /// The first mistake, with its path, what is wrong, and what would be right.
    pub fn from_json(json: &[u8]) -> Result<Config, Error> {
        parse::config(json)
    }

    /// The JSON Schema of what may be written, for editors and for checks without Junheng.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn schema() -> serde_json::Value {
        schemars::schema_for!(wire::Document).to_value()
    }

    /// The known model that `name` is: itself, or itself without its version.
    pub fn model(&self, name: &str) -> Option<ModelId> {
        let find = |name: &str| {
            self.models
                .binary_search_by(|known| known.as_str().cmp(name))
                .ok()
        };
        find(name).or_else(|| find(base_name(name))).map(ModelId)
    }

    /// Whether a decision may depend on the request header `name`.
    pub fn looks_at(&self, name: &[u8]) -> bool {
        self.looked_at
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
    }

    /// The pool `id`.
    pub fn pool(&self, id: PoolId) -> Option<&Pool> {
        self.pools.get(id.0)
    }

    /// The rule `id`.
    pub fn route(&self, id: RouteId) -> Option<&Route> {
        self.routes.get(id.0)
    }
}

impl Pool {
    /// Whether the pool serves `model`.
    pub fn serves(&self, model: &str) -> bool {
        self.models.is_empty() || self.models.iter().any(|pattern| pattern.matches(model))
    }

    /// Whether a request of `need` tokens, input and output, fits the pool's context window.
    pub fn fits(&self, need: Tokens) -> bool {
        self.context_window.is_none_or(|window| need <= window)
    }
}

impl Route {
    /// What `model` is called upstream.
    pub fn alias_of<'a>(&'a self, model: &str) -> Option<&'a str> {
        let at = self
            .alias
            .binary_search_by(|(from, _)| from.as_str().cmp(model))
            .ok()?;
        self.alias.get(at).map(|(_, to)| to.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_means_every_version_and_a_version_only_itself() {
        let name = ModelPattern::Name("qwen".into());
        assert!(name.matches("qwen") && name.matches("qwen@2"));
        assert!(!name.matches("qwen2") && !name.matches("other@qwen"));
        let version = ModelPattern::Version("qwen@2".into());
        assert!(
            version.matches("qwen@2") && !version.matches("qwen") && !version.matches("qwen@3")
        );
        assert_eq!(base_name("@cf/meta/llama"), "@cf/meta/llama");
    }
}
