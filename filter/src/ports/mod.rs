//! What the flow may ask of the proxy it runs in: nothing but meters.
//!
//! Everything else a flow needs is handed to it (headers, bodies, the time), and everything it wants
//! done it returns. Meters are different: an in-flight count is shared by all workers, and it has to be
//! read and stepped in the middle of a decision.

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

/// The host's meters: shared by name over all workers, stepped atomically.
pub trait Host {
    /// Defines, or finds again, the meter `name`; `None` where the host refuses.
    fn define(&mut self, kind: Kind, name: &str) -> Option<Meter>;

    /// Adds `by` to a counter (`by` above 0) or a gauge.
    fn add(&mut self, meter: Meter, by: i64);

    /// Records `value` in a histogram.
    fn record(&mut self, meter: Meter, value: u64);

    /// The value over all workers; `None` where the host cannot tell.
    fn read(&mut self, meter: Meter) -> Option<u64>;
}
