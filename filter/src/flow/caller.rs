//! The seam to [`crate::identity`]: what it has to know of a request is asked for here, and what it decides is done.

use std::net::IpAddr;

use crate::config::Identity;
use crate::identity::{self, Outcome, address};
#[cfg(feature = "identity")]
use crate::identity::{
    Denial,
    keys::{self, Shown},
};
use crate::ports::Host;
use crate::values::headers::Headers;

use super::Worker;
use super::verdict::Refusal;

/// Who calls, as far as it was proven.
#[derive(Debug, Default)]
pub(super) struct Caller {
    /// The tenant that a credential told.
    pub(super) tenant: Option<String>,
    /// The headers that were for us alone.
    pub(super) withheld: Vec<String>,
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
        Outcome::Anonymous => {}
        Outcome::Refused(denial) => return Err(Refusal::denied(denial)),
    }
    Ok(caller)
}

/// What a request shows of its caller, the strongest proof first.
fn identify(
    config: &Identity,
    headers: &Headers,
    caller: &mut Caller,
    host: &mut dyn Host,
) -> Outcome {
    if let Some(outcome) = by_key(config, headers, caller) {
        return outcome;
    }
    let claim = config.claim.as_deref();
    let claimed = claim.and_then(|path| host.property(path));
    match claimed.and_then(identity::claimed) {
        Some(tenant) => Outcome::Tenant(tenant),
        None => identity::nothing_shown(config),
    }
}

/// What an API key shows; `None` where there is none.
#[cfg(feature = "identity")]
fn by_key(config: &Identity, headers: &Headers, caller: &mut Caller) -> Option<Outcome> {
    let keys = config.keys.as_ref()?;
    let denied = |code, message| Outcome::Refused(Denial::unauthorized(config, code, message));
    match keys::shown(keys, headers) {
        Shown::Nothing => None,
        Shown::Several => Some(denied(
            "ambiguous_credentials",
            "The request shows more than one API key; send one.",
        )),
        Shown::Key(key, header) => {
            if !keys.forward {
                caller.withheld.push(header.to_owned());
            }
            Some(match keys::tenant(keys, key) {
                Some(tenant) => Outcome::Tenant(tenant.to_owned()),
                None => denied("invalid_api_key", "The API key is not known here."),
            })
        }
    }
}

#[cfg(not(feature = "identity"))]
fn by_key(_: &Identity, _: &Headers, _: &mut Caller) -> Option<Outcome> {
    None
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
