//! The seam to [`crate::identity`]: what it has to know of a request is asked for here, and what it decides is done.

use std::net::IpAddr;

use crate::config::Identity;
use crate::identity::{self, Outcome, address};
use crate::ports::Host;
use crate::values::headers::Headers;

use super::Worker;
use super::verdict::Refusal;

/// Who calls, as far as it was proven.
#[derive(Debug, Default)]
pub(super) struct Caller {
    /// The tenant that a credential told.
    pub(super) tenant: Option<String>,
}

/// Who sends a request with these headers, or why it must not pass.
#[cold]
#[inline(never)]
pub(super) fn admit(
    worker: &Worker,
    headers: &Headers,
    host: &mut dyn Host,
) -> Result<Caller, Refusal> {
    let config = &worker.config.identity;
    if !config.addresses.is_open() {
        let address = client_address(config, headers, host);
        address::admit(&config.addresses, address).map_err(Refusal::denied)?;
    }
    if !config.proves() {
        return Ok(Caller::default());
    }
    match identify(config, host) {
        Outcome::Tenant(tenant) => Ok(Caller {
            tenant: Some(tenant),
        }),
        Outcome::Anonymous => Ok(Caller::default()),
        Outcome::Refused(denial) => Err(Refusal::denied(denial)),
    }
}

/// What a request shows of its caller, the strongest proof first.
fn identify(config: &Identity, host: &mut dyn Host) -> Outcome {
    let claim = config.claim.as_deref();
    let claimed = claim.and_then(|path| host.property(path));
    match claimed.and_then(identity::claimed) {
        Some(tenant) => Outcome::Tenant(tenant),
        None => identity::nothing_shown(config),
    }
}

/// The client's address, IPv4 where it is one; `None` where nobody tells.
pub(super) fn client_address(
    config: &Identity,
    headers: &Headers,
    host: &mut dyn Host,
) -> Option<IpAddr> {
    address::forwarded_for(headers, config.trusted_hops).or_else(|| {
        let told = host.property("source\0address")?;
        address::of_connection(&told)
    })
}
