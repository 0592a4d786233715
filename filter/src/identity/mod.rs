//! Who calls.
//!
//! The tenant is read from a header that something in front of the proxy sets. It is believed as it
//! stands, which is why the configuration has to name it: no header is trusted unasked.

use crate::config::Config;
use crate::values::headers::Headers;

/// The caller's tenant, where the configuration says how to tell and the request does.
pub fn tenant<'a>(config: &Config, headers: &'a Headers) -> Option<&'a str> {
    headers
        .first_str(config.tenant_header.as_deref()?)
        .filter(|tenant| !tenant.is_empty())
}
