//! One builder of scenarios, driven twice: natively, where the flow is called as it stands, and on
//! the wasm, where the artifact runs in the harness' host. What holds in one must hold in the other.

mod native;
mod wasm;

use std::time::Duration;

use serde_json::Value;

pub use wasm::{Wasm, module};

/// What carries a scenario out.
#[derive(Clone, Copy, Debug)]
pub enum On {
    /// The flow, called directly.
    Native,
    /// The artifact, in the harness' host.
    Wasm,
}

/// Makes a test of each scenario natively and one on the wasm.
#[macro_export]
macro_rules! on_both {
    ($($scenario:ident)*) => {
        mod native {
            $(#[test] fn $scenario() { super::$scenario($crate::scenario::On::Native) })*
        }
        mod wasm {
            $(#[test] fn $scenario() { super::$scenario($crate::scenario::On::Wasm) })*
        }
    };
}

/// A stream in a [`World`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StreamId(pub usize);

/// What became of a request so far.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// More of it is awaited.
    Held,
    /// It went upstream.
    Forwarded(Sent),
    /// It was answered.
    Refused(Refused),
}

/// A request as it went upstream.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sent {
    /// All headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// A request that a worker makes of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Asked {
    /// Names it for its answer.
    pub token: u32,
    /// The proxy's cluster.
    pub cluster: String,
    /// The path.
    pub path: String,
    /// The endpoint; empty if it is none that is asked.
    pub endpoint: String,
    /// All headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// How long the answer may take.
    pub timeout: Duration,
}

/// An answer that Junheng gave.
#[derive(Clone, Debug, PartialEq)]
pub struct Refused {
    /// The status.
    pub status: u16,
    /// `Retry-After`.
    pub retry_after: Option<String>,
    /// The headers that are not in every answer.
    pub headers: Vec<(String, String)>,
    /// `WWW-Authenticate`.
    pub challenge: Option<String>,
    /// The body.
    pub json: Value,
}

/// A proxy with some workers and Junheng in it.
pub trait Proxy {
    /// A request's headers, on a worker. `end` if nothing follows.
    fn open(&mut self, worker: usize, headers: &[(&str, &str)], end: bool) -> (StreamId, Step);
    /// More of its body.
    fn body(&mut self, stream: StreamId, chunk: &[u8], end: bool) -> Step;
    /// Its trailers.
    fn trailers(&mut self, stream: StreamId) -> Step;
    /// The response's headers: status, how many endpoints were tried, and what else an endpoint wrote. Returns
    /// what the client gets beside the status.
    fn respond_with(
        &mut self,
        stream: StreamId,
        status: u16,
        attempts: u32,
        headers: &[(&str, &str)],
    ) -> Vec<(String, String)>;
    /// The same with nothing but a status.
    fn respond(&mut self, stream: StreamId, status: u16, attempts: u32) -> Vec<(String, String)> {
        self.respond_with(stream, status, attempts, &[])
    }
    /// The proxy answers as no endpoint did.
    fn respond_for(&mut self, stream: StreamId, status: u16, attempts: u32);
    /// The proxy answers as it sends no more requests to that cluster.
    fn respond_full(&mut self, stream: StreamId);
    /// A piece of the response's body; what the client gets of it.
    fn respond_body(&mut self, stream: StreamId, chunk: &[u8], end: bool) -> Vec<u8>;
    /// The stream is over.
    fn close(&mut self, stream: StreamId);
    /// The endpoint broke the stream off.
    fn lose(&mut self, stream: StreamId);
    /// A worker's tick.
    fn tick(&mut self, worker: usize);
    /// What became of a request that was held, once that is decided; told once.
    fn later(&mut self, stream: StreamId) -> Option<Step>;
    /// What a worker has asked of endpoints and issuers since the last time.
    fn errands(&mut self, worker: usize) -> Vec<Asked>;
    /// The answer to one of these.
    fn reply(&mut self, worker: usize, asked: &Asked, status: u16, body: &[u8]);
    /// A worker dies, with all that it carried; no tick or stream of it comes any more.
    fn kill(&mut self, worker: usize);
    /// One starts in its place.
    fn revive(&mut self, worker: usize);
    /// Puts `config` in force on all workers, as a listener's update does: new streams are under
    /// it. The last configuration goes on ticking until it is [drained](Proxy::drain).
    fn reload(&mut self, config: &Value);
    /// Ends all configurations that were replaced; their streams go on.
    fn drain(&mut self);
    /// Hands `config` to the configuration in force on all workers, as a host does that keeps root
    /// contexts.
    fn configure_again(&mut self, config: &Value);
    /// Loads the plugin `root_id` beside the others into the same VMs, under `config`. New streams
    /// are its.
    fn load_plugin(&mut self, root_id: &str, config: &Value);
    /// New streams are the plugin `root_id`'s from now on; `""` is the first.
    fn turn_to(&mut self, root_id: &str);
    /// A metric's value.
    fn metric(&self, name: &str) -> i64;
    /// The lines that Junheng wrote into the proxy's log, oldest first.
    fn logs(&self) -> Vec<String>;
    /// Time passes.
    fn advance(&mut self, by: Duration);
    /// Somebody sets the wall clock, by so many seconds.
    fn step_wall(&mut self, seconds: i64);
    /// The proxy tells this of the streams that are opened from now on.
    fn set_property(&mut self, path: &[&str], value: &[u8]);
}

/// A proxy of `workers` workers under `config`, which must be valid.
pub fn proxy(on: On, config: &Value, workers: usize) -> Box<dyn Proxy> {
    match on {
        On::Native => Box::new(native::Native::new(config, workers)),
        On::Wasm => Box::new(wasm::Wasm::new(config, workers)),
    }
}

/// A request that is answered well and in full; the endpoint.
pub fn exchange(proxy: &mut dyn Proxy, worker: usize, body: &[u8]) -> String {
    let (stream, step) = chat_bytes(proxy, worker, body);
    let endpoint = step.sent().endpoint().to_owned();
    answer(proxy, stream, 200);
    endpoint
}

/// Answers a request and ends it.
pub fn answer(proxy: &mut dyn Proxy, stream: StreamId, status: u16) {
    proxy.respond(stream, status, 1);
    proxy.respond_body(stream, b"{}", true);
    proxy.close(stream);
}

/// Lets time pass in ticks of 50 ms on all of `workers`.
pub fn pass(
    proxy: &mut dyn Proxy,
    workers: impl IntoIterator<Item = usize> + Clone,
    time: Duration,
) {
    let tick = Duration::from_millis(50);
    let mut passed = Duration::ZERO;
    while passed < time {
        proxy.advance(tick);
        workers
            .clone()
            .into_iter()
            .for_each(|worker| proxy.tick(worker));
        passed += tick;
    }
}

/// The headers of a JSON request to `path`.
pub fn post(path: &str) -> Vec<(&str, &str)> {
    vec![
        (":method", "POST"),
        (":path", path),
        (":authority", "test"),
        ("content-type", "application/json"),
    ]
}

/// A chat request for `model`: its whole way in, on worker 0.
pub fn chat(proxy: &mut dyn Proxy, body: &Value) -> (StreamId, Step) {
    chat_bytes(proxy, 0, body.to_string().as_bytes())
}

/// The same with a body as it is, on any worker.
pub fn chat_bytes(proxy: &mut dyn Proxy, worker: usize, body: &[u8]) -> (StreamId, Step) {
    let (stream, step) = proxy.open(worker, &post("/v1/chat/completions"), false);
    match step {
        Step::Held => (stream, proxy.body(stream, body, true)),
        decided => (stream, decided),
    }
}

impl Step {
    /// The request as it went upstream.
    #[track_caller]
    pub fn sent(self) -> Sent {
        match self {
            Step::Forwarded(sent) => sent,
            other => panic!("not forwarded: {other:?}"),
        }
    }

    /// The answer that was given instead.
    #[track_caller]
    pub fn refused(self) -> Refused {
        match self {
            Step::Refused(refused) => refused,
            other => panic!("not refused: {other:?}"),
        }
    }
}

impl Asked {
    /// The value of a header, `""` where there is none.
    pub fn header(&self, name: &str) -> &str {
        let header = self.headers.iter().find(|(known, _)| known == name);
        header.map_or("", |(_, value)| value)
    }
}

impl Sent {
    /// The only value of a header.
    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        let mut values = self
            .headers
            .iter()
            .filter(|(n, _)| n == name)
            .map(|(_, value)| value.as_str());
        let value = values
            .next()
            .unwrap_or_else(|| panic!("no {name} in {:?}", self.headers));
        assert_eq!(values.next(), None, "{name} stands there twice");
        value
    }

    /// The endpoint chosen first.
    #[track_caller]
    pub fn endpoint(&self) -> &str {
        self.header("x-gateway-destination-endpoint")
            .split(',')
            .next()
            .unwrap_or_default()
    }

    /// The pool.
    #[track_caller]
    pub fn pool(&self) -> &str {
        self.header("x-junheng-pool")
    }
}

impl Refused {
    /// A field of the error, `""` where it is null or missing.
    pub fn error(&self, field: &str) -> &str {
        self.json["error"][field].as_str().unwrap_or_default()
    }
}
