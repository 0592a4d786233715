//! Values that every floor speaks in: units, the clock's readings, randomness, headers, addresses, base64, a
//! hash.

pub mod base64;
pub mod cidr;
pub mod clock;
pub mod headers;
pub mod murmur3;
pub mod rng;
pub mod units;
