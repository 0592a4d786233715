//! The flow called directly: what the adapter does on the wasm side, in its plainest form.

mod logs;
mod meters;
mod vms;

use std::collections::BTreeMap;
use std::time::Duration;

use junheng::flow::{
    EndedBy, Errand, Origin, Reply, ResponseStart, Stream, Verdict, Worker, is_for_us, is_ours,
};
use junheng::ports::{Host, Plugin};
use junheng::values::clock::Instant;
use junheng::values::headers::Headers;
use serde_json::Value;

use self::meters::Meters;
use self::vms::{Root, Vm};
use super::{Asked, Proxy, Refused, Sent, Step, StreamId};

pub struct Native {
    /// The plugins and their configurations, and which of them new streams are under.
    plugins: Vec<(String, Value)>,
    current: usize,
    vms: Vec<Option<Vm>>,
    streams: BTreeMap<StreamId, Open>,
    opened: usize,
    /// What became of streams after the callback that was theirs.
    later: BTreeMap<StreamId, Step>,
    asked: u32,
    born: u64,
    meters: Meters,
}

struct Open {
    vm: usize,
    root: usize,
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
            plugins: vec![(String::new(), config.clone())],
            current: 0,
            vms: (0..workers).map(|_| None).collect(),
            streams: BTreeMap::new(),
            opened: 0,
            later: BTreeMap::new(),
            asked: 0,
            born: 0,
            meters,
        };
        (0..workers).for_each(|worker| native.start_vm(worker));
        native
    }

    fn vm(&mut self, vm: usize) -> &mut Vm {
        self.vms[vm].as_mut().expect("a worker that lives")
    }

    /// Lets `act` run on a root's worker.
    fn at_root<T>(
        &mut self,
        (vm, root): (usize, usize),
        act: impl FnOnce(&mut Worker, &mut dyn Host) -> T,
    ) -> T {
        let meters = &mut self.meters;
        let root = &mut self.vms[vm].as_mut().expect("a worker that lives").roots[root];
        act(&mut root.worker, &mut root.plugin.on(meters))
    }

    /// Lets `act` run on a stream.
    fn at<T>(
        &mut self,
        id: StreamId,
        act: impl FnOnce(&mut Open, &mut Worker, &mut dyn Host) -> T,
    ) -> T {
        let open = self.streams.get_mut(&id).expect("a stream that is open");
        let meters = &mut self.meters;
        let vm = self.vms[open.vm].as_mut().expect("a worker that lives");
        let root = &mut vm.roots[open.root];
        act(open, &mut root.worker, &mut root.plugin.on(meters))
    }

    fn start(&mut self, id: StreamId, start: ResponseStart<'_>) -> Vec<(&'static str, String)> {
        self.at(id, |open, worker, host| {
            open.stream.on_response_headers(worker, start, host)
        })
    }

    fn end(&mut self, id: StreamId, by: EndedBy) {
        self.at(id, |open, worker, host| {
            open.stream.on_end(worker, by, host)
        });
        self.streams.remove(&id);
    }

    fn run_errands(&mut self, at: (usize, usize)) {
        let errands = self.at_root(at, |worker, _| worker.errands());
        self.ask(at, errands);
    }

    fn ask(&mut self, (vm, root): (usize, usize), errands: Vec<Errand>) {
        for errand in errands {
            self.asked += 1;
            let asked = self.asked;
            self.vm(vm).errands.push((asked, root, errand));
        }
    }

    /// Tells the streams that wait for an answer which has come.
    fn wake(&mut self, at: (usize, usize)) {
        for id in self.at_root(at, |worker, _| worker.woken()) {
            let id = StreamId(id as usize);
            let step = self.step(id, |open, worker, host| {
                match open.stream.on_answer(worker, host) {
                    Verdict::Hold if open.complete && !open.stream.awaits_answer() => {
                        open.stream.on_request_body(worker, &open.body, host)
                    }
                    verdict => verdict,
                }
            });
            if step != Step::Held {
                self.later.insert(id, step);
            }
        }
        self.run_errands(at);
    }

    fn step(
        &mut self,
        id: StreamId,
        act: impl FnOnce(&mut Open, &mut Worker, &mut dyn Host) -> Verdict,
    ) -> Step {
        let verdict = self.at(id, act);
        let open = self.streams.get_mut(&id).expect("a stream that is open");
        match verdict {
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
        let plugin = Plugin::new(self.plugins[self.current].0.as_bytes(), b"");
        let serving = |root: &Root| root.serves && root.plugin == plugin;
        let root = self.vm(worker).roots.iter().rposition(serving);
        let root = root.expect("a configuration in force");
        self.streams.insert(
            id,
            Open {
                vm: worker,
                root,
                stream: Stream::new(id.0 as u32),
                headers: kept,
                body: Vec::new(),
                complete: false,
            },
        );
        let step = self.step(id, |open, worker, host| {
            open.stream.on_request_headers(
                worker,
                Headers::from_pairs(headers.iter().copied().filter(|(name, _)| !ours(name))),
                end,
                host,
            )
        });
        self.run_errands((worker, root));
        (id, step)
    }

    fn body(&mut self, stream: StreamId, chunk: &[u8], end: bool) -> Step {
        let step = self.step(stream, |open, worker, host| {
            open.body.extend_from_slice(chunk);
            open.complete = end;
            match end {
                true if open.stream.awaits_answer() => Verdict::Hold,
                true => open.stream.on_request_body(worker, &open.body, host),
                false => open
                    .stream
                    .on_request_body_growing(worker, open.body.len(), host),
            }
        });
        let at = self.at(stream, |open, _, _| (open.vm, open.root));
        self.run_errands(at);
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
        let changes = self.at(stream, |open, _, _| open.stream.changes_response_body());
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
        self.at(stream, |open, worker, host| {
            if end {
                open.stream.on_response_complete();
            }
            let wanted = open.stream.wants_response_body();
            let instead = wanted.then(|| open.stream.on_response_body(chunk, end));
            if open.stream.awaits_first_byte() {
                open.stream.on_first_byte(worker, host);
            }
            if open.stream.is_due() {
                open.stream.on_due(worker, host);
            }
            instead.flatten().unwrap_or_else(|| chunk.to_vec())
        })
    }

    fn close(&mut self, stream: StreamId) {
        self.end(stream, EndedBy::Client);
    }

    fn lose(&mut self, stream: StreamId) {
        self.end(stream, EndedBy::Endpoint);
    }

    fn tick(&mut self, worker: usize) {
        for root in 0..self.vm(worker).roots.len() {
            if self.vm(worker).roots[root].ticks {
                let at = (worker, root);
                let errands = self.at_root(at, |worker, host| worker.on_tick(host));
                self.ask(at, errands);
                for id in self.at_root(at, |worker, host| worker.overdue(host)) {
                    self.at(StreamId(id as usize), |open, worker, host| {
                        open.stream.on_overdue(worker, host);
                    });
                }
                self.wake(at);
            }
        }
    }

    fn later(&mut self, stream: StreamId) -> Option<Step> {
        self.later.remove(&stream)
    }

    fn errands(&mut self, worker: usize) -> Vec<Asked> {
        let asked = self.asked;
        let vm = self.vm(worker);
        let told = std::mem::replace(&mut vm.told, asked);
        let new = vm.errands.iter().filter(|(token, ..)| *token > told);
        new.map(|(token, _, errand)| {
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
        let errands = &mut self.vm(worker).errands;
        let place = errands.iter().position(|(token, ..)| *token == asked.token);
        let (_, root, errand) = errands.remove(place.expect("an errand under way"));
        let body = if errand.wants_body() {
            body.to_vec()
        } else {
            Vec::new()
        };
        let reply = Reply { status, body };
        self.at_root((worker, root), |worker, host| {
            worker.on_reply(&errand, Some(&reply), host);
        });
        self.wake((worker, root));
    }

    fn kill(&mut self, worker: usize) {
        self.vms[worker] = None;
        self.streams.retain(|_, open| open.vm != worker);
    }

    fn revive(&mut self, worker: usize) {
        self.start_vm(worker);
    }

    fn reload(&mut self, config: &Value) {
        self.reload_current(config);
    }

    fn drain(&mut self) {
        self.drain_replaced();
    }

    fn configure_again(&mut self, config: &Value) {
        self.configure_current_again(config);
    }

    fn load_plugin(&mut self, root_id: &str, config: &Value) {
        self.load(root_id, config);
    }

    fn turn_to(&mut self, root_id: &str) {
        let plugin = self.plugins.iter().position(|(known, _)| known == root_id);
        self.current = plugin.expect("a plugin");
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
