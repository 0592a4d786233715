//! Budgets of requests and tokens.

use std::fmt;
use std::time::Duration;

pub use super::wire::OnError;
use super::{Match, Secret, Service};

/// A limit: which requests it counts, by what, and how many.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Quota {
    /// Unique among the limits.
    pub name: String,
    /// Requests that share all of these share a budget; all requests where it is empty.
    pub key: Vec<KeyPart>,
    /// Which requests it is for.
    pub matches: Match,
    /// How many requests, where it counts them. One of this and `tokens` is there.
    pub requests: Option<Budget>,
    /// How many tokens, input and output, where it counts them.
    pub tokens: Option<Budget>,
    /// The output that is reserved for a request which declares no bound.
    pub default_output: u32,
    /// Whether a stream ends where its output goes beyond what was reserved.
    pub cut_streams: bool,
    /// How many callers have a budget of their own at once.
    pub callers: u32,
    /// Where it is the whole fleet's: what becomes of requests that the engine does not answer for.
    pub fleet: Option<OnError>,
}

/// Who keeps the limits that are the whole fleet's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct QuotaEngine {
    /// Where to ask.
    pub service: Service,
    /// How.
    pub protocol: EngineProtocol,
}

/// How limits of the fleet are asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EngineProtocol {
    /// Redis' EVAL, through webdis.
    Webdis {
        /// What keys begin with.
        prefix: String,
        /// What to show, as the header `authorization`.
        authorization: Option<Secret>,
    },
    /// `envoy.service.ratelimit.v3`.
    RateLimitService {
        /// The domain.
        domain: String,
    },
}

/// How much, and how soon it comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Budget {
    /// So many each `per`; at least one.
    pub limit: u32,
    /// From a second to a day.
    pub per: Duration,
    /// So many at once; at least one.
    pub burst: u32,
    /// So many a worker takes ahead of what requests need, where the budget is the fleet's.
    pub lease: u32,
}

/// What requests have in common that share a budget.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum KeyPart {
    /// The caller's tenant.
    Tenant,
    /// The model as it is called upstream, whatever its version.
    Model,
    /// The rule.
    Route,
    /// The client's address.
    Address,
    /// A header's values.
    Header(String),
}

/// As it is written.
impl fmt::Display for KeyPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeyPart::Tenant => f.write_str("tenant"),
            KeyPart::Model => f.write_str("model"),
            KeyPart::Route => f.write_str("route"),
            KeyPart::Address => f.write_str("address"),
            KeyPart::Header(name) => write!(f, "header:{name}"),
        }
    }
}

impl Quota {
    /// Whether requests are told apart by `part`.
    pub fn is_by(&self, part: &KeyPart) -> bool {
        self.key.contains(part)
    }
}
