//! Values that every floor speaks in: units, the clock's readings, randomness.

pub mod clock;
pub mod rng;
pub mod units;
