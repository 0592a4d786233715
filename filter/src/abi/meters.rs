//! The host's metrics as the flow's meters.

use crate::ports::{Host, Kind, Meter};

use super::hostcalls;

/// The host of this VM. A metric that the host refuses is one that is not counted: traffic goes on.
pub struct Metrics;

impl Host for Metrics {
    fn define(&mut self, kind: Kind, name: &str) -> Option<Meter> {
        hostcalls::define_metric(kind, name).ok()
    }

    fn add(&mut self, meter: Meter, by: i64) {
        let _ = hostcalls::increment_metric(meter, by);
    }

    fn record(&mut self, meter: Meter, value: u64) {
        let _ = hostcalls::record_metric(meter, value);
    }

    fn read(&mut self, meter: Meter) -> Option<u64> {
        hostcalls::metric(meter).ok()
    }
}
