//! JSON Web Tokens (RFC 7519) in their compact, signed form (RFC 7515), held against what RFC 8725 recommends.
//!
//! A token is first held against the rules of the issuer that it claims, times and audience included, and only
//! then is a key looked for: a token that could not pass under any key has no key fetched for it, and costs
//! no signature.

use crate::config::{Issuer, Json, SignatureAlgorithm};
use crate::values::clock::UnixTime;

use super::base64url;
use super::fields::Fields;
use super::jwks::KeySet;

/// Seconds by which the issuer's clock and this one may differ.
pub const SKEW: u64 = 60;

/// Why a token does not tell who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Not three parts of strict base64url, or no strict JSON in them.
    Malformed,
    /// `crit` names what is not understood here, as nothing is.
    Critical,
    /// The claimed issuer is none of the configuration's.
    Issuer,
    /// `alg` is none of the issuer's.
    Algorithm,
    /// `aud` names none of the issuer's audiences.
    Audience,
    /// `exp` is missing.
    Endless,
    /// `exp` has passed.
    Expired,
    /// `nbf` is still to come.
    TooEarly,
    /// The claim that names the tenant is missing, or cannot name one.
    Tenant,
    /// Its issuer says that it is not in force.
    Inactive,
    /// The key set has no such key.
    UnknownKey,
    /// The key is there, and the signature is not its.
    Signature,
}

impl Fault {
    /// What its bearer is told.
    pub fn text(self) -> &'static str {
        match self {
            Fault::Malformed => "The bearer token is not a valid JWT.",
            Fault::Critical => {
                "The bearer token's header has critical parameters that are not understood here."
            }
            Fault::Issuer => "The bearer token's issuer is not accepted here.",
            Fault::Algorithm => "The bearer token's signature algorithm is not accepted here.",
            Fault::Audience => "The bearer token is for another audience.",
            Fault::Endless => "The bearer token does not say when it expires.",
            Fault::Expired => "The bearer token has expired.",
            Fault::TooEarly => "The bearer token is not valid yet.",
            Fault::Tenant => "The bearer token does not name its tenant.",
            Fault::Inactive => "The bearer token is not valid.",
            Fault::UnknownKey => "The bearer token's signing key is not known.",
            Fault::Signature => "The bearer token's signature is wrong.",
        }
    }
}

/// A token that would pass if its signature did.
#[derive(Clone, Debug)]
pub struct Jwt {
    /// The place of its issuer in the configuration.
    pub issuer: usize,
    /// Whom it speaks for; to be believed once it is verified.
    pub tenant: String,
    /// When it ends.
    pub expires: UnixTime,
    algorithm: SignatureAlgorithm,
    kid: Option<String>,
    /// Header and claims, as they were signed.
    signed: Vec<u8>,
    signature: Vec<u8>,
}

impl Jwt {
    /// Reads `token` at the time `now`.
    ///
    /// # Errors
    /// The first rule that it breaks.
    pub fn read(token: &str, issuers: &[Issuer], now: UnixTime) -> Result<Jwt, Fault> {
        let (signed, signature) = token.rsplit_once('.').ok_or(Fault::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(Fault::Malformed)?;
        let object = |part: &str| Fields::parse(&base64url::decode(part.as_bytes())?);
        let mut header = object(header).ok_or(Fault::Malformed)?;
        let mut claims = object(claims).ok_or(Fault::Malformed)?;
        if header.take("crit").is_some() {
            return Err(Fault::Critical);
        }
        let named = header.text("alg").ok_or(Fault::Malformed)?;
        let algorithm = named.and_then(|name| algorithm(&name));
        let kid = header.text("kid").ok_or(Fault::Malformed)?;
        let claimed = claims.text("iss").ok_or(Fault::Malformed)?;
        let known = |issuer: &Issuer| Some(issuer.name.as_str()) == claimed.as_deref();
        let place = issuers.iter().position(known).ok_or(Fault::Issuer)?;
        let issuer = issuers.get(place).ok_or(Fault::Issuer)?;
        let pinned = algorithm.filter(|algorithm| issuer.algorithms.contains(algorithm));
        let algorithm = pinned.ok_or(Fault::Algorithm)?;
        let audience = claims.take("aud").ok_or(Fault::Audience)?;
        is_for(audience, &issuer.audiences)?;
        let expires = claims.time("exp").ok_or(Fault::Malformed)?;
        let expires = expires.ok_or(Fault::Endless)?;
        if now.0 >= expires.saturating_add(SKEW) {
            return Err(Fault::Expired);
        }
        let from = claims.time("nbf").ok_or(Fault::Malformed)?;
        if from.is_some_and(|from| from > now.0.saturating_add(SKEW)) {
            return Err(Fault::TooEarly);
        }
        let tenant = claims.text(&issuer.tenant_claim).flatten();
        Ok(Jwt {
            issuer: place,
            tenant: tenant.and_then(super::tenant).ok_or(Fault::Tenant)?,
            expires: UnixTime(expires),
            algorithm,
            kid,
            signed: signed.as_bytes().to_vec(),
            signature: base64url::decode(signature.as_bytes()).ok_or(Fault::Malformed)?,
        })
    }

    /// Whether one of `keys` signed it.
    ///
    /// # Errors
    /// [`Fault::UnknownKey`] if there is none that could have, [`Fault::Signature`] if it did not.
    pub fn verify(&self, keys: &KeySet) -> Result<(), Fault> {
        let mut fault = Fault::UnknownKey;
        for key in keys.candidates(self.algorithm, self.kid.as_deref()) {
            if key.verifies(&self.signed, &self.signature) {
                return Ok(());
            }
            fault = Fault::Signature;
        }
        Err(fault)
    }
}

/// RFC 7518's names; RFC 9864 calls EdDSA by its curve.
fn algorithm(name: &str) -> Option<SignatureAlgorithm> {
    match name {
        "RS256" => Some(SignatureAlgorithm::Rs256),
        "ES256" => Some(SignatureAlgorithm::Es256),
        "EdDSA" | "Ed25519" => Some(SignatureAlgorithm::EdDsa),
        _ => None,
    }
}

/// Whether `audience`, one text or several, names one of ours.
pub(super) fn is_for(audience: Json, ours: &[String]) -> Result<(), Fault> {
    let named = match audience {
        Json::Array(named) => named,
        one => vec![one],
    };
    let mut fault = Err(Fault::Audience);
    for name in named {
        match name {
            Json::Text(name) if ours.contains(&name) => fault = Ok(()),
            Json::Text(_) => {}
            _ => return Err(Fault::Malformed),
        }
    }
    fault
}

#[cfg(all(test, feature = "jwt"))]
#[path = "jwt_tests.rs"]
mod tests;
