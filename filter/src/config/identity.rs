//! Who may call, and how a caller shows who it is.

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
    /// The property, by its path with a zero byte between the parts, in which an authentication filter in front of
    /// this one leaves the tenant.
    pub claim: Option<String>,
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

impl Identity {
    /// Whether there is nothing to check: everybody may call, and proves nothing.
    pub fn is_open(&self) -> bool {
        self.addresses.is_open() && !self.proves()
    }

    /// Whether callers can prove who they are.
    pub fn proves(&self) -> bool {
        self.claim.is_some()
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
