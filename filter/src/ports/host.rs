//! The proxy: its clocks, its meters, and what it knows of a stream.

use crate::values::clock::{Instant, UnixTime};

use super::Store;

/// A kind of meter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only ever grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Takes values and keeps their distribution.
    Histogram,
}

/// A meter as the host knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meter(pub u32);

/// The proxy. Its meters are shared by name over all workers and stepped atomically.
pub trait Host: Store {
    /// The monotonic clock.
    fn now(&mut self) -> Instant;

    /// The wall clock; `None` where the host has none. For what others have dated, and for nothing else.
    fn wall(&mut self) -> Option<UnixTime>;

    /// A property of the stream that is at work, by its path with a zero byte between the parts; `None` where
    /// there is none. The dearest of calls: 1 to 3 us.
    fn property(&mut self, path: &str) -> Option<Vec<u8>>;

    /// Defines, or finds again, the meter `name`; `None` where the host refuses.
    fn define(&mut self, kind: Kind, name: &str) -> Option<Meter>;

    /// Adds `by` to a counter (`by` above 0) or a gauge.
    fn add(&mut self, meter: Meter, by: i64);

    /// Records `value` in a histogram, or sets a gauge to it.
    fn record(&mut self, meter: Meter, value: u64);

    /// The value over all workers; `None` where the host cannot tell.
    fn read(&mut self, meter: Meter) -> Option<u64>;
}
