//! Who may call.

use super::checks::{each, header_name, name, unique, within};
use super::{At, Result, bearer, wrong};
use crate::config::wire;
use crate::config::{Addresses, Identity, Keys, Secret, Signatures, SigningKey};
use crate::values::cidr::Cidr;

/// As many proxies as anybody puts in a row, and then some.
const TRUSTED_HOPS: std::ops::RangeInclusive<u8> = 0..=16;
const RANGES: std::ops::RangeInclusive<usize> = 0..=4096;
const KEYED_TENANTS: std::ops::RangeInclusive<usize> = 1..=1024;
const KEYS_OF_TENANT: std::ops::RangeInclusive<usize> = 1..=16;
const TENANT_BYTES: usize = 64;
const SIGNING_KEYS: std::ops::RangeInclusive<usize> = 1..=1024;
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 32..=256;
const NONCES: std::ops::RangeInclusive<u32> = 16_384..=4_194_304;
/// A hundred signed requests a second fill half of a key's sixteenth; of the proxy's memory a megabyte for each key that
/// fills all of it.
const NONCES_DEFAULT: u32 = 1_048_576;

pub(super) fn identity(written: &wire::Identity) -> Result<Identity> {
    let tenant_header = written.tenant_header.as_deref().map(header_name);
    let claim = written.jwt_authn.as_ref().map(claim);
    let identity = Identity {
        tenant_header: tenant_header.transpose().at("tenant_header")?,
        trusted_hops: within(written.trusted_hops, TRUSTED_HOPS, 0).at("trusted_hops")?,
        addresses: addresses(&written.addresses).at("addresses")?,
        keys: written.keys.as_ref().map(keys).transpose().at("keys")?,
        signatures: written
            .signatures
            .as_ref()
            .map(signatures)
            .transpose()
            .at("signatures")?,
        claim: claim.transpose().at("jwt_authn")?,
        issuers: bearer::issuers(&written.jwt).at("jwt")?,
        introspection: written
            .introspection
            .as_ref()
            .map(bearer::introspection)
            .transpose()
            .at("introspection")?,
        anonymous: written.anonymous == Some(wire::Anonymous::Allow),
    };
    if written.anonymous.is_some() && !identity.proves() {
        return wrong("nobody is asked who they are; leave it out, or say how callers show it")
            .at("anonymous");
    }
    if identity.tenant_header.is_some() && identity.proves() && !identity.anonymous {
        return wrong(
            "is believed of anonymous callers only, and none are let in; leave it out, or set `anonymous: allow`",
        )
        .at("tenant_header");
    }
    Ok(identity)
}

/// The property that Envoy keeps the claim in.
fn claim(written: &wire::JwtAuthn) -> Result<String> {
    let part = |text: &str| match text.is_empty() || text.contains('\0') {
        true => wrong(format!("{text:?} is no name")),
        false => Ok(()),
    };
    part(&written.payload).at("payload")?;
    part(&written.claim).at("claim")?;
    const FILTER: &str = "metadata\0filter_metadata\0envoy.filters.http.jwt_authn";
    Ok([FILTER, &written.payload, &written.claim].join("\0"))
}

fn addresses(addresses: &wire::Addresses) -> Result<Addresses> {
    let ranges = |ranges: &[String]| each(RANGES, ranges, &|range| cidr(range));
    Ok(Addresses {
        allow: ranges(&addresses.allow).at("allow")?,
        deny: ranges(&addresses.deny).at("deny")?,
    })
}

fn cidr(text: &str) -> Result<Cidr> {
    Cidr::parse(text).or_else(|error| wrong(format!("{text:?} {error}")))
}

fn keys(written: &wire::Keys) -> Result<Keys> {
    crypto()?;
    let headers = match &written.header {
        Some(header) => vec![header_name(header).at("header")?],
        None => vec!["authorization".to_owned(), "x-api-key".to_owned()],
    };
    let tenants = each(KEYED_TENANTS, &written.tenants, &keys_of_tenant).at("tenants")?;
    let mut known: Vec<([u8; 32], usize)> = Vec::new();
    for (index, (_, digests)) in tenants.iter().enumerate() {
        for (at, digest) in digests.iter().enumerate() {
            let Err(place) = known.binary_search_by(|(known, _)| known.cmp(digest)) else {
                return wrong("is taken by an earlier entry; a key shows one tenant")
                    .at_item(at)
                    .at("sha256")
                    .at_item(index)
                    .at("tenants");
            };
            known.insert(place, (*digest, index));
        }
    }
    Ok(Keys {
        headers,
        forward: written.forward.unwrap_or(false),
        tenants: tenants.into_iter().map(|(tenant, _)| tenant).collect(),
        known,
    })
}

fn keys_of_tenant(written: &wire::KeysOfTenant) -> Result<(String, Vec<[u8; 32]>)> {
    let digests = each(KEYS_OF_TENANT, &written.sha256, &|digest| sha256(digest));
    Ok((tenant(&written.tenant).at("tenant")?, digests.at("sha256")?))
}

fn signatures(written: &wire::Signatures) -> Result<Signatures> {
    crypto()?;
    let keys = each(SIGNING_KEYS, &written.keys, &signing_key).at("keys")?;
    unique("id", keys.iter().map(|key| key.id.as_str())).at("keys")?;
    Ok(Signatures {
        keys,
        nonces: within(written.nonces, NONCES, NONCES_DEFAULT).at("nonces")? as usize,
    })
}

fn signing_key(written: &wire::SigningKey) -> Result<SigningKey> {
    Ok(SigningKey {
        id: name(&written.id).at("id")?,
        tenant: tenant(&written.tenant).at("tenant")?,
        secret: secret(&written.secret).at("secret")?,
    })
}

fn secret(secret: &Secret) -> Result<Secret> {
    let text = secret.reveal();
    let visible = text.bytes().all(|byte| matches!(byte, b'!'..=b'~'));
    match visible && SECRET_BYTES.contains(&text.len()) {
        true => Ok(secret.clone()),
        false => wrong(format!(
            "is not of {} to {} visible ASCII characters; write what `openssl rand -hex 32` prints",
            SECRET_BYTES.start(),
            SECRET_BYTES.end()
        )),
    }
}

fn tenant(name: &str) -> Result<String> {
    let fine = (1..=TENANT_BYTES).contains(&name.len()) && !name.contains(char::is_control);
    match fine {
        true => Ok(name.to_owned()),
        false => wrong(format!(
            "{name:?} is no tenant; give 1 to {TENANT_BYTES} bytes without control characters"
        )),
    }
}

/// A digest in hexadecimal. What stands there instead is not told: it may be the key.
fn sha256(text: &str) -> Result<[u8; 32]> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    let (pairs, odd) = text.as_bytes().as_chunks::<2>();
    let mut digest = [0; 32];
    let whole = odd.is_empty() && pairs.len() == digest.len();
    for (byte, [high, low]) in digest.iter_mut().zip(pairs) {
        let value = digit(high).zip(digit(low)).filter(|_| whole);
        let Some((high, low)) = value else {
            return not_sha256();
        };
        *byte = (high << 4 | low) as u8;
    }
    if whole { Ok(digest) } else { not_sha256() }
}

fn not_sha256<T>() -> Result<T> {
    wrong(
        "is no SHA-256 digest of 64 hexadecimal digits; write what `printf %s \"$KEY\" | sha256sum` prints first",
    )
}

/// Whether this build can check what needs cryptography.
fn crypto() -> Result<()> {
    match cfg!(feature = "identity") {
        true => Ok(()),
        false => wrong("cannot be checked by this build; build with the cargo feature `identity`"),
    }
}
