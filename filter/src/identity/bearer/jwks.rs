//! A provider's key set (RFC 7517).
//!
//! Of what a set holds, the keys that can check one of our algorithms are kept: a provider may publish others, for
//! encryption or of kinds not known here, and that is no reason to refuse its set. What is wrong with the
//! set itself is, and the last good one then stays.

use crate::config::{Json, SignatureAlgorithm};

use super::fields::Fields;
use super::signature::Key;

/// A key set is no larger than this: a key with its chain of certificates is some 5 KB.
pub const MOST_DOCUMENT_BYTES: usize = 128 * 1024;

/// A set has no more keys than this.
const MOST_KEYS: usize = 64;

/// How many keys are tried for a token that names none.
const MOST_TRIES: usize = 4;

/// The keys of a set that signatures are checked with.
#[derive(Debug, Default)]
pub struct KeySet(Vec<Published>);

/// A key and its name.
#[derive(Debug)]
struct Published {
    kid: Option<String>,
    key: Key,
}

impl KeySet {
    /// Reads a document; `None` if it is no key set, or is over the bounds.
    pub fn parse(json: &[u8]) -> Option<KeySet> {
        if json.len() > MOST_DOCUMENT_BYTES {
            return None;
        }
        let Json::Array(keys) = Fields::parse(json)?.take("keys")? else {
            return None;
        };
        if keys.len() > MOST_KEYS {
            return None;
        }
        let keys = keys
            .into_iter()
            .filter_map(|key| published(Fields::of(key)?));
        Some(KeySet(keys.collect()))
    }

    /// The keys that may have made a signature of `algorithm` under the name `kid`.
    pub(super) fn candidates(
        &self,
        algorithm: SignatureAlgorithm,
        kid: Option<&str>,
    ) -> impl Iterator<Item = &Key> {
        let fits = move |published: &&Published| {
            published.key.algorithm() == algorithm
                && (kid.is_none() || published.kid.as_deref() == kid)
        };
        let keys = self.0.iter().filter(fits).take(MOST_TRIES);
        keys.map(|published| &published.key)
    }
}

/// The key that is written in `fields`, if it is there to check signatures that we know with.
fn published(mut fields: Fields) -> Option<Published> {
    let purpose = fields.text("use")?;
    if purpose.is_some_and(|purpose| purpose != "sig") {
        return None;
    }
    if let Some(Json::Array(operations)) = fields.take("key_ops") {
        let verifies = |operation: &Json| matches!(operation, Json::Text(name) if name == "verify");
        if !operations.iter().any(verifies) {
            return None;
        }
    }
    let kid = fields.text("kid")?;
    let named = fields.text("alg")?;
    let key = key(&mut fields)?;
    let agrees = |name: &str| match key.algorithm() {
        SignatureAlgorithm::Rs256 => name == "RS256",
        SignatureAlgorithm::Es256 => name == "ES256",
        SignatureAlgorithm::EdDsa => matches!(name, "EdDSA" | "Ed25519"),
    };
    named
        .as_deref()
        .is_none_or(agrees)
        .then_some(Published { kid, key })
}

fn key(fields: &mut Fields) -> Option<Key> {
    let curve = fields.text("crv")?;
    match (fields.text("kty")??.as_str(), curve.as_deref()) {
        ("RSA", None) => Key::rsa(&fields.bytes("n")?, &fields.bytes("e")?),
        ("EC", Some("P-256")) => Key::p256(&fields.bytes("x")?, &fields.bytes("y")?),
        ("OKP", Some("Ed25519")) => Key::ed25519(&fields.bytes("x")?),
        _ => None,
    }
}
