//! Who calls.
//!
//! The tenant is read from a header that something in front of the proxy sets. It is believed as it
//! stands, which is why the configuration has to name it: no header is trusted unasked.

use crate::config::Config;
use crate::values::headers::Headers;

/// The caller's tenant, where the configuration says how to tell and the request does.
///
/// Two such headers tell none: whatever set the one did not remove the other.
pub fn tenant<'a>(config: &Config, headers: &'a Headers) -> Option<&'a str> {
    let name = config.tenant_header.as_deref()?;
    let mut values = headers.all(name);
    let (tenant, other) = (values.next()?, values.next());
    let tenant = std::str::from_utf8(tenant).ok()?;
    (other.is_none() && !tenant.is_empty()).then_some(tenant)
}
