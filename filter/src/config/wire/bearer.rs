//! Bearer tokens, as their configuration is written.

use crate::config::Secret;
use crate::config::read::{choices, objects};

objects! {
    /// An issuer whose JWTs are accepted as bearer tokens.
    pub struct Jwt {
        /// `iss`, to the letter.
        pub issuer: String,
        /// Who a token must be for: its `aud` names one of these; 1 to 32.
        pub audiences: Vec<String>,
        /// What tokens may be signed with; any of the three if absent.
        pub algorithms: Option<Vec<SignatureAlgorithm>>,
        /// Where the issuer's keys are.
        pub jwks: Jwks,
        /// The claim that names the tenant, a text; `sub` if absent.
        pub tenant_claim: Option<String>,
    }

    /// An issuer's key set (RFC 7517). It is read at the start, again and again, and once more for a key that is not known.
    pub struct Jwks {
        /// The proxy's cluster through which the issuer is reached.
        pub cluster: String,
        /// The host to ask for, as `:authority`.
        pub authority: String,
        /// The path, like `/.well-known/jwks.json`.
        pub path: String,
        /// How often: `10s` to `24h`; `10m` if absent.
        pub refresh: Option<String>,
        /// How long an answer may take: `10ms` to `30s`; `5s` if absent.
        pub timeout: Option<String>,
    }

    /// Where to ask about bearer tokens that are no JWTs (RFC 7662).
    pub struct Introspection {
        /// The proxy's cluster through which the issuer is reached.
        pub cluster: String,
        /// The host to ask for, as `:authority`.
        pub authority: String,
        /// The path of its introspection endpoint.
        pub path: String,
        /// As whom to ask.
        pub client_id: String,
        /// Its secret, shown by HTTP's basic authentication.
        #[cfg_attr(not(target_arch = "wasm32"), schemars(with = "String"))]
        pub client_secret: Secret,
        /// Who a token must be for: the answer's `aud` names one of these; at most 32. For anybody if empty.
        pub audiences: Vec<String> = default,
        /// The field of the answer that names the tenant, a text; `client_id` if absent.
        pub tenant_claim: Option<String>,
        /// How long an answer may take: `10ms` to `30s`; `5s` if absent.
        pub timeout: Option<String>,
        /// How long an answer holds at most, and so how long a token lives on that has been revoked: `0s` to `1h`; `60s` if absent.
        pub cache: Option<String>,
        /// How many answers a worker keeps: 16 to 65536; 1024 if absent.
        pub cache_entries: Option<u32>,
    }
}

choices! {
    /// How a token is signed.
    pub enum SignatureAlgorithm {
        /// RSA with SHA-256; keys of 2048 to 4096 bits.
        #[default]
        Rs256 = "RS256",
        /// ECDSA on the curve P-256 with SHA-256.
        Es256 = "ES256",
        /// EdDSA on the curve Ed25519.
        EdDsa = "EdDSA",
    }
}
