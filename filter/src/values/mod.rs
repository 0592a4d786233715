//! Values that every floor speaks in: units, the clock's readings, randomness, headers, addresses, base64, forms,
//! protobuf, a hash.

pub mod base64;
pub mod cidr;
pub mod clock;
pub mod form;
pub mod headers;
pub mod murmur3;
pub mod protobuf;
pub mod rng;
pub mod units;
