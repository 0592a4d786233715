//! The seam to [`crate::identity`]: what it has to know of a request is asked for here, and what it decides is done.

use std::net::IpAddr;

use crate::config::Identity;
use crate::identity::{self, Outcome, address};
use crate::ports::Host;
use crate::values::headers::Headers;

use super::Worker;
#[cfg(feature = "identity")]
use super::credentials;
use super::verdict::Refusal;

/// Who calls, as far as it was proven.
#[derive(Debug, Default)]
pub(super) struct Caller {
    /// The tenant that a credential told.
    pub(super) tenant: Option<String>,
    /// The headers that were for us alone.
    pub(super) withheld: Vec<String>,
    /// What the body has to be.
    #[cfg(feature = "identity")]
    owed: Option<credentials::Owed>,
}

impl Caller {
    /// Whether nobody knows who calls before the body is complete.
    pub(super) fn needs_body(&self) -> bool {
        #[cfg(feature = "identity")]
        return self.owed.is_some();
        #[cfg(not(feature = "identity"))]
        return false;
    }
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
    let mut caller = Caller::default();
    match identify(config, headers, &mut caller, host) {
        Outcome::Tenant(tenant) => caller.tenant = Some(tenant),
        #[cfg(feature = "identity")]
        Outcome::NeedsBody(tenant, owed) => {
            caller.tenant = Some(tenant);
            caller.owed = Some(owed);
        }
        Outcome::Anonymous => {}
        Outcome::Refused(denial) => return Err(Refusal::denied(denial)),
    }
    Ok(caller)
}

/// What a request shows of its caller, the strongest proof first.
#[cfg_attr(
    not(feature = "identity"),
    expect(
        unused_variables,
        reason = "without cryptography nothing is shown by a request itself"
    )
)]
fn identify(
    config: &Identity,
    headers: &Headers,
    caller: &mut Caller,
    host: &mut dyn Host,
) -> Outcome {
    #[cfg(feature = "identity")]
    if let Some(outcome) = credentials::prove(config, headers, &mut caller.withheld, host) {
        return outcome;
    }
    let claim = config.claim.as_deref();
    let claimed = claim.and_then(|path| host.property(path));
    match claimed.and_then(identity::claimed) {
        Some(tenant) => Outcome::Tenant(tenant),
        None => identity::nothing_shown(config),
    }
}

/// Holds a complete request's body against what its signature says of it.
#[cfg_attr(
    not(feature = "identity"),
    expect(
        unused_variables,
        reason = "without cryptography nothing is shown by a request itself"
    )
)]
pub(super) fn settle(caller: &Caller, config: &Identity, body: &[u8]) -> Result<(), Refusal> {
    #[cfg(feature = "identity")]
    if let Some(owed) = &caller.owed {
        let settled = owed.settle(body);
        return settled.map_err(|fault| Refusal::denied(fault.denial(config)));
    }
    Ok(())
}

/// Makes what workers share of callers.
#[cfg_attr(
    not(feature = "identity"),
    expect(
        unused_variables,
        reason = "without cryptography nothing is shown by a request itself"
    )
)]
pub(super) fn prepare(config: &Identity, host: &mut dyn Host) {
    #[cfg(feature = "identity")]
    credentials::prepare(config, host);
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
