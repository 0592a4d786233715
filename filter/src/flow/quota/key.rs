//! Whose budget a request takes from: a hash of what the limit goes by.
//!
//! SipHash under a secret that all workers of the process agree on. Without one, a caller who may choose a header or a
//! model's name could look for one that shares another's bucket, or crowd the set that somebody's bucket is in.
//!
//! What a request lacks counts as a value of its own: all requests without a tenant share a budget, as to leave
//! out a header must win nothing. An IPv6 client is its /64, of which everybody has 2⁶⁴ addresses.

use std::hash::{DefaultHasher, Hasher};
use std::net::{IpAddr, Ipv6Addr};

use crate::config::{Config, KeyPart, Quota, base_name};
use crate::ports::{Host, Version};
use crate::quota::Key;
use crate::values::rng::Rng;

use super::Wanted;
use crate::flow::caller::client_address;

/// What the hashes of this process begin with.
pub(super) struct Secret(Vec<u8>);

const AT: &str = "junheng/quota/secret";

impl Secret {
    /// The process' secret; a new one if there is none. It comes from the seed that the host gave, and never leaves.
    pub(super) fn agree(rng: &mut Rng, host: &mut dyn Host) -> Secret {
        let ours = [rng.bits(), rng.bits()].map(u64::to_le_bytes).concat();
        if host.load(AT).is_none() {
            host.swap(AT, &ours, Version(0));
        }
        Secret(host.load(AT).map_or(ours, |stored| stored.bytes))
    }

    /// Whose budget of `quota` a request takes from.
    #[cold]
    #[inline(never)]
    pub(super) fn key(
        &self,
        config: &Config,
        quota: &Quota,
        wanted: &Wanted<'_>,
        host: &mut dyn Host,
    ) -> Key {
        let mut hasher = DefaultHasher::new();
        put(&mut hasher, &self.0);
        for part in &quota.key {
            match part {
                KeyPart::Tenant => value(&mut hasher, wanted.query.tenant.map(str::as_bytes)),
                KeyPart::Model => {
                    let model = wanted.model.map(base_name);
                    value(&mut hasher, model.map(str::as_bytes));
                }
                KeyPart::Route => value(&mut hasher, Some(wanted.route.as_bytes())),
                KeyPart::Address => {
                    let address = client_address(&config.identity, wanted.query.headers, host);
                    let network = address.map(network);
                    value(
                        &mut hasher,
                        network.as_ref().map(|octets| octets.as_slice()),
                    );
                }
                KeyPart::Header(name) => {
                    let mut values = wanted.query.headers.all(name).peekable();
                    if values.peek().is_none() {
                        value(&mut hasher, None);
                    }
                    values.for_each(|each| value(&mut hasher, Some(each)));
                    put(&mut hasher, &[END]);
                }
            }
        }
        let high = hasher.finish();
        put(&mut hasher, &[END]);
        Key(u128::from(high) << 64 | u128::from(hasher.finish()))
    }
}

const NONE: u8 = 0;
const SOME: u8 = 1;
const END: u8 = 2;

/// Each value with its length, so that none runs into the next.
#[inline(never)]
fn value(hasher: &mut DefaultHasher, value: Option<&[u8]>) {
    let Some(bytes) = value else {
        return put(hasher, &[NONE]);
    };
    put(hasher, &[SOME]);
    put(hasher, &(bytes.len() as u64).to_le_bytes());
    put(hasher, bytes);
}

/// The hash function is a kilobyte wherever it is inlined.
#[inline(never)]
fn put(hasher: &mut DefaultHasher, bytes: &[u8]) {
    hasher.write(bytes);
}

fn network(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).octets()
        }
    }
}
