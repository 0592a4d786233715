//! The artifact in the harness' host, one VM a worker.

use std::sync::OnceLock;
use std::time::Duration;

use harness::artifact;
use harness::host::{
    Clock, Event, Headers, Host, LocalResponse, Metric, Module, Options, RootId,
    StreamId as VmStream, StreamInfo, Verdict, Vm,
};
use serde_json::Value;

use super::{Asked, Proxy, Refused, Sent, Step, StreamId};

/// The artifact, built and compiled once for all tests.
pub fn module() -> Module {
    static MODULE: OnceLock<Module> = OnceLock::new();
    let built = || {
        let path = artifact::build().unwrap_or_else(|error| panic!("{error}"));
        Module::new(&std::fs::read(path).expect("the artifact")).expect("a module")
    };
    MODULE.get_or_init(built).clone()
}

pub struct Wasm {
    host: Host,
    clock: Clock,
    vms: Vec<Option<Vm>>,
    /// The plugins and their configurations, and which of them new streams are under.
    plugins: Vec<(String, Value)>,
    current: usize,
    /// By worker the root of each plugin, and those that were replaced.
    roots: Vec<(Vec<RootId>, Vec<RootId>)>,
    /// Each stream's worker and its name there.
    streams: Vec<Option<(usize, VmStream)>>,
    /// What became of streams after the callback that was theirs.
    later: Vec<(StreamId, Step)>,
    /// What is known of streams that are opened.
    info: StreamInfo,
}

impl Wasm {
    pub fn new(config: &Value, workers: usize) -> Wasm {
        Wasm::with(Options::default(), config, workers)
    }

    /// The same, with more than the configuration to choose.
    pub fn with(options: Options, config: &Value, workers: usize) -> Wasm {
        let clock = Clock::virtual_at(1 << 40);
        let options = Options {
            plugin_configuration: config.to_string().into_bytes(),
            clock: clock.clone(),
            ..options
        };
        let host = Host::new(&module(), options);
        let vms: Vec<Vm> = (0..workers)
            .map(|_| host.start_vm().expect("a valid configuration"))
            .collect();
        let roots = vms.iter().map(|vm| (vec![vm.root()], Vec::new()));
        Wasm {
            roots: roots.collect(),
            plugins: vec![(String::new(), config.clone())],
            current: 0,
            host,
            clock,
            vms: vms.into_iter().map(Some).collect(),
            streams: Vec::new(),
            later: Vec::new(),
            info: StreamInfo::default(),
        }
    }

    /// Puts `config` in force on all workers, and ends the last one, whose streams go on.
    pub fn replace(&mut self, config: &Value) {
        self.reload(config);
        self.drain();
    }

    /// Each worker that lives, with its roots.
    fn live(&mut self) -> impl Iterator<Item = (&mut Vm, &mut (Vec<RootId>, Vec<RootId>))> {
        let vms = self.vms.iter_mut().zip(&mut self.roots);
        vms.filter_map(|(vm, roots)| Some((vm.as_mut()?, roots)))
    }

    /// All that the proxy keeps of what it was told: log lines, and metrics by their names.
    pub fn told(&self) -> String {
        format!("{:?} {:?}", self.host.logs(), self.host.metrics())
    }

    /// What a worker's last callback cost.
    pub fn fuel_used(&mut self, worker: usize) -> u64 {
        self.vm(worker).fuel_used()
    }

    /// Answers what a worker asked with these headers.
    pub fn reply_with(&mut self, worker: usize, asked: &Asked, head: Headers, body: &[u8]) {
        self.vm(worker)
            .http_call_response(asked.token, head, body.to_vec(), Headers::new())
            .expect("no trap");
        self.settle(worker);
    }

    /// Keeps what callbacks have done to other streams than those that they were about.
    fn settle(&mut self, worker: usize) {
        for event in self.vm(worker).take_events() {
            let (Event::Resumed(id, _) | Event::LocalReply(id, _) | Event::Closed(id)) = &event;
            let of = |stream: &Option<(usize, VmStream)>| *stream == Some((worker, *id));
            let Some(place) = self.streams.iter().position(of) else {
                continue;
            };
            let vm = self.vm(worker);
            let became = match &event {
                Event::Resumed(id, _) => step(vm, *id, Verdict::Continue),
                Event::LocalReply(_, reply) => refused(reply),
                Event::Closed(_) => panic!("the stream was reset"),
            };
            self.later.push((StreamId(place), became));
        }
    }

    fn settle_all(&mut self) {
        for worker in 0..self.vms.len() {
            if self.vms[worker].is_some() {
                self.settle(worker);
            }
        }
    }

    fn at(&mut self, stream: StreamId) -> (&mut Vm, VmStream) {
        let (worker, id) = self.streams[stream.0].expect("a stream that is open");
        (self.vm(worker), id)
    }

    fn vm(&mut self, worker: usize) -> &mut Vm {
        self.vms[worker].as_mut().expect("a worker that lives")
    }

    fn end(&mut self, stream: StreamId, details: Option<&str>) {
        let (worker, id) = self.streams[stream.0]
            .take()
            .expect("a stream that is open");
        let vm = self.vm(worker);
        if let Some(details) = details {
            vm.set_property(id, &["response", "code_details"], details);
        }
        vm.close(id).expect("no trap");
    }

    /// The response's headers, as Envoy shows them; what the client gets of them.
    fn start(
        &mut self,
        stream: StreamId,
        (status, attempts, details): (u16, u32, &str),
        headers: &[(&str, &str)],
    ) -> Vec<(String, String)> {
        let (vm, id) = self.at(stream);
        let attempts = u64::from(attempts).to_le_bytes();
        vm.set_property(id, &["upstream", "request_attempt_count"], attempts);
        vm.set_property(id, &["response", "code_details"], details);
        let status = status.to_string();
        let all = [(":status", status.as_str())]
            .into_iter()
            .chain(headers.iter().copied());
        vm.response_headers(id, Headers::from_iter(all), false)
            .expect("no trap");
        let headers = vm.response_headers_of(id).expect("response headers");
        pairs(headers)
            .into_iter()
            .filter(|(name, _)| name != ":status")
            .collect()
    }
}

/// Starts a root of the plugin `root_id`.
fn start(vm: &mut Vm, root_id: &str, config: &Value) -> RootId {
    let json = config.to_string().into_bytes();
    vm.start_root(root_id.to_owned(), String::new(), json)
        .expect("a valid configuration")
}

fn pairs(headers: &Headers) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
    let pairs = headers.iter();
    pairs
        .map(|(name, value)| (text(name), text(value)))
        .collect()
}

fn step(vm: &mut Vm, id: VmStream, verdict: Verdict) -> Step {
    match verdict {
        Verdict::Pause => Step::Held,
        Verdict::Close => panic!("the stream was reset"),
        Verdict::Continue => {
            let headers = vm.request_headers_of(id).expect("request headers");
            Step::Forwarded(Sent {
                headers: pairs(headers),
                body: vm.take_request_body(id),
            })
        }
        Verdict::Reply(reply) => refused(&reply),
    }
}

/// What every refusal has is told by the other fields.
const OF_ALL_REFUSALS: [&str; 3] = ["content-type", "content-length", "retry-after"];

fn refused(reply: &LocalResponse) -> Step {
    let mut headers = pairs(&reply.headers);
    headers.retain(|(name, _)| !OF_ALL_REFUSALS.contains(&name.as_str()));
    Step::Refused(Refused {
        status: reply.status as u16,
        retry_after: reply.headers.text("retry-after").map(str::to_owned),
        headers,
        challenge: reply.headers.text("www-authenticate").map(str::to_owned),
        json: serde_json::from_slice(&reply.body).expect("a refusal is JSON"),
    })
}

impl Proxy for Wasm {
    fn open(&mut self, worker: usize, headers: &[(&str, &str)], end: bool) -> (StreamId, Step) {
        let info = self.info.clone();
        let root = self.roots[worker].0[self.current];
        let vm = self.vm(worker);
        let id = vm.open_stream_on(root, info);
        let verdict = vm
            .request_headers(id, Headers::from_iter(headers.iter().copied()), end)
            .expect("no trap");
        let step = step(vm, id, verdict);
        self.streams.push(Some((worker, id)));
        (StreamId(self.streams.len() - 1), step)
    }

    fn body(&mut self, stream: StreamId, chunk: &[u8], end: bool) -> Step {
        let (vm, id) = self.at(stream);
        let verdict = vm.request_body(id, chunk, end).expect("no trap");
        step(vm, id, verdict)
    }

    fn trailers(&mut self, stream: StreamId) -> Step {
        let (vm, id) = self.at(stream);
        let verdict = vm.request_trailers(id, Headers::new()).expect("no trap");
        step(vm, id, verdict)
    }

    fn respond_with(
        &mut self,
        stream: StreamId,
        status: u16,
        attempts: u32,
        headers: &[(&str, &str)],
    ) -> Vec<(String, String)> {
        self.start(stream, (status, attempts, "via_upstream"), headers)
    }

    fn respond_for(&mut self, stream: StreamId, status: u16, attempts: u32) {
        let details = "upstream_reset_before_response_started{connection_failure}";
        self.start(stream, (status, attempts, details), &[]);
    }

    fn respond_full(&mut self, stream: StreamId) {
        let details = "upstream_reset_before_response_started{overflow}";
        self.start(stream, (503, 1, details), &[]);
    }

    fn respond_body(&mut self, stream: StreamId, chunk: &[u8], end: bool) -> Vec<u8> {
        let (vm, id) = self.at(stream);
        vm.response_body(id, chunk, end).expect("no trap");
        vm.take_response_body(id)
    }

    fn close(&mut self, stream: StreamId) {
        self.end(stream, None);
    }

    fn lose(&mut self, stream: StreamId) {
        self.end(
            stream,
            Some("upstream_reset_after_response_started{connection_termination}"),
        );
    }

    fn tick(&mut self, worker: usize) {
        self.vm(worker).tick().expect("no trap");
        self.settle(worker);
    }

    fn later(&mut self, stream: StreamId) -> Option<Step> {
        let place = self.later.iter().position(|(known, _)| *known == stream)?;
        Some(self.later.swap_remove(place).1)
    }

    fn errands(&mut self, worker: usize) -> Vec<Asked> {
        let calls = self.vm(worker).take_http_calls();
        let asked = calls.into_iter().map(|call| {
            let header = |name: &str| call.headers.text(name).unwrap_or_default().to_owned();
            Asked {
                token: call.token,
                cluster: call.upstream.clone(),
                path: header(":path"),
                endpoint: header("x-gateway-destination-endpoint"),
                headers: pairs(&call.headers),
                body: call.body.clone(),
                timeout: call.timeout.expect("a timeout"),
            }
        });
        asked.collect()
    }

    fn reply(&mut self, worker: usize, asked: &Asked, status: u16, body: &[u8]) {
        let head = Headers::from_iter([(":status", status.to_string())]);
        self.reply_with(worker, asked, head, body);
    }

    fn kill(&mut self, worker: usize) {
        self.vms[worker] = None;
        for stream in &mut self.streams {
            stream.take_if(|(at, _)| *at == worker);
        }
    }

    fn revive(&mut self, worker: usize) {
        let [(_, first), others @ ..] = self.plugins.as_slice() else {
            unreachable!("there is a first plugin");
        };
        self.host
            .set_plugin_configuration(first.to_string().into_bytes());
        let mut vm = self.host.start_vm().expect("a valid configuration");
        let mut roots = vec![vm.root()];
        roots.extend(
            others
                .iter()
                .map(|(root_id, config)| start(&mut vm, root_id, config)),
        );
        self.vms[worker] = Some(vm);
        self.roots[worker] = (roots, Vec::new());
    }

    fn reload(&mut self, config: &Value) {
        let current = self.current;
        let root_id = self.plugins[current].0.clone();
        self.plugins[current].1 = config.clone();
        for (vm, (roots, replaced)) in self.live() {
            let root = start(vm, &root_id, config);
            replaced.push(std::mem::replace(&mut roots[current], root));
        }
    }

    fn drain(&mut self) {
        for (vm, (_, replaced)) in self.live() {
            for root in replaced.drain(..) {
                vm.retire(root).expect("no trap");
            }
        }
        self.settle_all();
    }

    fn configure_again(&mut self, config: &Value) {
        let current = self.current;
        self.plugins[current].1 = config.clone();
        let json = config.to_string().into_bytes();
        for (vm, (roots, _)) in self.live() {
            let again = vm.configure_again(roots[current], json.clone());
            again.expect("a valid configuration");
        }
        self.settle_all();
    }

    fn load_plugin(&mut self, root_id: &str, config: &Value) {
        self.plugins.push((root_id.to_owned(), config.clone()));
        self.current = self.plugins.len() - 1;
        for (vm, (roots, _)) in self.live() {
            roots.push(start(vm, root_id, config));
        }
    }

    fn turn_to(&mut self, root_id: &str) {
        let plugin = self.plugins.iter().position(|(known, _)| known == root_id);
        self.current = plugin.expect("a plugin");
    }

    fn metric(&self, name: &str) -> i64 {
        match self.host.metric(name) {
            None => 0,
            Some(Metric::Counter(value)) => value as i64,
            Some(Metric::Gauge(value)) => value,
            Some(Metric::Histogram(summary)) => summary.count as i64,
        }
    }

    fn logs(&self) -> Vec<String> {
        let lines = self.host.logs().into_iter();
        lines.map(|line| line.text).collect()
    }

    fn step_wall(&mut self, seconds: i64) {
        self.clock.step_wall(seconds * 1_000_000_000);
    }

    fn set_property(&mut self, path: &[&str], value: &[u8]) {
        let path = path.iter().map(|&part| part.to_owned()).collect();
        self.info.properties.insert(path, value.to_vec());
    }

    fn advance(&mut self, by: Duration) {
        self.clock.advance(by);
    }
}
