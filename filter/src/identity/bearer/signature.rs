//! Signatures, checked and never made: RS256, ES256 and EdDSA over Ed25519 (RFC 7518 §3, RFC 8037), with RustCrypto's
//! arithmetic.
//!
//! RSA is taken from `crypto-bigint` and not from `rsa`: to check a signature is one power modulo `n` and one
//! comparison, and the crate would add its paddings, its key formats and an open advisory about
//! decryption. The comparison is with the one encoding that RFC 8017 §8.2.2 allows: one that is parsed can be forged
//! (CVE-2006-4339). Every number here is public, and nothing has to take the same time for all of them.

use crypto_bigint::modular::runtime_mod::{DynResidue, DynResidueParams};
use crypto_bigint::{Encoding, U4096};
use p256::ecdsa::signature::Verifier;
use sha2::{Digest, Sha256};

use crate::config::SignatureAlgorithm;

/// A public key.
#[derive(Debug)]
pub(super) enum Key {
    Rsa(Box<Rsa>),
    P256(Box<p256::ecdsa::VerifyingKey>),
    Ed25519(Box<ed25519_dalek::VerifyingKey>),
}

/// An RSA key; numbers of all its sizes are calculated with in the largest, so that there is one code for them.
#[derive(Debug)]
pub(super) struct Rsa {
    modulus: DynResidueParams<{ U4096::LIMBS }>,
    exponent: u32,
    /// Of the modulus, in bytes; a signature has as many.
    size: usize,
}

/// From the 2048 bits that RFC 7518 demands to the most that anybody signs tokens with.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=LARGEST;
const LARGEST: usize = U4096::BYTES;

impl Key {
    /// An RSA key of modulus `n` and exponent `e`, both big endian.
    pub fn rsa(n: &[u8], e: &[u8]) -> Option<Key> {
        let [.., lowest] = n else {
            return None;
        };
        let fine = RSA_BYTES.contains(&n.len()) && n.first() != Some(&0) && lowest % 2 == 1;
        let exponent = e.iter().try_fold(0u32, |sum, byte| {
            Some(sum.checked_mul(256)? | u32::from(*byte))
        })?;
        if !fine || exponent < 3 || exponent % 2 == 0 {
            return None;
        }
        Some(Key::Rsa(Box::new(Rsa {
            modulus: DynResidueParams::new(&number(n)?),
            exponent,
            size: n.len(),
        })))
    }

    /// A key on the curve P-256.
    pub fn p256(x: &[u8], y: &[u8]) -> Option<Key> {
        let [x, y]: [[u8; 32]; 2] = [x.try_into().ok()?, y.try_into().ok()?];
        let point = p256::EncodedPoint::from_affine_coordinates(&x.into(), &y.into(), false);
        let key = p256::ecdsa::VerifyingKey::from_encoded_point(&point).ok()?;
        Some(Key::P256(Box::new(key)))
    }

    /// A key on the curve Ed25519.
    pub fn ed25519(x: &[u8]) -> Option<Key> {
        let key = ed25519_dalek::VerifyingKey::from_bytes(x.try_into().ok()?).ok()?;
        (!key.is_weak()).then(|| Key::Ed25519(Box::new(key)))
    }

    /// The algorithm that keys of this kind are for.
    pub fn algorithm(&self) -> SignatureAlgorithm {
        match self {
            Key::Rsa(_) => SignatureAlgorithm::Rs256,
            Key::P256(_) => SignatureAlgorithm::Es256,
            Key::Ed25519(_) => SignatureAlgorithm::EdDsa,
        }
    }

    /// Whether `signature` is this key's of `message`.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match self {
            Key::Rsa(key) => key.verifies(message, signature).unwrap_or(false),
            Key::P256(key) => p256::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
            Key::Ed25519(key) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(message, &signature).is_ok()),
        }
    }
}

impl Rsa {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    fn verifies(&self, message: &[u8], signature: &[u8]) -> Option<bool> {
        let signature = number(signature).filter(|_| signature.len() == self.size)?;
        if signature >= *self.modulus.modulus() {
            return None;
        }
        let base = DynResidue::new(&signature, self.modulus);
        let mut power = base;
        // The highest bit is the base itself; what follows is squared, and where it is set multiplied.
        for bit in (0..self.exponent.ilog2()).rev() {
            power = power.square();
            if (self.exponent >> bit) & 1 == 1 {
                power = power.mul(&base);
            }
        }
        let expected = number(&encoded(message, self.size))?;
        Some(power.retrieve() == expected)
    }
}

/// EMSA-PKCS1-v1_5 (RFC 8017 §9.2) of `message`, in `size` bytes.
fn encoded(message: &[u8], size: usize) -> Vec<u8> {
    const SHA256_INFO: [u8; 19] = [
        0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01,
        0x05, 0x00, 0x04, 0x20,
    ];
    let hash = Sha256::digest(message);
    let filled = size.saturating_sub(
        SHA256_INFO
            .len()
            .saturating_add(hash.len())
            .saturating_add(1),
    );
    let mut encoded = vec![0xff; filled];
    for (place, byte) in encoded.iter_mut().zip([0, 1]) {
        *place = byte;
    }
    encoded.push(0);
    encoded.extend(SHA256_INFO);
    encoded.extend(hash);
    encoded
}

/// The number that `bytes` are, big endian, if it is not too large.
fn number(bytes: &[u8]) -> Option<U4096> {
    let mut padded = [0; LARGEST];
    let from = LARGEST.checked_sub(bytes.len())?;
    padded.get_mut(from..)?.copy_from_slice(bytes);
    Some(U4096::from_be_bytes(padded))
}

#[cfg(test)]
#[path = "signature_tests.rs"]
mod tests;
