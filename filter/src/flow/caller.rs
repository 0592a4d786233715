//! The seam to [`crate::identity`]: what it has to know of a request is asked for here, and what it decides is done.

use std::net::IpAddr;
use std::rc::Rc;

use crate::config::{Config, Identity};
use crate::health;
use crate::identity::{self, Denial, Outcome, address, bearer};
use crate::ports::Host;
use crate::values::headers::Headers;

use super::Worker;
use super::bearers::{Found, Pending};
#[cfg(feature = "identity")]
use super::credentials;
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

    fn with(mut self, outcome: Outcome) -> Result<Caller, Refusal> {
        match outcome {
            Outcome::Tenant(tenant) => self.tenant = Some(tenant),
            #[cfg(feature = "identity")]
            Outcome::NeedsBody(tenant, owed) => {
                self.tenant = Some(tenant);
                self.owed = Some(owed);
            }
            Outcome::Anonymous => {}
            Outcome::Refused(denial) => return Err(Refusal::denied(denial)),
        }
        Ok(self)
    }
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
    #[cfg(feature = "identity")]
    {
        let mut caller = Caller::default();
        let shown = credentials::prove(config, headers, &mut caller.withheld, host);
        if let Some(outcome) = shown {
            return caller.with(outcome);
        }
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
    Caller::default().with(match claimed.and_then(identity::claimed) {
        Some(tenant) => Outcome::Tenant(tenant),
        None => identity::nothing_shown(config),
    })
}

/// The headers that do not leave: those that were for us alone, and the name of a tenant that was not believed, as servers might
/// believe it.
pub(super) fn withheld(caller: &Caller, config: &Config, headers: &Headers) -> Vec<String> {
    let mut withheld = caller.withheld.clone();
    if let Some(name) = &config.identity.tenant_header
        && (caller.tenant.is_some() || identity::believed(config, headers).is_none())
        && headers.first(name).is_some()
        && !name.starts_with(':')
    {
        withheld.push(name.clone());
    }
    withheld
}

/// The caller that a bearer token proves, now or later.
pub(super) fn by_token(found: Found) -> Result<Caller, Refusal> {
    let shown = Caller {
        withheld: vec!["authorization".to_owned()],
        ..Caller::default()
    };
    match found {
        Found::Tenant(tenant) => Ok(Caller {
            tenant: Some(tenant),
            ..shown
        }),
        Found::Waits(pending) => Ok(Caller {
            pending: Some(pending),
            ..shown
        }),
        Found::Refused(fault) => Err(Refusal::denied(Denial::invalid_token(fault))),
        Found::Unavailable => Err(Refusal::denied(Denial::unavailable())),
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

/// The caller of a request as far as its headers tell, for the judgement of endpoints: the tenant,
/// or the address that trusted proxies vouch for. Else [`of`] asks the host, where it has to be
/// known.
pub(super) fn known(
    tenant: Option<&str>,
    config: &Identity,
    headers: &Headers,
) -> Option<health::Caller> {
    match tenant {
        Some(tenant) => Some(health::Caller::of(tenant.as_bytes())),
        None => address::forwarded_for(headers, config.trusted_hops).map(by_address),
    }
}

/// The caller of the stream that is at work: the known one, or its connection's address.
pub(super) fn of(known: Option<health::Caller>, host: &mut dyn Host) -> health::Caller {
    known.unwrap_or_else(|| {
        let told = host.property("source\0address");
        let address = told.and_then(|told| address::of_connection(&told));
        address.map(by_address).unwrap_or_default()
    })
}

/// IPv6 clients are told apart by their /64, which one of them has to itself.
fn by_address(address: IpAddr) -> health::Caller {
    match address {
        IpAddr::V4(address) => health::Caller::of(&address.octets()),
        IpAddr::V6(address) => {
            let [network @ .., _, _, _, _, _, _, _, _] = address.octets();
            health::Caller::of(&network)
        }
    }
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
