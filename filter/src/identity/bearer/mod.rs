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

/// The token in a request's only `authorization` header, if it is a bearer's.
pub fn token(headers: &Headers) -> Option<&str> {
    let mut values = headers.all("authorization");
    let (value, other) = (values.next()?, values.next());
    let (scheme, token) = std::str::from_utf8(value).ok()?.split_once(' ')?;
    let token = token.trim_ascii();
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte);
    (other.is_none()
        && scheme.eq_ignore_ascii_case("bearer")
        && (1..=MOST_TOKEN_BYTES).contains(&token.len())
        && token.bytes().all(fine))
    .then_some(token)
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
        for (values, expected) in [
            (&["Bearer abc.def"][..], Some("abc.def")),
            (&["bEARER abc"], Some("abc")),
            (&["Bearer   abc=="], Some("abc==")),
            (&["Bearer "], None),
            (&["Bearer"], None),
            (&["Basic abc"], None),
            (&["Bearer a b"], None),
            (&["Bearer a,b"], None),
            (&["Bearer \u{e9}"], None),
            (&["Bearer abc", "Bearer abc"], None),
            (&[], None),
        ] {
            let headers = Headers::from_pairs(values.iter().map(|value| ("authorization", value)));
            assert_eq!(token(&headers), expected, "{values:?}");
        }
        let long =
            |size| Headers::from_pairs([("authorization", format!("Bearer {}", "a".repeat(size)))]);
        assert!(token(&long(MOST_TOKEN_BYTES)).is_some());
        assert!(token(&long(MOST_TOKEN_BYTES + 1)).is_none());
    }
}
