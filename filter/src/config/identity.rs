//! Who may call, and how a caller shows who it is.

use super::{Introspection, Issuer, Secret};
use crate::values::cidr::Cidr;

/// Who may call, and how a caller shows who it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The header that names the tenant, if one does.
    pub tenant_header: Option<String>,
    /// How many proxies in front are trusted to write `x-forwarded-for`.
    pub trusted_hops: u8,
    /// From where requests may come.
    pub addresses: Addresses,
    /// The API keys that are known, where keys are asked for.
    pub keys: Option<Keys>,
    /// The keys that requests may be signed with, where signatures are checked.
    pub signatures: Option<Signatures>,
    /// The property, by its path with a zero byte between the parts, in which an authentication filter in front of
    /// this one leaves the tenant.
    pub claim: Option<String>,
    /// Whose JWTs are accepted as bearer tokens.
    pub issuers: Vec<Issuer>,
    /// Who is asked about other bearer tokens.
    pub introspection: Option<Introspection>,
    /// Whether who shows nothing may call.
    pub anonymous: bool,
}

/// From where requests may come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Addresses {
    /// From these; from anywhere if empty.
    pub allow: Vec<Cidr>,
    /// Never from these.
    pub deny: Vec<Cidr>,
}

/// API keys.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Keys {
    /// The headers that may hold one, in lower case; `authorization` by the scheme `Bearer`.
    pub headers: Vec<String>,
    /// Whether the header with the key goes upstream.
    pub forward: bool,
    /// Whose keys they are.
    pub tenants: Vec<String>,
    /// SHA-256 digests of the keys, sorted, none twice, each with its tenant's place in `tenants`.
    pub known: Vec<([u8; 32], usize)>,
}

/// Signatures with shared secrets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Signatures {
    /// At least one; ids are unique.
    pub keys: Vec<SigningKey>,
    /// How many nonces are remembered at most.
    pub nonces: usize,
}

/// A shared secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SigningKey {
    /// Names it in a signature.
    pub id: String,
    /// Whose it is.
    pub tenant: String,
    /// The HMAC's key: the bytes of the text.
    pub secret: Secret,
}

impl Identity {
    /// Whether there is nothing to check: everybody may call, and proves nothing.
    pub fn is_open(&self) -> bool {
        self.addresses.is_open() && !self.proves()
    }

    /// Whether callers can prove who they are.
    pub fn proves(&self) -> bool {
        self.keys.is_some()
            || self.signatures.is_some()
            || self.claim.is_some()
            || self.takes_bearers()
    }

    /// Whether bearer tokens are looked at.
    pub fn takes_bearers(&self) -> bool {
        !self.issuers.is_empty() || self.introspection.is_some()
    }

    /// Whether some requests may have a tenant.
    pub fn tells_tenants(&self) -> bool {
        self.tenant_header.is_some() || self.proves()
    }
}

impl Addresses {
    /// Whether requests may come from anywhere.
    pub fn is_open(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty()
    }
}
