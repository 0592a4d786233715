//! Ranges of IP addresses, as RFC 4632 and RFC 4291 write them.
//!
//! An IPv4 address that is written as an IPv6 one (`::ffff:10.0.0.1`, what a dual-stack socket shows) is that IPv4
//! address: a list that could be passed by spelling an address otherwise would be none.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// A range of addresses of one family: those that share their first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cidr {
    first: IpAddr,
    bits: u8,
}

/// Why a text is no range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not an address, or not with a length that its family has.
    #[error(
        "is no range of addresses; write one like \"10.0.0.0/8\", \"2001:db8::/32\" or \"192.0.2.7\""
    )]
    Malformed,
    /// Bits behind the prefix, which say that something else was meant.
    #[error("has bits behind its prefix; the range is \"{0}\"")]
    BitsBehind(Cidr),
}

impl Cidr {
    /// The range that `text` writes: `address/bits`, or one address.
    ///
    /// # Errors
    /// Where it writes none, or an address with bits behind the prefix.
    pub fn parse(text: &str) -> Result<Cidr, Error> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse().map_err(|_| Error::Malformed)?)),
            None => (text, None),
        };
        let written: IpAddr = address.parse().map_err(|_| Error::Malformed)?;
        let width = |address: IpAddr| if address.is_ipv4() { 32 } else { 128 };
        let bits: u8 = bits.unwrap_or(width(written));
        if bits > width(written) {
            return Err(Error::Malformed);
        }
        // A prefix within which the mapped addresses are only a part stays one of IPv6.
        let (address, bits) = match (written, written.to_canonical()) {
            (IpAddr::V6(_), canonical @ IpAddr::V4(_)) if bits >= MAPPED_BITS => {
                (canonical, bits.saturating_sub(MAPPED_BITS))
            }
            _ => (written, bits),
        };
        let first = masked(address, bits);
        let range = Cidr { first, bits };
        match first == address {
            true => Ok(range),
            false => Err(Error::BitsBehind(range)),
        }
    }

    /// Whether `address` is in it.
    pub fn contains(self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.first.is_ipv4() && masked(address, self.bits) == self.first
    }
}

impl std::fmt::Display for Cidr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.first, self.bits)
    }
}

/// The address that `text` writes, with or without a port: `192.0.2.7`, `192.0.2.7:80`, `[2001:db8::1]:80`.
pub fn address(text: &str) -> Option<IpAddr> {
    let bare = || text.parse().ok();
    let address = text.parse::<SocketAddr>().map(|socket| socket.ip());
    Some(address.ok().or_else(bare)?.to_canonical())
}

/// Of an IPv6 address that maps an IPv4 one, the bits before that.
const MAPPED_BITS: u8 = 96;

fn masked(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let behind = u32::MAX.checked_shr(bits.into()).unwrap_or(0);
            IpAddr::V4((address.to_bits() & !behind).into())
        }
        IpAddr::V6(address) => {
            let behind = u128::MAX.checked_shr(bits.into()).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & !behind))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_holds_its_own_addresses_however_they_are_written() {
        let cases = [
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("::ffff:10.0.0.0/104", "10.1.2.3", true),
            ("::ffff:10.0.0.0/104", "::ffff:a01:203", true),
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7/32", "192.0.2.8", false),
            ("0.0.0.0/0", "255.255.255.255", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("::/0", "2001:db8::1", true),
            ("::/0", "10.0.0.1", false),
            ("2001:db8::/32", "2001:db8:ffff::1", true),
            ("2001:db8::/33", "2001:db8:ffff::1", false),
            ("2001:db8::1", "2001:db8:0:0::1", true),
        ];
        for (range, address, inside) in cases {
            let range = Cidr::parse(range).unwrap();
            assert_eq!(
                range.contains(address.parse().unwrap()),
                inside,
                "{range} {address}"
            );
        }
    }

    #[test]
    fn what_is_no_range_is_refused_and_told_what_it_would_be() {
        for text in [
            "",
            "10",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/",
            "10.0.0.0/-1",
            "10.0.0.256",
            "a/8",
            "10.0.0.0/8/8",
            "::ffff:10.0.0.0/8x",
        ] {
            assert_eq!(Cidr::parse(text), Err(Error::Malformed), "{text}");
        }
        let told = |text| Cidr::parse(text).unwrap_err().to_string();
        assert_eq!(
            told("10.0.0.1/8"),
            "has bits behind its prefix; the range is \"10.0.0.0/8\""
        );
        assert_eq!(
            told("2001:db8::1/64"),
            "has bits behind its prefix; the range is \"2001:db8::/64\""
        );
        assert_eq!(
            told("::ffff:10.0.0.1/104"),
            "has bits behind its prefix; the range is \"10.0.0.0/8\""
        );
    }

    #[test]
    fn an_address_is_read_with_and_without_its_port() {
        let read = |text| address(text).map(|address| address.to_string());
        for text in [
            "10.0.0.1",
            "10.0.0.1:80",
            "[::ffff:10.0.0.1]:80",
            "::ffff:10.0.0.1",
        ] {
            assert_eq!(read(text).as_deref(), Some("10.0.0.1"), "{text}");
        }
        assert_eq!(read("[2001:db8::1]:0").as_deref(), Some("2001:db8::1"));
        for text in [
            "",
            "unknown",
            "10.0.0.1 ",
            "10.0.0",
            "/run/socket",
            "_hidden",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
