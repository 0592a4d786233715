//! Who calls, and whether they may.
//!
//! First where a request comes from ([`address`]), which costs little and stops most of what should be stopped. Then
//! what it shows: a credential that is wrong is refused, whatever else is there; one that is right tells the tenant;
//! and who shows none is refused too, unless the configuration lets anonymous callers in. All of it is decided from
//! what is handed in, and what cannot be read or checked is refused: nothing passes for want of an answer.
//!
//! Refusals say which rule was broken, and never what was sent: no key, token or signature is in any text.

pub mod address;

use crate::config::{Config, Identity};
use crate::values::headers::Headers;

/// What the headers of a request show of its caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is this tenant.
    Tenant(String),
    /// It shows nothing.
    Anonymous,
    /// It must not pass.
    Refused(Denial),
}

/// Why a request must not pass, as its caller is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// The HTTP status.
    pub status: u16,
    /// What a program can go by; from a fixed list, as it names a metric.
    pub code: &'static str,
    /// What is wrong and what would be right.
    pub message: &'static str,
    /// `WWW-Authenticate`, with 401.
    pub authenticate: Option<String>,
}

impl Denial {
    /// The caller may not do this, whoever it is.
    #[cold]
    pub fn forbidden(code: &'static str, message: &'static str) -> Denial {
        Denial {
            status: 403,
            code,
            message,
            authenticate: None,
        }
    }

    /// The caller has not shown who it is.
    #[cold]
    pub fn unauthorized(config: &Identity, code: &'static str, message: &'static str) -> Denial {
        Denial {
            status: 401,
            code,
            message,
            authenticate: Some(challenge(config)),
        }
    }
}

/// What a caller has to show, as `WWW-Authenticate` tells it.
fn challenge(_config: &Identity) -> String {
    "Bearer realm=\"junheng\"".to_owned()
}

/// What becomes of a request that shows nothing.
pub fn nothing_shown(config: &Identity) -> Outcome {
    if config.anonymous {
        return Outcome::Anonymous;
    }
    Outcome::Refused(Denial::unauthorized(
        config,
        "missing_credentials",
        "The request does not show who calls; send a credential.",
    ))
}

/// The tenant that `claim` names, which an authentication filter in front of this one has verified.
///
/// The proxy tells a number as eight bytes: one that happens to be text is no name.
pub fn claimed(claim: Vec<u8>) -> Option<String> {
    let tenant = String::from_utf8(claim).ok()?;
    (!tenant.is_empty() && !tenant.contains(char::is_control)).then_some(tenant)
}

/// The tenant that a header names, where the configuration says which. It is believed as it stands, which is why the
/// configuration has to name it: no header is trusted unasked.
///
/// Two such headers tell none: whatever set the one did not remove the other.
pub fn believed<'a>(config: &Config, headers: &'a Headers) -> Option<&'a str> {
    let name = config.identity.tenant_header.as_deref()?;
    let mut values = headers.all(name);
    let (tenant, other) = (values.next()?, values.next());
    let tenant = std::str::from_utf8(tenant).ok()?;
    (other.is_none() && !tenant.is_empty()).then_some(tenant)
}
