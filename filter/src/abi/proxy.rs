//! The host's clock, metrics and shared data, as the flow asks for them.

use crate::ports::{Host, Kind, Meter, Store, Stored, Version};
use crate::values::clock::{Instant, UnixTime};

use super::hostcalls::{self, CAS_MISMATCH, Failed};

/// The host of this VM. A metric that the host refuses is one that is not counted: traffic goes on.
pub struct Proxy;

impl Host for Proxy {
    /// The clock's origin if the host has none: every duration is then zero, and no decision impossible.
    fn now(&mut self) -> Instant {
        hostcalls::now().unwrap_or_default()
    }

    fn wall(&mut self) -> Option<UnixTime> {
        hostcalls::wall()
    }

    fn property(&mut self, path: &str) -> Option<Vec<u8>> {
        hostcalls::property(path).ok()
    }

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

impl Store for Proxy {
    fn load(&mut self, key: &str) -> Option<Stored> {
        hostcalls::shared(key).ok()
    }

    fn swap(&mut self, key: &str, bytes: &[u8], version: Version) -> bool {
        hostcalls::share(key, bytes, version).is_ok()
    }

    /// Version 0 is none: Envoy then writes whatever is there, nginx only where nothing is.
    fn put(&mut self, key: &str, bytes: &[u8]) {
        let written = hostcalls::share(key, bytes, Version(0));
        if written == Err(Failed(CAS_MISMATCH))
            && let Some(stored) = self.load(key)
        {
            let _ = hostcalls::share(key, bytes, stored.version);
        }
    }
}
