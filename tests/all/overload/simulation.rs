//! Clients, the proxy's router and endpoints with slots, as events in virtual time.
//!
//! The router does what Envoy's does with the headers that Junheng writes: it tries the endpoints
//! of the list in their order while a refusal's status is among those to be retried. Clients do
//! what OpenAI's do: wait as long as a refusal's `Retry-After` says, or a moment where it says
//! nothing, and ask again.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use junheng::values::rng::Rng;
use serde_json::Value;

use crate::scenario::{On, Proxy, Sent, Step, StreamId, post, proxy};

const WORKERS: usize = 2;
const TICK: Duration = Duration::from_millis(50);
/// From the proxy to an endpoint's refusal and back.
const ROUND_TRIP: Duration = Duration::from_millis(1);
/// What a client waits whose refusal has no `Retry-After`.
const PAUSE: Duration = Duration::from_millis(50);
const BODY: &[u8] = br#"{"model":"m","messages":[]}"#;

/// What goes through the proxy.
pub struct Load {
    /// Each with one request at a time.
    pub clients: usize,
    pub endpoints: usize,
    /// Requests that an endpoint runs at once.
    pub slots: usize,
    /// How long it takes for each in the mean: a tenth more or less, so that none of them end
    /// together.
    pub service: Duration,
    /// What it answers beyond its slots.
    pub refusal: Refusal,
}

#[derive(Clone, Copy, Debug)]
pub struct Refusal {
    pub status: u16,
    pub retry_after: Option<&'static str>,
}

pub struct Simulation {
    proxy: Box<dyn Proxy>,
    load: Load,
    endpoints: Vec<Endpoint>,
    agenda: Agenda,
    now: Duration,
    rng: Rng,
    /// Counted since the last call of [`Simulation::goodput`].
    counts: BTreeMap<&'static str, usize>,
}

#[derive(Clone, Copy)]
struct Endpoint {
    slots: usize,
    running: usize,
}

/// A request on its way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Attempt {
    client: usize,
    stream: StreamId,
    /// The endpoints to try, and which of them is tried now.
    list: Vec<usize>,
    at: usize,
    retried: Vec<u16>,
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Tick,
    Ask(usize),
    Served(Attempt),
    Refused(Attempt),
}

impl Simulation {
    pub fn new(on: On, config: &Value, load: Load) -> Simulation {
        let mut agenda = Agenda::default();
        agenda.at(TICK, Event::Tick);
        for client in 0..load.clients {
            // Not all in one instant, which no network would bring about.
            let start = Duration::from_millis(7 * client as u64);
            agenda.at(start, Event::Ask(client));
        }
        let endpoint = Endpoint {
            slots: load.slots,
            running: 0,
        };
        Simulation {
            proxy: proxy(on, config, WORKERS),
            endpoints: vec![endpoint; load.endpoints],
            load,
            agenda,
            now: Duration::ZERO,
            rng: Rng::new(7),
            counts: BTreeMap::new(),
        }
    }

    /// Gives every endpoint so many slots; what runs, runs on.
    pub fn resize(&mut self, slots: usize) {
        (0..self.endpoints.len()).for_each(|endpoint| self.resize_one(endpoint, slots));
    }

    /// Gives one endpoint so many slots.
    pub fn resize_one(&mut self, endpoint: usize, slots: usize) {
        self.endpoints[endpoint].slots = slots;
    }

    /// Good answers a second over the next `time`.
    pub fn goodput(&mut self, time: Duration) -> f64 {
        self.counts.clear();
        self.run(time);
        self.count("good") as f64 / time.as_secs_f64()
    }

    /// What became of the requests of the last measurement.
    pub fn account(&self) -> String {
        let parts = ["refused by endpoints", "refused by the proxy", "retried"];
        let parts = parts.map(|what| format!("{} {what}", self.count(what)));
        parts.join(", ")
    }

    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some((at, event)) = self.agenda.next_before(end) {
            self.proxy.advance(at - self.now);
            self.now = at;
            self.happen(event);
        }
        self.proxy.advance(end - self.now);
        self.now = end;
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Tick => {
                (0..WORKERS).for_each(|worker| self.proxy.tick(worker));
                self.agenda.at(self.now + TICK, Event::Tick);
            }
            Event::Ask(client) => self.ask(client),
            Event::Served(attempt) => {
                self.endpoints[attempt.list[attempt.at]].running -= 1;
                self.respond(&attempt, 200, &[]);
                self.note("good");
                self.agenda.at(self.now, Event::Ask(attempt.client));
            }
            Event::Refused(mut attempt) => {
                let Refusal {
                    status,
                    retry_after,
                } = self.load.refusal;
                let more = attempt.at + 1 < attempt.list.len();
                if more && attempt.retried.contains(&status) {
                    self.note("retried");
                    attempt.at += 1;
                    return self.try_endpoint(attempt);
                }
                self.note("refused by endpoints");
                let after = retry_after.map(|after| ("retry-after", after));
                let headers = self.respond(&attempt, status, after.as_slice());
                let after = headers.iter().find(|(name, _)| name == "retry-after");
                self.ask_again(attempt.client, after.map(|(_, value)| value.as_str()));
            }
        }
    }

    fn ask(&mut self, client: usize) {
        let tenant = format!("tenant-{client}");
        let mut headers = post("/v1/chat/completions");
        headers.push(("x-tenant", &tenant));
        let (stream, mut step) = self.proxy.open(client % WORKERS, &headers, false);
        if step == Step::Held {
            step = self.proxy.body(stream, BODY, true);
        }
        match step {
            Step::Forwarded(sent) => {
                let attempt = Attempt {
                    client,
                    stream,
                    list: endpoints(&sent),
                    at: 0,
                    retried: retried(&sent),
                };
                self.try_endpoint(attempt);
            }
            Step::Refused(refused) => {
                self.proxy.close(stream);
                self.note("refused by the proxy");
                self.ask_again(client, refused.retry_after.as_deref());
            }
            Step::Held => panic!("a request with its whole body is held"),
        }
    }

    fn try_endpoint(&mut self, attempt: Attempt) {
        let endpoint = &mut self.endpoints[attempt.list[attempt.at]];
        if endpoint.running < endpoint.slots {
            endpoint.running += 1;
            let jitter = 0.9 + 0.2 * self.rng.unit();
            let done = self.now + self.load.service.mul_f64(jitter);
            self.agenda.at(done, Event::Served(attempt));
        } else {
            let told = self.now + ROUND_TRIP;
            self.agenda.at(told, Event::Refused(attempt));
        }
    }

    fn respond(
        &mut self,
        attempt: &Attempt,
        status: u16,
        headers: &[(&str, &str)],
    ) -> Vec<(String, String)> {
        let attempts = attempt.at as u32 + 1;
        let told = self
            .proxy
            .respond_with(attempt.stream, status, attempts, headers);
        self.proxy.respond_body(attempt.stream, b"{}", true);
        self.proxy.close(attempt.stream);
        told
    }

    fn ask_again(&mut self, client: usize, retry_after: Option<&str>) {
        let seconds = retry_after.map(|after| after.parse().expect("seconds"));
        let pause = seconds.map_or(PAUSE, Duration::from_secs_f64);
        self.agenda.at(self.now + pause, Event::Ask(client));
    }

    fn note(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn count(&self, what: &str) -> usize {
        self.counts.get(what).copied().unwrap_or_default()
    }
}

/// Numbers of the endpoints to try, of which Envoy tries no more than the retries allow.
fn endpoints(sent: &Sent) -> Vec<usize> {
    let retries: usize = sent
        .header("x-envoy-max-retries")
        .parse()
        .expect("a number");
    let list = sent.header("x-gateway-destination-endpoint").split(',');
    let number = |address: &str| {
        let number = address.strip_prefix("10.0.0.")?.strip_suffix(":80")?;
        number.parse::<usize>().ok()?.checked_sub(1)
    };
    list.map(|address| number(address).expect("an endpoint of the pool"))
        .take(retries + 1)
        .collect()
}

/// The statuses after which Envoy tries the next endpoint.
fn retried(sent: &Sent) -> Vec<u16> {
    let mut statuses = Vec::new();
    for reason in sent.header("x-envoy-retry-on").split(',') {
        match reason {
            "5xx" => statuses.extend(500..600),
            "gateway-error" => statuses.extend(502..505),
            "retriable-status-codes" => {
                let listed = sent.header("x-envoy-retriable-status-codes").split(',');
                statuses.extend(listed.map(|status| status.parse::<u16>().expect("a status")));
            }
            _ => {}
        }
    }
    statuses
}

/// What is to happen, in order of time and, at the same time, of planning.
#[derive(Default)]
struct Agenda {
    events: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    planned: u64,
}

impl Agenda {
    fn at(&mut self, time: Duration, event: Event) {
        self.planned += 1;
        self.events.push(Reverse((time, self.planned, event)));
    }

    fn next_before(&mut self, end: Duration) -> Option<(Duration, Event)> {
        let Reverse((at, ..)) = self.events.peek()?;
        if *at > end {
            return None;
        }
        self.events.pop().map(|Reverse((at, _, event))| (at, event))
    }
}
