//! Where a request comes from, and whether requests may come from there.
//!
//! The client's address is what Envoy calls the *trusted client address*. With no trusted proxy in front it is what
//! the host itself takes for it: `x-forwarded-for` is then the client's own to write. With N of them it is the
//! (N+1)th address from the right of `x-forwarded-for`, if there are so many and that one is an address, else again
//! what the host says. That is Envoy's `xff_num_trusted_hops` as a filter sees it: with `use_remote_address` Envoy
//! takes the Nth from the right, and has appended its own peer when the header comes here.
//!
//! Source: Envoy's documentation of `x-forwarded-for`, and `Http::Utility::getLastAddressFromXFF`.

use std::net::IpAddr;

use crate::config::Addresses;
use crate::values::cidr;
use crate::values::headers::Headers;

use super::Denial;

/// The address that `trusted_hops` proxies vouch for, if `x-forwarded-for` has it. Its several headers are one list.
pub fn forwarded_for(headers: &Headers, trusted_hops: u8) -> Option<IpAddr> {
    if trusted_hops == 0 {
        return None;
    }
    let mut lists: Vec<&[u8]> = headers.all("x-forwarded-for").collect();
    lists.reverse();
    let mut written = lists
        .into_iter()
        .flat_map(|list| list.rsplit(|&byte| byte == b','));
    let address = written.nth(trusted_hops.into())?.trim_ascii();
    // An address with a port is none to Envoy, and so not here.
    let address: IpAddr = std::str::from_utf8(address).ok()?.parse().ok()?;
    Some(address.to_canonical())
}

/// The address in what a host says of a connection: `ip:port`, or an address alone.
pub fn of_connection(told: &[u8]) -> Option<IpAddr> {
    cidr::address(std::str::from_utf8(told).ok()?)
}

/// Whether requests may come from `address`. From one that cannot be told they may not.
///
/// # Errors
/// Where they may not.
pub fn admit(addresses: &Addresses, address: Option<IpAddr>) -> Result<(), Denial> {
    let admitted = address.is_some_and(|address| {
        let listed = |ranges: &[cidr::Cidr]| ranges.iter().any(|range| range.contains(address));
        !listed(&addresses.deny) && (addresses.allow.is_empty() || listed(&addresses.allow))
    });
    match admitted {
        true => Ok(()),
        false => Err(Denial::forbidden(
            "address_not_allowed",
            "Requests from this address are not let in here.",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(lists: &[&str], hops: u8) -> Option<String> {
        let headers = Headers::from_pairs(lists.iter().map(|list| ("X-Forwarded-For", list)));
        forwarded_for(&headers, hops).map(|address| address.to_string())
    }

    /// The examples of Envoy's documentation, as a filter sees them: with what Envoy has appended.
    #[test]
    fn the_examples_of_envoys_documentation_hold() {
        let seen = ["203.0.113.128, 203.0.113.10, 203.0.113.1, 192.0.2.5"];
        assert_eq!(client(&seen, 0), None, "what the host says");
        assert_eq!(client(&seen, 1).as_deref(), Some("203.0.113.1"));
        assert_eq!(client(&seen, 2).as_deref(), Some("203.0.113.10"));
        assert_eq!(client(&seen, 3).as_deref(), Some("203.0.113.128"));
        assert_eq!(client(&seen, 4), None);
    }

    #[test]
    fn several_headers_are_one_list() {
        let split = ["203.0.113.128", "203.0.113.10,203.0.113.1", "192.0.2.5"];
        assert_eq!(client(&split, 1).as_deref(), Some("203.0.113.1"));
        assert_eq!(client(&split, 3).as_deref(), Some("203.0.113.128"));
        assert_eq!(client(&[], 1), None);
    }

    #[test]
    fn what_is_no_address_vouches_for_nobody() {
        for list in [
            "unknown, 10.0.0.1",
            ", 10.0.0.1",
            "10.0.0.9:80, 10.0.0.1",
            "10.0.0, 10.0.0.1",
            "10.0.0.9 x, 10.0.0.1",
            "[2001:db8::1], 10.0.0.1",
        ] {
            assert_eq!(client(&[list], 1), None, "{list}");
        }
        let spaced = client(&["\t 2001:DB8::1  ,10.0.0.1"], 1);
        assert_eq!(spaced.as_deref(), Some("2001:db8::1"));
        let mapped = client(&["::ffff:203.0.113.1, 10.0.0.1"], 1);
        assert_eq!(mapped.as_deref(), Some("203.0.113.1"));
    }
}
