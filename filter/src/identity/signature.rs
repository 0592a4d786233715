//! Requests signed with a shared secret: HMAC-SHA256 as HTTP Message Signatures have it (RFC 9421 §3.3.3), the body by
//! its Content-Digest (RFC 9530).
//!
//! A profile of the RFC, in which each request has one reading. One signature a request; it covers `@method`, `@path`,
//! `@query`, and `content-digest` where there is a body, in any order; beside them `@authority` and any header field.
//! Its parameters are `created`, `nonce` and `keyid`, and if they are there `alg="hmac-sha256"`, `expires` and `tag`. Texts hold
//! no escapes, components no parameters, and the header is written as the RFC serializes it, so that the bytes that
//! came are the ones that were signed. What is beyond that is refused, not ignored.
//!
//! Everything is taken from the very headers and body that the request is routed by. The signature is checked when the
//! headers have come, so that no body is held for a stranger; what the body must be is known from then on.

use std::borrow::Cow;

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::config::{Identity, Signatures};
use crate::values::clock::UnixTime;
use crate::values::headers::Headers;

use super::Denial;
use super::signature_input::{self, Input};

/// The headers that make a signed request.
pub const HEADERS: [&str; 3] = ["signature", "signature-input", "content-digest"];

/// How far a signature's date may be from now, in seconds, before and after.
pub const SKEW: u64 = 300;

/// A signature that holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// Whose secret made it.
    pub tenant: String,
    /// Which secret that was: its name.
    pub key: String,
    /// What it says of the body.
    pub body: Owed,
    /// Stands for its key and nonce: no other request of the window may have the same.
    pub mark: u64,
    /// The last moment at which it holds.
    pub until: UnixTime,
}

/// What the body of a request has to be: of this SHA-256 digest, or if there is none, empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owed(Option<[u8; 32]>);

/// Why a signature does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Not written as the profile has it.
    Malformed,
    /// It leaves out what it must cover.
    Uncovered,
    /// Not made with a secret that is known here, or over something else.
    Wrong,
    /// Its date is too far from now.
    Dated,
    /// The body is not the one that was signed.
    Body,
    /// Its nonce has been there.
    Replayed,
    /// Whether it has been there cannot be told.
    Full,
}

/// Whether a request claims to be signed.
pub fn is_shown(headers: &Headers) -> bool {
    headers.first("signature-input").is_some() || headers.first("signature").is_some()
}

/// What the signature of a request with these headers shows.
///
/// # Errors
/// Why it shows nothing.
pub fn verify(config: &Signatures, headers: &Headers, now: UnixTime) -> Result<Signed, Fault> {
    let (input, signature) = signature_input::read(headers).ok_or(Fault::Malformed)?;
    let covers = |name| input.components.contains(&name);
    if !["@method", "@path", "@query"].into_iter().all(covers) {
        return Err(Fault::Uncovered);
    }
    let key = config.keys.iter().find(|key| key.id == input.keyid);
    let key = key.ok_or(Fault::Wrong)?;
    let base = base(&input, headers).ok_or(Fault::Malformed)?;
    if !is_made_with(key.secret.reveal(), &base, &signature) {
        return Err(Fault::Wrong);
    }
    let created = UnixTime(input.created);
    let expired = input.expires.is_some_and(|expires| expires < now.0);
    if created.distance(now) > SKEW || expired {
        return Err(Fault::Dated);
    }
    let digest = covers("content-digest").then(|| digest(headers).ok_or(Fault::Malformed));
    Ok(Signed {
        tenant: key.tenant.clone(),
        key: key.id.clone(),
        body: Owed(digest.transpose()?),
        mark: mark(&input),
        until: UnixTime(created.0.saturating_add(SKEW)),
    })
}

impl Owed {
    /// Holds `body` against what was signed.
    ///
    /// # Errors
    /// Where it is another.
    pub fn settle(&self, body: &[u8]) -> Result<(), Fault> {
        let same = match &self.0 {
            Some(signed) => <[u8; 32]>::from(Sha256::digest(body)).ct_eq(signed).into(),
            None => body.is_empty(),
        };
        if same { Ok(()) } else { Err(Fault::Body) }
    }
}

impl Fault {
    /// What the caller is told.
    pub fn denial(self, config: &Identity) -> Denial {
        let (code, message) = match self {
            Fault::Malformed => (
                "invalid_signature",
                "The request's signature is not one of RFC 9421 as it is asked for here; see the documentation.",
            ),
            Fault::Uncovered => (
                "invalid_signature",
                "The signature must cover @method, @path and @query, and content-digest where there is a body.",
            ),
            Fault::Wrong => (
                "invalid_signature",
                "The signature is not one of a key that is known here over this request.",
            ),
            Fault::Dated => (
                "signature_out_of_date",
                "The signature's date is more than 300 seconds from now, or it has expired; check the clock and sign anew.",
            ),
            Fault::Body => (
                "body_not_signed",
                "The body is not the one whose digest was signed.",
            ),
            Fault::Replayed => (
                "signature_replayed",
                "A request with this nonce has been here; sign each request anew.",
            ),
            Fault::Full => {
                return Denial {
                    status: 503,
                    code: "nonces_full",
                    message: "Whether the signature has been here cannot be told at the moment; sign anew and try again.",
                    authenticate: None,
                    retry_after: Some(1),
                };
            }
        };
        Denial::unauthorized(config, code, message)
    }
}

/// What is signed (RFC 9421 §2.5); `None` where something is covered that is not there.
fn base(input: &Input<'_>, headers: &Headers) -> Option<Vec<u8>> {
    let mut base = Vec::with_capacity(512);
    for name in &input.components {
        let value = component(name, headers)?;
        for part in [&b"\""[..], name.as_bytes(), b"\": ", &value, b"\n"] {
            base.extend_from_slice(part);
        }
    }
    base.extend_from_slice(b"\"@signature-params\": ");
    base.extend_from_slice(input.params.as_bytes());
    Some(base)
}

fn component<'a>(name: &str, headers: &'a Headers) -> Option<Cow<'a, [u8]>> {
    let target = || {
        let path = headers.first(":path")?;
        let query = path.iter().position(|&byte| byte == b'?');
        path.split_at_checked(query.unwrap_or(path.len()))
    };
    Some(match name {
        "@method" => headers.first(":method")?.into(),
        "@path" => target()?.0.into(),
        // Without a query it is the question mark alone (§2.2.7).
        "@query" => match target()?.1 {
            b"" => b"?".into(),
            query => query.into(),
        },
        "@authority" => headers.first(":authority")?.to_ascii_lowercase().into(),
        _ if name.starts_with(['@', ':']) => return None,
        _ => {
            let values: Vec<&[u8]> = headers.all(name).map(<[u8]>::trim_ascii).collect();
            if values.is_empty() {
                return None;
            }
            values.join(&b", "[..]).into()
        }
    })
}

fn is_made_with(secret: &str, base: &[u8], signature: &[u8]) -> bool {
    // An HMAC takes keys of any length, and compares in constant time.
    Hmac::<Sha256>::new_from_slice(secret.as_bytes())
        .is_ok_and(|mac| mac.chain_update(base).verify_slice(signature).is_ok())
}

/// The SHA-256 digest in the request's only Content-Digest.
fn digest(headers: &Headers) -> Option<[u8; 32]> {
    let members = signature_input::only(headers, "content-digest")?.split(',');
    let mut digests = members.filter_map(|member| member.trim_ascii().strip_prefix("sha-256="));
    let (digest, other) = (digests.next()?, digests.next());
    let bytes = signature_input::bytes(digest)?;
    bytes.try_into().ok().filter(|_| other.is_none())
}

fn mark(input: &Input<'_>) -> u64 {
    let digest = Sha256::new()
        .chain_update(input.keyid)
        .chain_update([0])
        .chain_update(input.nonce)
        .finalize();
    digest
        .first_chunk()
        .map_or(0, |first| u64::from_le_bytes(*first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::base64;

    /// RFC 9421 §B.2.5, with its secret of §B.1.5 in base64.
    #[test]
    fn the_example_of_the_rfc_holds() {
        let secret = "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==";
        let headers = Headers::from_pairs([
            (":method", "POST"),
            (":path", "/foo?param=Value&Pet=dog"),
            (":authority", "example.com"),
            ("Date", "Tue, 20 Apr 2021 02:07:55 GMT"),
            ("Content-Type", "application/json"),
        ]);
        let params = "(\"date\" \"@authority\" \"content-type\");created=1618884473;keyid=\"test-shared-secret\"";
        let input = Input {
            params,
            components: vec!["date", "@authority", "content-type"],
            created: 1_618_884_473,
            expires: None,
            nonce: "",
            keyid: "test-shared-secret",
        };
        let base = base(&input, &headers).unwrap();
        let secret = base64::decode(secret.as_bytes()).unwrap();
        let mac = Hmac::<Sha256>::new_from_slice(&secret).unwrap();
        let made = mac.chain_update(&base).finalize().into_bytes();
        let expected = base64::decode(b"pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=").unwrap();
        assert_eq!(made[..], expected[..], "{}", String::from_utf8_lossy(&base));
    }

    #[test]
    fn components_are_what_the_rfc_says_they_are() {
        let headers = Headers::from_pairs([
            (":method", "GET"),
            (":path", "/a/b?x=1&y=?"),
            (":authority", "Example.COM:8080"),
            ("X-A", " 1 "),
            ("x-a", "2"),
        ]);
        let is =
            |name| component(name, &headers).map(|value| String::from_utf8(value.into()).unwrap());
        assert_eq!(is("@path").as_deref(), Some("/a/b"));
        assert_eq!(is("@query").as_deref(), Some("?x=1&y=?"));
        assert_eq!(is("@authority").as_deref(), Some("example.com:8080"));
        assert_eq!(is("x-a").as_deref(), Some("1, 2"));
        for name in ["x-b", "@target-uri", "@signature-params", ":path"] {
            assert_eq!(is(name), None, "{name}");
        }
        let bare = Headers::from_pairs([(":path", "/a")]);
        assert_eq!(component("@query", &bare).as_deref(), Some(&b"?"[..]));
    }
}
