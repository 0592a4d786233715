//! What the flow may ask of the proxy it runs in: the time, and meters.
//!
//! Everything else a flow needs is handed to it, and everything it wants done it returns. A meter is
//! different: an in-flight count is shared by all workers, and it has to be read and stepped in the middle
//! of a decision. So is the time: most callbacks decide nothing that depends on it, and each reading is a
//! call to the host. The floors below take it as an argument.

use crate::values::clock::Instant;

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
pub trait Host {
    /// The monotonic clock.
    fn now(&mut self) -> Instant;

    /// Defines, or finds again, the meter `name`; `None` where the host refuses.
    fn define(&mut self, kind: Kind, name: &str) -> Option<Meter>;

    /// Adds `by` to a counter (`by` above 0) or a gauge.
    fn add(&mut self, meter: Meter, by: i64);

    /// Records `value` in a histogram.
    fn record(&mut self, meter: Meter, value: u64);

    /// The value over all workers; `None` where the host cannot tell.
    fn read(&mut self, meter: Meter) -> Option<u64>;
}
