//! A counter of the host's that is added to in the worker, and told to the host on the tick.
//!
//! A counter changes no decision, so nobody waits for it: a request that counts three things would
//! otherwise make three calls to say what one call says for all requests of a tick.

use crate::ports::{Host, Kind, Meter};

/// A counter, and what the host has not been told yet.
#[derive(Debug, Default)]
pub(super) struct Counter {
    meter: Option<Meter>,
    untold: u32,
}

impl Counter {
    /// The counter `name`, or one that counts nothing where the host refuses it.
    pub fn define(host: &mut dyn Host, name: &str) -> Counter {
        Counter {
            meter: host.define(Kind::Counter, name),
            untold: 0,
        }
    }

    /// Counts `by`.
    pub fn add(&mut self, by: u32) {
        self.untold = self.untold.saturating_add(by);
    }

    /// Tells the host what it has not been told.
    pub fn tell(&mut self, host: &mut dyn Host) {
        let untold = std::mem::take(&mut self.untold);
        if let Some(meter) = self.meter.filter(|_| untold > 0) {
            host.add(meter, untold.into());
        }
    }
}
