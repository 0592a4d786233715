//! Workers on threads of their own, that race for one budget.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use junheng::config::Config;
use junheng::flow::{Member, Stream, Verdict, Worker};
use junheng::ports::{Host, Kind, Meter, Store, Stored, Version};
use junheng::values::clock::{Instant, UnixTime};
use junheng::values::headers::Headers;

/// Shared data as Envoy keeps it, under one lock; time stands.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Values>>);

/// Each with its version.
type Values = BTreeMap<String, (Vec<u8>, u32)>;

impl Store for Shared {
    fn load(&mut self, key: &str) -> Option<Stored> {
        let all = self.0.lock().expect("no panic");
        let (bytes, version) = all.get(key)?.clone();
        Some(Stored {
            bytes,
            version: Version(version),
        })
    }

    fn swap(&mut self, key: &str, bytes: &[u8], version: Version) -> bool {
        let mut all = self.0.lock().expect("no panic");
        let known = all.get(key).map_or(0, |(_, version)| *version);
        let fits = version == Version(0) || known == 0 || known == version.0;
        if fits {
            all.insert(key.to_owned(), (bytes.to_vec(), known + 1));
        }
        fits
    }

    fn put(&mut self, key: &str, bytes: &[u8]) {
        self.swap(key, bytes, Version(0));
    }
}

impl Host for Shared {
    fn now(&mut self) -> Instant {
        Instant::from_nanos(1 << 40)
    }

    fn wall(&mut self) -> Option<UnixTime> {
        None
    }

    fn property(&mut self, _: &str) -> Option<Vec<u8>> {
        None
    }

    fn define(&mut self, _: Kind, _: &str) -> Option<Meter> {
        None
    }

    fn add(&mut self, _: Meter, _: i64) {}

    fn record(&mut self, _: Meter, _: u64) {}

    fn read(&mut self, _: Meter) -> Option<u64> {
        None
    }
}

#[test]
fn threads_that_race_for_a_budget_never_get_more_than_it_has() {
    const EACH: usize = 2_000;
    let config = super::config(serde_json::json!([
        {"name": "one", "requests": {"limit": 5_000, "per": "1h"}},
        {"name": "two", "requests": {"limit": 3_000, "per": "1h"}},
    ]))
    .to_string();
    let shared = Shared::default();
    let worker = |id: u64| {
        let config = Config::from_json(config.as_bytes()).expect("valid");
        let member = Rc::new(RefCell::new(Member::new(id)));
        Worker::new(config, &member, id, &mut shared.clone())
    };
    // As Envoy does, one VM is configured before the workers' are.
    drop(worker(1));
    let race = |id: u64| {
        let mut host = shared.clone();
        let mut worker = worker(id);
        let get = [(":method", "GET"), (":path", "/v1/models")];
        let sent = (0..EACH).filter(|_| {
            let headers = Headers::from_pairs(get);
            let verdict = Stream::new(0).on_request_headers(&mut worker, headers, true, &mut host);
            matches!(verdict, Verdict::Forward(_))
        });
        sent.count()
    };
    let admitted: usize = std::thread::scope(|scope| {
        let threads = [2, 3, 4, 5].map(|id| {
            scope.spawn({
                let race = &race;
                move || race(id)
            })
        });
        let counts = threads.map(|thread| thread.join().expect("no panic"));
        counts.iter().sum()
    });
    assert_eq!(admitted, 3_000);
}
