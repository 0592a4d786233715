//! The host that a flow asks: a clock, and what its workers share.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use junheng::ports::{Host, Kind, Meter, Store, Stored, Version};
use junheng::values::clock::{Instant, UnixTime};

/// A clock, and what workers share by name, as a host keeps it.
#[derive(Clone, Default)]
pub struct Meters {
    pub now: Rc<Cell<Instant>>,
    /// How far the wall clock was set forward, in nanoseconds.
    pub stepped: Rc<Cell<i64>>,
    /// Those of the stream at work.
    pub properties: Rc<RefCell<BTreeMap<String, Vec<u8>>>>,
    pub values: Rc<RefCell<Vec<(String, i64)>>>,
    pub shared: Rc<RefCell<BTreeMap<String, Stored>>>,
}

/// As Envoy does it.
impl Store for Meters {
    fn load(&mut self, key: &str) -> Option<Stored> {
        self.shared.borrow().get(key).cloned()
    }

    fn swap(&mut self, key: &str, bytes: &[u8], version: Version) -> bool {
        let mut shared = self.shared.borrow_mut();
        let known = shared.get(key).map_or(Version(0), |stored| stored.version);
        let fits = version == Version(0) || known == Version(0) || known == version;
        if fits {
            let stored = Stored {
                bytes: bytes.to_vec(),
                version: Version(known.0 + 1),
            };
            shared.insert(key.to_owned(), stored);
        }
        fits
    }

    fn put(&mut self, key: &str, bytes: &[u8]) {
        self.swap(key, bytes, Version(0));
    }
}

impl Host for Meters {
    fn now(&mut self) -> Instant {
        self.now.get()
    }

    fn wall(&mut self) -> Option<UnixTime> {
        let nanos = self.now.get().as_nanos() as i64 + self.stepped.get();
        Some(UnixTime(nanos as u64 / 1_000_000_000))
    }

    fn property(&mut self, path: &str) -> Option<Vec<u8>> {
        self.properties.borrow().get(path).cloned()
    }

    fn define(&mut self, _kind: Kind, name: &str) -> Option<Meter> {
        let mut meters = self.values.borrow_mut();
        let at = meters
            .iter()
            .position(|(known, _)| known == name)
            .unwrap_or_else(|| {
                meters.push((name.to_owned(), 0));
                meters.len() - 1
            });
        Some(Meter(at as u32))
    }

    fn add(&mut self, meter: Meter, by: i64) {
        self.values.borrow_mut()[meter.0 as usize].1 += by;
    }

    /// Sets what is no histogram, and counts what is one.
    fn record(&mut self, meter: Meter, value: u64) {
        let (name, now) = &mut self.values.borrow_mut()[meter.0 as usize];
        *now = if name.ends_with("_ms") {
            *now + 1
        } else {
            value as i64
        };
    }

    fn read(&mut self, meter: Meter) -> Option<u64> {
        Some(self.values.borrow()[meter.0 as usize].1 as u64)
    }
}
