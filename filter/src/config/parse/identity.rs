//! Who may call.

use super::checks::{each, header_name, within};
use super::{At, Result, wrong};
use crate::config::wire;
use crate::config::{Addresses, Identity};
use crate::values::cidr::Cidr;

/// As many proxies as anybody puts in a row, and then some.
const TRUSTED_HOPS: std::ops::RangeInclusive<u8> = 0..=16;
const RANGES: std::ops::RangeInclusive<usize> = 0..=4096;

pub(super) fn identity(written: &wire::Identity) -> Result<Identity> {
    let tenant_header = written.tenant_header.as_deref().map(header_name);
    let claim = written.jwt_authn.as_ref().map(claim);
    let identity = Identity {
        tenant_header: tenant_header.transpose().at("tenant_header")?,
        trusted_hops: within(written.trusted_hops, TRUSTED_HOPS, 0).at("trusted_hops")?,
        addresses: addresses(&written.addresses).at("addresses")?,
        claim: claim.transpose().at("jwt_authn")?,
        anonymous: written.anonymous == Some(wire::Anonymous::Allow),
    };
    if written.anonymous.is_some() && !identity.proves() {
        return wrong("nobody is asked who they are; leave it out, or say how callers show it")
            .at("anonymous");
    }
    if identity.tenant_header.is_some() && identity.proves() && !identity.anonymous {
        return wrong(
            "is believed of anonymous callers only, and none are let in; leave it out, or set `anonymous: allow`",
        )
        .at("tenant_header");
    }
    Ok(identity)
}

/// The property that Envoy keeps the claim in.
fn claim(written: &wire::JwtAuthn) -> Result<String> {
    let part = |text: &str| match text.is_empty() || text.contains('\0') {
        true => wrong(format!("{text:?} is no name")),
        false => Ok(()),
    };
    part(&written.payload).at("payload")?;
    part(&written.claim).at("claim")?;
    const FILTER: &str = "metadata\0filter_metadata\0envoy.filters.http.jwt_authn";
    Ok([FILTER, &written.payload, &written.claim].join("\0"))
}

fn addresses(addresses: &wire::Addresses) -> Result<Addresses> {
    let ranges = |ranges: &[String]| each(RANGES, ranges, &|range| cidr(range));
    Ok(Addresses {
        allow: ranges(&addresses.allow).at("allow")?,
        deny: ranges(&addresses.deny).at("deny")?,
    })
}

fn cidr(text: &str) -> Result<Cidr> {
    Cidr::parse(text).or_else(|error| wrong(format!("{text:?} {error}")))
}
