//! Values that every floor speaks in: units, the clock's readings, randomness, headers.

pub mod clock;
pub mod headers;
pub mod rng;
pub mod units;
