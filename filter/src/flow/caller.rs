//! The seam to [`crate::identity`]: what it has to know of a request is asked for here, and what it decides is done.

use std::net::IpAddr;
use std::rc::Rc;

use crate::config::Identity;
#[cfg(feature = "identity")]
use crate::identity::keys::{self, Shown};
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
    /// The headers that were for us alone.
    pub(super) withheld: Vec<String>,
}

/// Who sends a request with these headers, or why it must not pass; the strongest proof first.
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
    let mut caller = Caller::default();
    if let Some(outcome) = by_key(config, headers, &mut caller) {
        return caller.with(outcome);
    }
    if let Some(bearers) = &mut worker.bearers
        && let Some(token) = bearer::token(headers)
    {
        let found = match token {
            Ok(token) => bearers.look(token, stream, config, host),
            Err(fault) => Found::Refused(fault),
        };
        return by_token(found);
    }
    let claim = config.claim.as_deref();
    let claimed = claim.and_then(|path| host.property(path));
    caller.with(match claimed.and_then(identity::claimed) {
        Some(tenant) => Outcome::Tenant(tenant),
        None => identity::nothing_shown(config),
    })
}

impl Caller {
    fn with(mut self, outcome: Outcome) -> Result<Caller, Refusal> {
        match outcome {
            Outcome::Tenant(tenant) => self.tenant = Some(tenant),
            Outcome::Anonymous => {}
            Outcome::Refused(denial) => return Err(Refusal::denied(denial)),
        }
        Ok(self)
    }
}

/// The caller that a bearer token proves, now or later.
pub(super) fn by_token(found: Found) -> Result<Caller, Refusal> {
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
    Ok(Caller {
        tenant,
        pending,
        withheld: vec!["authorization".to_owned()],
    })
}

/// Seconds told to a caller whose token nobody can judge: key sets are asked for no more often.
const UNAVAILABLE_RETRY: u32 = 10;

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
            let tenant = keys::tenant(keys, key);
            if tenant.is_none() && header == "authorization" && config.takes_bearers() {
                // It is a token, then.
                return None;
            }
            if !keys.forward {
                caller.withheld.push(header.to_owned());
            }
            Some(match tenant {
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
