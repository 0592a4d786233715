//! An issuer of tokens, with a key of each kind.

use crypto_bigint::modular::runtime_mod::{DynResidue, DynResidueParams};
use crypto_bigint::{Encoding, U2048};
use junheng::values::base64;
use p256::ecdsa::signature::Signer;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// The key of RFC 7515, appendix A.2.
const N: &str = "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-\
         Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-\
         pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-\
         UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-\
         DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ";
const D: &str = "Eq5xpGnNCivDflJsRQBXHx1hdR1k6Ulwe2JZD50LpXyWPEAeP88vLNO97IjlA7_GQ5sLKMgvfTeXZx9SE-\
         7YwVol2NXOoAJe46sui395IW_GO-pWJ1O0BkTGoVEn2bKVRUCgu-GjBVaYLU6f3l9kJfFNS3E0QbVdxzubSu3Mkqzjkn439X\
         0M_V51gfpRLI9JYanrC4D4qAdGcopV_0ZHHzQlBjudU2QvXt4ehNYTCBr6XCLQUShb1juUO1ZdiYoFaFQT5Tw8bGUl_x_jTj\
         3ccPDVZFD9pIuhLhBOneufuBiB4cS98l2SR_RQyGWSeWjnczT0QU91p1DhOVRuOopznQ";

/// A private key. Those of one kind differ by their number, but for RSA's, which is one.
#[derive(Clone, Copy, Debug)]
pub enum Key {
    Rsa,
    P256(u8),
    Ed25519(u8),
}

impl Key {
    /// The public half, as a key set has it.
    pub fn jwk(self, kid: &str) -> Value {
        match self {
            Key::Rsa => json!({"kty": "RSA", "kid": kid, "use": "sig", "n": N, "e": "AQAB"}),
            Key::P256(seed) => {
                let point = p256(seed).verifying_key().to_encoded_point(false);
                let [x, y] = [point.x(), point.y()].map(|part| base64url(part.expect("a point")));
                json!({"kty": "EC", "crv": "P-256", "kid": kid, "alg": "ES256", "x": x, "y": y})
            }
            Key::Ed25519(seed) => {
                let x = base64url(ed25519(seed).verifying_key().as_bytes());
                json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": x})
            }
        }
    }

    /// A token with these claims, under this key's name and its algorithm.
    pub fn token(self, kid: &str, claims: &Value) -> String {
        let algorithm = match self {
            Key::Rsa => "RS256",
            Key::P256(_) => "ES256",
            Key::Ed25519(_) => "EdDSA",
        };
        self.sign(&json!({"alg": algorithm, "kid": kid}), claims)
    }

    /// A token with this header and these claims.
    pub fn sign(self, header: &Value, claims: &Value) -> String {
        let signed = unsigned(header, claims);
        let signature = match self {
            Key::Rsa => rs256(signed.as_bytes()),
            Key::P256(seed) => {
                let signature: p256::ecdsa::Signature = p256(seed).sign(signed.as_bytes());
                signature.to_bytes().to_vec()
            }
            Key::Ed25519(seed) => ed25519(seed).sign(signed.as_bytes()).to_bytes().to_vec(),
        };
        format!("{signed}.{}", base64url(&signature))
    }
}

/// The first two parts of a token.
pub fn unsigned(header: &Value, claims: &Value) -> String {
    let part = |part: &Value| base64url(part.to_string().as_bytes());
    format!("{}.{}", part(header), part(claims))
}

/// A token whose HMAC has the public RSA key as its secret: to whoever takes `alg` from the token, it is signed.
pub fn confused(claims: &Value) -> String {
    let signed = unsigned(&json!({"alg": "HS256", "kid": "rsa"}), claims);
    let secret = Sha256::digest(N);
    let pad = |with: u8| -> Vec<u8> {
        let mut block = secret.to_vec();
        block.resize(64, 0);
        block.iter().map(|byte| byte ^ with).collect()
    };
    let inner = Sha256::digest([pad(0x36), signed.as_bytes().to_vec()].concat());
    let outer = Sha256::digest([pad(0x5c), inner.to_vec()].concat());
    format!("{signed}.{}", base64url(&outer))
}

/// Unpadded, as tokens have it.
pub fn base64url(bytes: &[u8]) -> String {
    let padded = base64::encode(bytes);
    padded
        .trim_end_matches('=')
        .replace('+', "-")
        .replace('/', "_")
}

fn p256(seed: u8) -> p256::ecdsa::SigningKey {
    p256::ecdsa::SigningKey::from_slice(&[seed; 32]).expect("a key")
}

fn ed25519(seed: u8) -> ed25519_dalek::SigningKey {
    ed25519_dalek::SigningKey::from_bytes(&[seed; 32])
}

fn rs256(message: &[u8]) -> Vec<u8> {
    const INFO: &[u8] =
        b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20";
    let number = |text: &str| {
        let plain = text.replace('-', "+").replace('_', "/");
        U2048::from_be_slice(&base64::decode(plain.as_bytes()).expect("base64"))
    };
    let filler = [0xff; 256 - 3 - 19 - 32];
    let hash = Sha256::digest(message);
    let encoded = [&[0, 1][..], &filler, &[0], INFO, &hash].concat();
    let encoded = U2048::from_be_slice(&encoded);
    let power = DynResidue::new(&encoded, DynResidueParams::new(&number(N))).pow(&number(D));
    power.retrieve().to_be_bytes().to_vec()
}
