//! The seam to [`crate::identity`]: what it has to know of a request is asked for here, and what it decides is done.

use std::net::IpAddr;
use std::rc::Rc;

use crate::config::Identity;
use crate::identity::{self, Denial, Outcome, address, bearer};
use crate::ports::Host;
use crate::values::headers::Headers;

use super::Worker;
use super::bearers::{Found, Pending};
use super::verdict::Refusal;

/// Who calls, as far as it was proven.
#[derive(Debug, Default)]
pub(super) struct Caller {
    /// The tenant that a credential told.
    pub(super) tenant: Option<String>,
    /// What has to come before it is known.
    pub(super) pending: Option<Pending>,
}

/// Who sends a request with these headers, or why it must not pass.
#[cold]
#[inline(never)]
pub(super) fn admit(
    worker: &mut Worker,
    stream: u32,
    headers: &Headers,
    host: &mut dyn Host,
) -> Result<Caller, Refusal> {
    let config = Rc::clone(&worker.config);
    let config = &config.identity;
    if !config.addresses.is_open() {
        let address = client_address(config, headers, host);
        address::admit(&config.addresses, address).map_err(Refusal::denied)?;
    }
    if !config.proves() {
        return Ok(Caller::default());
    }
    if let Some(bearers) = &mut worker.bearers
        && let Some(token) = bearer::token(headers)
    {
        return proven(bearers.look(token, stream, config, host));
    }
    match identify(config, host) {
        Outcome::Tenant(tenant) => Ok(Caller {
            tenant: Some(tenant),
            ..Caller::default()
        }),
        Outcome::Anonymous => Ok(Caller::default()),
        Outcome::Refused(denial) => Err(Refusal::denied(denial)),
    }
}

/// The caller that a bearer token proves, now or later.
pub(super) fn proven(found: Found) -> Result<Caller, Refusal> {
    let (tenant, pending) = match found {
        Found::Tenant(tenant) => (Some(tenant), None),
        Found::Waits(pending) => (None, Some(pending)),
        Found::Refused(fault) => return Err(Refusal::denied(Denial::invalid_token(fault))),
        Found::Unavailable => {
            return Err(Refusal {
                retry_after: Some(UNAVAILABLE_RETRY),
                ..Refusal::denied(Denial::unavailable())
            });
        }
    };
    Ok(Caller { tenant, pending })
}

/// Seconds told to a caller whose token nobody can judge: key sets are asked for no more often.
const UNAVAILABLE_RETRY: u32 = 10;

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
