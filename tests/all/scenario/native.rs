//! The flow called directly: what the adapter does on the wasm side, in its plainest form.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use junheng::config::Config;
use junheng::flow::{DECISION, ResponseStart, Stream, Verdict, Worker, is_ours};
use junheng::ports::{Host, Kind, Meter};
use junheng::values::clock::Instant;
use junheng::values::headers::Headers;
use serde_json::Value;

use super::{Proxy, Refused, Sent, Step, StreamId};

pub struct Native {
    workers: Vec<Worker>,
    streams: BTreeMap<StreamId, Open>,
    meters: Meters,
}

struct Open {
    worker: usize,
    stream: Stream,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Native {
    pub fn new(config: &Value, workers: usize) -> Native {
        let mut meters = Meters::default();
        let workers = (0..workers)
            .map(|worker| {
                let config = Config::from_json(config.to_string().as_bytes())
                    .expect("a valid configuration");
                Worker::new(config, worker as u64, &mut meters)
            })
            .collect();
        Native {
            workers,
            streams: BTreeMap::new(),
            meters,
        }
    }

    fn step(
        &mut self,
        id: StreamId,
        act: impl FnOnce(&mut Open, &mut Worker, &mut Meters) -> Verdict,
    ) -> Step {
        let open = self.streams.get_mut(&id).expect("a stream that is open");
        let worker = &mut self.workers[open.worker];
        match act(open, worker, &mut self.meters) {
            Verdict::Hold => Step::Held,
            Verdict::Refuse(refusal) => Step::Refused(Refused {
                status: refusal.status,
                retry_after: refusal.retry_after.map(|seconds| seconds.to_string()),
                json: serde_json::from_str(&refusal.json()).expect("a refusal is JSON"),
            }),
            Verdict::Forward(forward) => {
                for (name, value) in forward.headers {
                    open.headers.retain(|(n, _)| n != name);
                    open.headers.push((name.to_owned(), value));
                }
                let body = forward.body.unwrap_or_else(|| open.body.clone());
                Step::Forwarded(Sent {
                    headers: open.headers.clone(),
                    body,
                })
            }
        }
    }
}

impl Proxy for Native {
    fn open(&mut self, worker: usize, headers: &[(&str, &str)], end: bool) -> (StreamId, Step) {
        let id = self
            .streams
            .keys()
            .next_back()
            .map_or(StreamId(0), |last| StreamId(last.0 + 1));
        let ours = |name: &str| is_ours(name.as_bytes());
        let kept = headers.iter().filter(|(name, _)| !ours(name));
        let kept = kept
            .map(|&(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        self.streams.insert(
            id,
            Open {
                worker,
                stream: Stream::default(),
                headers: kept,
                body: Vec::new(),
            },
        );
        let step = self.step(id, |open, worker, meters| {
            open.stream.on_request_headers(
                worker,
                Headers::from_pairs(headers.iter().copied().filter(|(name, _)| !ours(name))),
                end,
                meters,
            )
        });
        (id, step)
    }

    fn body(&mut self, stream: StreamId, chunk: &[u8], end: bool) -> Step {
        self.step(stream, |open, worker, meters| {
            open.body.extend_from_slice(chunk);
            match end {
                true => open.stream.on_request_body(worker, &open.body, meters),
                false => open
                    .stream
                    .on_request_body_growing(worker, open.body.len(), meters),
            }
        })
    }

    fn trailers(&mut self, stream: StreamId) -> Step {
        self.body(stream, b"", true)
    }

    fn respond(&mut self, stream: StreamId, status: u16, attempts: u32) -> Vec<(String, String)> {
        let open = self
            .streams
            .get_mut(&stream)
            .expect("a stream that is open");
        let start = ResponseStart {
            status,
            attempts,
            by_proxy: false,
        };
        let decision = open.stream.on_response_headers(
            &mut self.workers[open.worker],
            start,
            &mut self.meters,
        );
        decision
            .into_iter()
            .map(|decision| (DECISION.to_owned(), decision))
            .collect()
    }

    fn respond_body(&mut self, stream: StreamId, chunk: &[u8], end: bool) {
        let open = self
            .streams
            .get_mut(&stream)
            .expect("a stream that is open");
        if open.stream.awaits_first_byte() {
            open.stream
                .on_first_byte(&mut self.workers[open.worker], &mut self.meters);
        }
        if end {
            open.stream.on_response_complete();
        }
        if open.stream.wants_response_body() {
            open.stream.on_response_body(chunk);
        }
    }

    fn close(&mut self, stream: StreamId) {
        let mut open = self.streams.remove(&stream).expect("a stream that is open");
        open.stream
            .on_end(&mut self.workers[open.worker], &mut self.meters);
    }

    fn tick(&mut self, worker: usize) {
        self.workers[worker].on_tick(&mut self.meters);
    }

    fn metric(&self, name: &str) -> i64 {
        let meters = self.meters.values.borrow();
        meters
            .iter()
            .find(|(known, _)| known == name)
            .map_or(0, |(_, value)| *value)
    }

    fn advance(&mut self, by: Duration) {
        let now = self.meters.now.get().after(by);
        self.meters.now.set(now);
    }
}

/// A clock, and meters shared by name, as a host keeps them.
#[derive(Clone, Default)]
struct Meters {
    now: Rc<Cell<Instant>>,
    values: Rc<RefCell<Vec<(String, i64)>>>,
}

impl Host for Meters {
    fn now(&mut self) -> Instant {
        self.now.get()
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

    fn record(&mut self, meter: Meter, _value: u64) {
        self.values.borrow_mut()[meter.0 as usize].1 += 1;
    }

    fn read(&mut self, meter: Meter) -> Option<u64> {
        u64::try_from(self.values.borrow()[meter.0 as usize].1).ok()
    }
}
