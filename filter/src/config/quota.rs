//! Budgets of requests and tokens.

use std::time::Duration;

use super::Match;

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

impl Quota {
    /// Whether requests are told apart by `part`.
    pub fn is_by(&self, part: &KeyPart) -> bool {
        self.key.contains(part)
    }
}
