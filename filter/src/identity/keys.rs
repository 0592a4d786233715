//! API keys: who knows one is its tenant.
//!
//! The configuration holds SHA-256 digests, so that who reads it can call nobody. That no salt and no slow hash is
//! needed follows from what keys are: random and long, unlike a password, so that nobody guesses what was hashed.
//!
//! A digest is looked for by its first eight bytes and compared in constant time by all of them. What the time of the
//! look-up could tell is a part of the digest of a key that works, and no digest leads back to its key.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::config::Keys;
use crate::values::headers::Headers;

/// The key that a request shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown<'a> {
    /// None.
    Nothing,
    /// This one, in the header of that name.
    Key(&'a [u8], &'a str),
    /// More than one, so that it is not clear as whom the request is made.
    Several,
}

/// The key that these headers show.
pub fn shown<'a>(keys: &'a Keys, headers: &'a Headers) -> Shown<'a> {
    let mut shown = Shown::Nothing;
    for name in &keys.headers {
        for value in headers.all(name) {
            let Some(key) = key(name, value) else {
                continue;
            };
            if shown != Shown::Nothing {
                return Shown::Several;
            }
            shown = Shown::Key(key, name);
        }
    }
    shown
}

/// The tenant whose key this is.
pub fn tenant<'a>(keys: &'a Keys, key: &[u8]) -> Option<&'a str> {
    let digest: [u8; 32] = Sha256::digest(key).into();
    let start = digest.first_chunk::<8>();
    let at = keys
        .known
        .partition_point(|(known, _)| known.first_chunk::<8>() < start);
    let alike = keys
        .known
        .iter()
        .skip(at)
        .take_while(|(known, _)| known.first_chunk::<8>() == start);
    let mut same = alike.filter(|(known, _)| bool::from(known.ct_eq(&digest)));
    let (_, tenant) = same.next()?;
    keys.tenants.get(*tenant).map(String::as_str)
}

/// The key in a header: all of it, but of `authorization` what stands behind `Bearer`. Other schemes are no keys.
fn key<'a>(name: &str, value: &'a [u8]) -> Option<&'a [u8]> {
    if name != "authorization" {
        return Some(value);
    }
    let (scheme, key) = value.split_at_checked("bearer".len())?;
    let bare = key.is_empty() || key.starts_with(b" ");
    (scheme.eq_ignore_ascii_case(b"bearer") && bare).then(|| key.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(headers: &[&str]) -> Keys {
        let mut known: Vec<([u8; 32], usize)> = [("k1", 0), ("k2", 0), ("k3", 1)]
            .map(|(key, tenant)| (Sha256::digest(key).into(), tenant))
            .into();
        known.sort();
        Keys {
            headers: headers.iter().map(|&name| name.to_owned()).collect(),
            forward: false,
            tenants: vec!["acme".into(), "globex".into()],
            known,
        }
    }

    #[test]
    fn each_key_is_its_tenants_and_nothing_else_is_one() {
        let keys = keys(&["x-api-key"]);
        for (key, expected) in [
            ("k1", Some("acme")),
            ("k2", Some("acme")),
            ("k3", Some("globex")),
            ("k4", None),
            ("", None),
            ("k", None),
            ("k11", None),
        ] {
            assert_eq!(tenant(&keys, key.as_bytes()), expected, "{key}");
        }
        // Eight equal bytes bring a digest into view and are not enough.
        let mut near = keys.clone();
        near.known
            .iter_mut()
            .for_each(|(digest, _)| digest[31] ^= 1);
        assert_eq!(tenant(&near, b"k1"), None);
    }

    #[test]
    fn a_key_is_looked_for_where_it_may_be_and_must_be_the_only_one() {
        let keys = keys(&["authorization", "x-api-key"]);
        let shown = |pairs: &[(&str, &str)]| match shown(
            &keys,
            &Headers::from_pairs(pairs.iter().copied()),
        ) {
            Shown::Nothing => "nothing".to_owned(),
            Shown::Several => "several".to_owned(),
            Shown::Key(key, name) => format!("{} {name}", String::from_utf8_lossy(key)),
        };
        assert_eq!(shown(&[("Authorization", "Bearer k1")]), "k1 authorization");
        assert_eq!(
            shown(&[("authorization", "bEARER   k1 ")]),
            "k1 authorization"
        );
        assert_eq!(shown(&[("authorization", "Bearer")]), " authorization");
        assert_eq!(shown(&[("authorization", "Bearerk1")]), "nothing");
        assert_eq!(
            shown(&[("authorization", "Basic k1"), ("X-API-Key", "k2")]),
            "k2 x-api-key"
        );
        assert_eq!(
            shown(&[("authorization", "Bearer k1"), ("x-api-key", "k1")]),
            "several"
        );
        assert_eq!(
            shown(&[("x-api-key", "k1"), ("x-api-key", "k1")]),
            "several"
        );
        assert_eq!(shown(&[("x-other", "k1")]), "nothing");
    }
}
