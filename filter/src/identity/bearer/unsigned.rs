//! A build without the feature `jwt` has no signatures, and so no keys.

use crate::config::SignatureAlgorithm;

/// A public key; there is none.
#[derive(Debug)]
pub(super) enum Key {}

impl Key {
    /// None.
    pub fn rsa(_: &[u8], _: &[u8]) -> Option<Key> {
        None
    }

    /// None.
    pub fn p256(_: &[u8], _: &[u8]) -> Option<Key> {
        None
    }

    /// None.
    pub fn ed25519(_: &[u8]) -> Option<Key> {
        None
    }

    /// The algorithm that keys of this kind are for.
    pub fn algorithm(&self) -> SignatureAlgorithm {
        match *self {}
    }

    /// Whether `signature` is this key's of `message`.
    pub fn verifies(&self, _: &[u8], _: &[u8]) -> bool {
        match *self {}
    }
}
