//! Whose budget a request takes from: a hash of what the limit goes by.
//!
//! For a limit of this proxy's own, SipHash under a secret that all workers of the process agree on. Without one, a caller who may choose a header or a
//! model's name could look for one that shares another's bucket, or crowd the set that somebody's bucket is in.
//!
//! A limit of the fleet has the same keys in all proxies, and no sets: there it is SHA-256, of which nobody finds two texts
//! with one hash.
//!
//! What a request lacks counts as a value of its own: all requests without a tenant share a budget, as to leave
//! out a header must win nothing. An IPv6 client is its /64, of which everybody has 2⁶⁴ addresses.

use std::hash::{DefaultHasher, Hasher};
use std::net::{IpAddr, Ipv6Addr};

use sha2::{Digest, Sha256};

use crate::config::{Config, EngineProtocol, KeyPart, Quota, base_name};
use crate::ports::{Host, Version};
use crate::quota::Key;
use crate::quota::fleet::Shared;
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
        parts(config, quota, wanted, host, &mut |part, value| {
            written(part, value, &mut |bytes| put(&mut hasher, bytes));
        });
        let high = hasher.finish();
        put(&mut hasher, &[END]);
        Key(u128::from(high) << 64 | u128::from(hasher.finish()))
    }
}

/// Whose budget of the fleet's `quota` a request takes from, and what requests of that budget have in common.
#[cold]
#[inline(never)]
pub(super) fn of_fleet(
    config: &Config,
    quota: &Quota,
    wanted: &Wanted<'_>,
    host: &mut dyn Host,
) -> (Key, Shared) {
    let mut hasher = Sha256::new_with_prefix(&quota.name);
    let mut shared = Vec::new();
    let named = config
        .quota_engine
        .as_ref()
        .is_some_and(|engine| matches!(engine.protocol, EngineProtocol::RateLimitService { .. }));
    parts(config, quota, wanted, host, &mut |part, value| {
        written(part, value, &mut |bytes| hasher.update(bytes));
        if let Some(part) = quota.key.get(usize::from(part)).filter(|_| named) {
            shared.push((part.to_string(), text(part, value)));
        }
    });
    let digest: [u8; 32] = hasher.finalize().into();
    let half = digest.first_chunk().copied().unwrap_or_default();
    (Key(u128::from_be_bytes(half)), shared.into())
}

/// A value as a rate limit service is told it; one that is longer than a name should be by its hash.
fn text(part: &KeyPart, value: Option<&[u8]>) -> String {
    const LONGEST: usize = 256;
    // The protocol has no empty values.
    let Some(value) = value.filter(|value| !value.is_empty()) else {
        return "-".to_owned();
    };
    match (part, <[u8; 16]>::try_from(value)) {
        (KeyPart::Address, Ok(octets)) => Ipv6Addr::from(octets).to_canonical().to_string(),
        _ if value.len() > LONGEST => {
            let digest: [u8; 32] = Sha256::digest(value).into();
            digest.iter().map(|byte| format!("{byte:02x}")).collect()
        }
        _ => String::from_utf8_lossy(value).into_owned(),
    }
}

/// Hands each value of what `quota` goes by to `visit`, with its part's place.
fn parts(
    config: &Config,
    quota: &Quota,
    wanted: &Wanted<'_>,
    host: &mut dyn Host,
    visit: &mut dyn FnMut(u8, Option<&[u8]>),
) {
    for (part, place) in quota.key.iter().zip(0..) {
        match part {
            KeyPart::Tenant => visit(place, wanted.query.tenant.map(str::as_bytes)),
            KeyPart::Model => {
                let model = wanted.model.map(base_name);
                visit(place, model.map(str::as_bytes));
            }
            KeyPart::Route => visit(place, Some(wanted.route.as_bytes())),
            KeyPart::Address => {
                let address = client_address(&config.identity, wanted.query.headers, host);
                let network = address.map(network);
                visit(place, network.as_ref().map(|octets| octets.as_slice()));
            }
            KeyPart::Header(name) => {
                let mut values = wanted.query.headers.all(name).peekable();
                if values.peek().is_none() {
                    visit(place, None);
                }
                values.for_each(|each| visit(place, Some(each)));
            }
        }
    }
}

const NONE: u8 = 0;
const SOME: u8 = 1;
const END: u8 = 2;

/// A part's value with its place and length, so that none runs into the next.
#[inline(never)]
fn written(part: u8, value: Option<&[u8]>, put: &mut dyn FnMut(&[u8])) {
    let Some(bytes) = value else {
        return put(&[part, NONE]);
    };
    put(&[part, SOME]);
    put(&(bytes.len() as u64).to_le_bytes());
    put(bytes);
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
