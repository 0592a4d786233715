//! The flow called directly: what the adapter does on the wasm side, in its plainest form.

mod logs;
mod meters;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use junheng::config::Config;
use junheng::flow::{
    EndedBy, Errand, Member, Origin, Reply, ResponseStart, Stream, Verdict, Worker, is_for_us,
    is_ours,
};
use junheng::values::clock::Instant;
use junheng::values::headers::Headers;
use serde_json::Value;

use self::meters::Meters;
use super::{Asked, Proxy, Refused, Sent, Step, StreamId};

pub struct Native {
    config: Value,
    workers: Vec<Option<Worker>>,
    streams: BTreeMap<StreamId, Open>,
    opened: usize,
    /// What became of streams after the callback that was theirs.
    later: BTreeMap<StreamId, Step>,
    /// By worker what is asked and not answered, and how much of that was told.
    errands: Vec<Vec<(u32, Errand)>>,
    asked: u32,
    told: Vec<u32>,
    born: u64,
    meters: Meters,
}

struct Open {
    worker: usize,
    stream: Stream,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// Whether that is all of it.
    complete: bool,
}

impl Native {
    pub fn new(config: &Value, workers: usize) -> Native {
        logs::install();
        let meters = Meters::default();
        meters.now.set(Instant::from_nanos(1 << 40));
        let mut native = Native {
            config: config.clone(),
            workers: (0..workers).map(|_| None).collect(),
            streams: BTreeMap::new(),
            opened: 0,
            later: BTreeMap::new(),
            errands: vec![Vec::new(); workers],
            asked: 0,
            told: vec![0; workers],
            born: 0,
            meters,
        };
        (0..workers).for_each(|worker| native.revive(worker));
        native
    }

    fn at(&mut self, id: StreamId) -> (&mut Open, &mut Worker, &mut Meters) {
        let open = self.streams.get_mut(&id).expect("a stream that is open");
        let worker = self.workers[open.worker]
            .as_mut()
            .expect("a worker that lives");
        (open, worker, &mut self.meters)
    }

    fn start(&mut self, id: StreamId, start: ResponseStart<'_>) -> Vec<(&'static str, String)> {
        let (open, worker, meters) = self.at(id);
        open.stream.on_response_headers(worker, start, meters)
    }

    fn end(&mut self, id: StreamId, by: EndedBy) {
        let (open, worker, meters) = self.at(id);
        open.stream.on_end(worker, by, meters);
        self.streams.remove(&id);
    }

    fn run_errands(&mut self, worker: usize) {
        let at_work = self.workers[worker].as_mut().expect("a worker that lives");
        let errands = at_work.errands();
        self.ask(worker, errands);
    }

    fn ask(&mut self, worker: usize, errands: Vec<Errand>) {
        for errand in errands {
            self.asked += 1;
            self.errands[worker].push((self.asked, errand));
        }
    }

    /// Tells the streams that wait for an answer which has come.
    fn wake(&mut self, worker: usize) {
        let at_work = self.workers[worker].as_mut().expect("a worker that lives");
        for id in at_work.woken() {
            let id = StreamId(id as usize);
            let step = self.step(id, |open, worker, meters| {
                match open.stream.on_answer(worker, meters) {
                    Verdict::Hold if open.complete && !open.stream.awaits_answer() => {
                        open.stream.on_request_body(worker, &open.body, meters)
                    }
                    verdict => verdict,
                }
            });
            if step != Step::Held {
                self.later.insert(id, step);
            }
        }
        self.run_errands(worker);
    }

    fn step(
        &mut self,
        id: StreamId,
        act: impl FnOnce(&mut Open, &mut Worker, &mut Meters) -> Verdict,
    ) -> Step {
        let (open, worker, meters) = self.at(id);
        match act(open, worker, meters) {
            Verdict::Hold => Step::Held,
            Verdict::Refuse(refusal) => Step::Refused(Refused {
                status: refusal.status,
                retry_after: refusal.retry_after.map(|seconds| seconds.to_string()),
                headers: refusal
                    .headers
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), value.clone()))
                    .collect(),
                challenge: refusal
                    .headers
                    .iter()
                    .find(|(name, _)| *name == "www-authenticate")
                    .map(|(_, value)| value.clone()),
                json: serde_json::from_str(&refusal.json()).expect("a refusal is JSON"),
            }),
            Verdict::Forward(forward) => {
                let removed = |name: &String| forward.removed.contains(&name.to_lowercase());
                open.headers.retain(|(name, _)| !removed(name));
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
        let id = StreamId(self.opened);
        self.opened += 1;
        let ours = |name: &str| is_ours(name.as_bytes());
        let kept = headers.iter().filter(|(name, _)| !ours(name));
        let kept = kept
            .map(|&(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        self.streams.insert(
            id,
            Open {
                worker,
                stream: Stream::new(id.0 as u32),
                headers: kept,
                body: Vec::new(),
                complete: false,
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
        self.run_errands(worker);
        (id, step)
    }

    fn body(&mut self, stream: StreamId, chunk: &[u8], end: bool) -> Step {
        let step = self.step(stream, |open, worker, meters| {
            open.body.extend_from_slice(chunk);
            open.complete = end;
            match end {
                true if open.stream.awaits_answer() => Verdict::Hold,
                true => open.stream.on_request_body(worker, &open.body, meters),
                false => open
                    .stream
                    .on_request_body_growing(worker, open.body.len(), meters),
            }
        });
        let worker = self.at(stream).0.worker;
        self.run_errands(worker);
        step
    }

    fn trailers(&mut self, stream: StreamId) -> Step {
        self.body(stream, b"", true)
    }

    fn respond_with(
        &mut self,
        stream: StreamId,
        status: u16,
        attempts: u32,
        headers: &[(&str, &str)],
    ) -> Vec<(String, String)> {
        let start = ResponseStart {
            status,
            attempts,
            origin: Origin::Endpoint,
            headers: &Headers::from_pairs(headers.iter().copied()),
        };
        let told = self.start(stream, start);
        let changes = self.at(stream).0.stream.changes_response_body();
        let kept = headers.iter().filter(|(name, _)| match *name {
            "content-length" => !changes,
            name => !is_for_us(name.as_bytes()),
        });
        let kept = kept.map(|&(name, value)| (name.to_owned(), value.to_owned()));
        let kept = kept.filter(|(name, _)| told.iter().all(|(ours, _)| ours != name));
        let told = told
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()));
        kept.chain(told).collect()
    }

    fn respond_for(&mut self, stream: StreamId, status: u16, attempts: u32) {
        let start = ResponseStart {
            status,
            attempts,
            origin: Origin::Unreached,
            headers: &Headers::default(),
        };
        self.start(stream, start);
    }

    fn respond_full(&mut self, stream: StreamId) {
        let start = ResponseStart {
            status: 503,
            attempts: 1,
            origin: Origin::Proxy,
            headers: &Headers::default(),
        };
        self.start(stream, start);
    }

    fn respond_body(&mut self, stream: StreamId, chunk: &[u8], end: bool) -> Vec<u8> {
        let (open, worker, meters) = self.at(stream);
        if end {
            open.stream.on_response_complete();
        }
        let wanted = open.stream.wants_response_body();
        let instead = wanted.then(|| open.stream.on_response_body(chunk, end));
        if open.stream.awaits_first_byte() {
            open.stream.on_first_byte(worker, meters);
        }
        if open.stream.is_due() {
            open.stream.on_due(worker, meters);
        }
        instead.flatten().unwrap_or_else(|| chunk.to_vec())
    }

    fn close(&mut self, stream: StreamId) {
        self.end(stream, EndedBy::Client);
    }

    fn lose(&mut self, stream: StreamId) {
        self.end(stream, EndedBy::Endpoint);
    }

    fn tick(&mut self, worker: usize) {
        let at_work = self.workers[worker].as_mut().expect("a worker that lives");
        let errands = at_work.on_tick(&mut self.meters);
        self.ask(worker, errands);
        let at_work = self.workers[worker].as_mut().expect("a worker that lives");
        for id in at_work.overdue(&mut self.meters) {
            let (open, worker, meters) = self.at(StreamId(id as usize));
            open.stream.on_overdue(worker, meters);
        }
        self.wake(worker);
    }

    fn later(&mut self, stream: StreamId) -> Option<Step> {
        self.later.remove(&stream)
    }

    fn errands(&mut self, worker: usize) -> Vec<Asked> {
        let told = std::mem::replace(&mut self.told[worker], self.asked);
        let new = self.errands[worker]
            .iter()
            .filter(|(token, _)| *token > told);
        new.map(|(token, errand)| {
            let header = |name: &str| {
                let header = errand.headers.iter().find(|(known, _)| *known == name);
                header.map_or(String::new(), |(_, value)| value.clone())
            };
            Asked {
                token: *token,
                cluster: errand.cluster.clone(),
                path: header(":path"),
                endpoint: header("x-gateway-destination-endpoint"),
                headers: errand
                    .headers
                    .iter()
                    .map(|(name, value)| ((*name).to_owned(), value.clone()))
                    .collect(),
                body: errand.body.clone(),
                timeout: errand.timeout,
            }
        })
        .collect()
    }

    fn reply(&mut self, worker: usize, asked: &Asked, status: u16, body: &[u8]) {
        let errands = &mut self.errands[worker];
        let at = errands.iter().position(|(token, _)| *token == asked.token);
        let (_, errand) = errands.remove(at.expect("an errand under way"));
        let body = if errand.wants_body() {
            body.to_vec()
        } else {
            Vec::new()
        };
        let at_work = self.workers[worker].as_mut().expect("a worker that lives");
        at_work.on_reply(&errand, Some(&Reply { status, body }), &mut self.meters);
        self.wake(worker);
    }

    fn kill(&mut self, worker: usize) {
        self.workers[worker] = None;
        self.errands[worker].clear();
        self.streams.retain(|_, open| open.worker != worker);
    }

    fn revive(&mut self, worker: usize) {
        let json = self.config.to_string();
        let config = Config::from_json(json.as_bytes()).expect("a valid configuration");
        self.born += 1;
        let member = Rc::new(RefCell::new(Member::new(self.born)));
        self.workers[worker] = Some(Worker::new(config, &member, self.born, &mut self.meters));
    }

    fn metric(&self, name: &str) -> i64 {
        let meters = self.meters.values.borrow();
        meters
            .iter()
            .find(|(known, _)| known == name)
            .map_or(0, |(_, value)| *value)
    }

    fn logs(&self) -> Vec<String> {
        logs::lines()
    }

    fn step_wall(&mut self, seconds: i64) {
        let stepped = &self.meters.stepped;
        stepped.set(stepped.get() + seconds * 1_000_000_000);
    }

    fn set_property(&mut self, path: &[&str], value: &[u8]) {
        let mut properties = self.meters.properties.borrow_mut();
        properties.insert(path.join("\0"), value.to_vec());
    }

    fn advance(&mut self, by: Duration) {
        let now = self.meters.now.get().after(by);
        self.meters.now.set(now);
    }
}
