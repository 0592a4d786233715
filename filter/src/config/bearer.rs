//! Bearer tokens: whose are accepted, and where their keys, or their issuer's word for them, are to be had.

use std::time::Duration;

use super::Secret;
pub use super::wire::SignatureAlgorithm;

/// An issuer of JWTs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Issuer {
    /// `iss`, to the letter; unique among the issuers.
    pub name: String,
    /// Who `aud` must name one of; at least one.
    pub audiences: Vec<String>,
    /// The algorithms that its tokens are signed with; at least one.
    pub algorithms: Vec<SignatureAlgorithm>,
    /// Where its key set is.
    pub keys: Service,
    /// How often the key set is read again.
    pub refresh: Duration,
    /// The claim that names the tenant.
    pub tenant_claim: String,
}

/// Who knows about tokens that are no JWTs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Introspection {
    /// Where to ask.
    pub service: Service,
    /// What to show there, as the header `authorization`.
    pub authorization: Secret,
    /// Who the answer's `aud` must name one of; it need not be there if empty.
    pub audiences: Vec<String>,
    /// The field of the answer that names the tenant.
    pub tenant_claim: String,
    /// How long an answer holds at most.
    pub cache: Duration,
    /// How many answers a worker keeps.
    pub cache_entries: usize,
}

/// A place to ask something of over HTTP.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Service {
    /// The proxy's cluster.
    pub cluster: String,
    /// The host that is asked for.
    pub authority: String,
    /// The path.
    pub path: String,
    /// How long an answer may take.
    pub timeout: Duration,
}
