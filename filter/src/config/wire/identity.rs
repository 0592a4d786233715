//! Who may call, as the configuration is written.

use super::{Introspection, Jwt};
use crate::config::Secret;
use crate::config::read::{choices, objects};

objects! {
    /// Who may call, and who a caller is.
    pub struct Identity {
        /// A header that names the tenant. It is believed: something in front must set it, or remove the client's own.
        pub tenant_header: Option<String>,
        /// How many trusted proxies in front of this one write `x-forwarded-for`, as Envoy's `xff_num_trusted_hops`: 0 to 16. 0 if absent: the client's address is what the proxy takes for it.
        pub trusted_hops: Option<u8>,
        /// From where requests may come.
        pub addresses: Addresses = default,
        /// API keys, each of which shows its tenant.
        pub keys: Option<Keys>,
        /// Requests signed with shared secrets, each of which shows its tenant.
        pub signatures: Option<Signatures>,
        /// The tenant as Envoy's `jwt_authn` filter, in front of this one, has verified it.
        pub jwt_authn: Option<JwtAuthn>,
        /// Issuers whose JWTs are accepted as bearer tokens; at most 16.
        pub jwt: Vec<Jwt> = default,
        /// Where to ask about bearer tokens that are no JWTs.
        pub introspection: Option<Introspection>,
        /// What becomes of a request that shows nothing of what is asked for here; `refuse` if absent.
        pub anonymous: Option<Anonymous>,
    }

    /// API keys. What is written here are their SHA-256 digests: `printf %s "$KEY" | sha256sum`.
    pub struct Keys {
        /// The header that holds the key; if absent `authorization` as `Bearer KEY`, or `x-api-key`.
        pub header: Option<String>,
        /// Whether that header goes upstream; `false` if absent.
        pub forward: Option<bool>,
        /// Whose keys they are; 1 to 1024.
        pub tenants: Vec<KeysOfTenant>,
    }

    /// A tenant's API keys.
    pub struct KeysOfTenant {
        /// The tenant: 1 to 64 bytes, no control characters.
        pub tenant: String,
        /// The SHA-256 digest of each of its keys, as 64 hexadecimal digits; 1 to 16.
        pub sha256: Vec<String>,
    }

    /// Requests signed by HMAC-SHA256 as HTTP Message Signatures have it (RFC 9421).
    pub struct Signatures {
        /// The shared secrets; 1 to 1024.
        pub keys: Vec<SigningKey>,
        /// How many nonces the proxy remembers, each for 5 minutes: 16384 to 4194304; 1048576 if absent. A key has a sixteenth of them, or less among more than 16 keys; when that has no room its requests are refused.
        pub nonces: Option<u32>,
    }

    /// A shared secret.
    pub struct SigningKey {
        /// Names it in a signature, as `keyid`: 1 to 64 of a-z, 0-9, `_` and `-`.
        pub id: String,
        /// Whose it is: 1 to 64 bytes, no control characters.
        pub tenant: String,
        /// 32 to 256 visible ASCII characters, like what `openssl rand -hex 32` prints; the key is their bytes.
        #[cfg_attr(not(target_arch = "wasm32"), schemars(with = "String"))]
        pub secret: Secret,
    }

    /// A claim of a token that Envoy's `jwt_authn` filter has verified.
    pub struct JwtAuthn {
        /// The `payload_in_metadata` of its provider.
        pub payload: String,
        /// The claim whose text names the tenant.
        pub claim: String,
    }

    /// From where requests may come: ranges like `10.0.0.0/8`, `2001:db8::/32` or `192.0.2.7`.
    pub struct Addresses {
        /// From these only; from anywhere if empty. At most 4096.
        pub allow: Vec<String> = default,
        /// Never from these, whatever `allow` says. At most 4096.
        pub deny: Vec<String> = default,
    }
}

choices! {
    /// What becomes of a request that shows nothing of its caller.
    pub enum Anonymous {
        /// It is answered 401.
        #[default]
        Refuse = "refuse",
        /// It is let in, without a tenant or with the one that `tenant_header` names.
        Allow = "allow",
    }
}
