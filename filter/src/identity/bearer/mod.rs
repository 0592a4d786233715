//! OAuth 2.0 bearer tokens (RFC 6750): JWTs whose signature is checked here, and opaque ones that their issuer
//! is asked about.
//!
//! Which of the two a token is, its shape tells, and a JWT's issuer, by exact comparison, tells whose rules and whose keys it is
//! held against. Nothing else in a token is believed before its signature has been checked: the key's type
//! decides the algorithm, as the configuration and the key set have it, and the token's `alg` only has to agree. So there is
//! no `none`, and no public key is ever the secret of an HMAC, as none is known here (RFC 8725 §3.1). Addresses
//! of keys in a token's header (`jku`, `x5u`, `jwk`) are never followed.
//!
//! A whole JWT library was weighed against this: `jsonwebtoken` on RustCrypto is 700 KB of the artifact, most of
//! it for signing, curves and key formats that no key set has.
//!
//! What fails is told by fixed texts ([`Fault`]): nothing of a token ever enters a message or a metric.

mod base64url;
mod fields;
mod introspection;
mod jwks;
mod jwt;
mod remembered;
#[cfg(feature = "jwt")]
mod signature;
#[cfg(not(feature = "jwt"))]
#[path = "unsigned.rs"]
mod signature;

pub use introspection::{Answer, answer, form};
pub use jwks::{KeySet, MOST_DOCUMENT_BYTES};
pub use jwt::{Fault, Jwt, SKEW};
pub use remembered::{Digest, Remembered, digest};

use crate::values::headers::Headers;

/// A token longer than this is refused unread. Header blocks of servers end at 8 KiB, too.
pub const MOST_TOKEN_BYTES: usize = 8 * 1024;

/// A tenant's name is no longer than this.
const MOST_TENANT_BYTES: usize = 256;

/// The bearer token that a request shows; `None` if it shows none.
///
/// # Errors
/// [`Fault::Malformed`] if what it shows cannot be one, or is not one only.
pub fn token(headers: &Headers) -> Option<Result<&str, Fault>> {
    let mut shown = headers.all("authorization").filter_map(credentials);
    let (token, other) = (shown.next()?, shown.next());
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    let fine = other.is_none()
        && (1..=MOST_TOKEN_BYTES).contains(&token.len())
        && token.iter().copied().all(fine);
    let token = std::str::from_utf8(token).ok().filter(|_| fine);
    Some(token.ok_or(Fault::Malformed))
}

/// What follows the scheme, if that is `Bearer`.
fn credentials(value: &[u8]) -> Option<&[u8]> {
    const SCHEME: &[u8] = b"bearer";
    let (scheme, rest) = value.split_at_checked(SCHEME.len())?;
    let ends = rest.first().is_none_or(u8::is_ascii_whitespace);
    (scheme.eq_ignore_ascii_case(SCHEME) && ends).then_some(rest.trim_ascii())
}

/// Whether `token` has the shape of a signed JWT: three parts, the first of which begins as every JSON object does
/// in base64url.
pub fn is_jwt(token: &str) -> bool {
    token.starts_with("ey") && token.bytes().filter(|byte| *byte == b'.').count() == 2
}

/// `name` as a tenant's, if it can be one: a claim may hold anything.
fn tenant(name: String) -> Option<String> {
    let fine = (1..=MOST_TENANT_BYTES).contains(&name.len()) && !name.contains(char::is_control);
    fine.then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_what_one_bearer_header_holds() {
        const MALFORMED: Option<Result<&str, Fault>> = Some(Err(Fault::Malformed));
        for (values, expected) in [
            (&["Bearer abc.def"][..], Some(Ok("abc.def"))),
            (&["bEARER abc"], Some(Ok("abc"))),
            (&["Bearer   abc=="], Some(Ok("abc=="))),
            (&["Basic abc", "Bearer abc"], Some(Ok("abc"))),
            (&["Bearer "], MALFORMED),
            (&["Bearer"], MALFORMED),
            (&["Bearer a b"], MALFORMED),
            (&["Bearer a,b"], MALFORMED),
            (&["Bearer \u{e9}"], MALFORMED),
            (&["Bearer abc", "Bearer abc"], MALFORMED),
            (&["Basic abc"], None),
            (&["Bearers abc"], None),
            (&[], None),
        ] {
            let headers = Headers::from_pairs(values.iter().map(|value| ("authorization", value)));
            assert_eq!(token(&headers), expected, "{values:?}");
        }
        let of = |size| [("authorization", format!("Bearer {}", "a".repeat(size)))];
        let (most, more) = (of(MOST_TOKEN_BYTES), of(MOST_TOKEN_BYTES + 1));
        assert!(token(&Headers::from_pairs(most)).is_some_and(|token| token.is_ok()));
        assert_eq!(token(&Headers::from_pairs(more)), MALFORMED);
    }
}
