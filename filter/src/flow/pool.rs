//! One pool as one worker sees it: its endpoints as they are balanced, and its meters.

use std::cell::RefCell;
use std::rc::Rc;

use crate::balance::{self, Gauges};
use crate::config::{Algorithm, CheckAnswer, Pool};
use crate::health::Check;
use crate::load::prometheus;
use crate::ports::{Host, Kind, Meter};
use crate::report::metrics::{self, StatusClass};
use crate::values::clock::Instant;
use crate::values::rng::Rng;

use super::audit::{Audit, Audited};
use super::counter::Counter;
use super::errand::{Reply, Rounds, What};
use super::lease::Lane;
use super::loads::Loads;
use super::member::{Account, Member};
use super::turns;
use super::watch::Watch;

/// A pool as one worker sees it.
pub(super) struct PoolState {
    pub(super) endpoints: balance::Pool,
    pub(super) watch: Watch,
    pub(super) meters: PoolMeters,
    pub(super) loads: Loads,
    pub(super) audit: Audit,
    pub(super) rounds: Rounds,
    /// Whether other workers have changed what endpoints carry between the last two looks.
    others_move: bool,
    /// When it was looked last.
    pub(super) synced: Instant,
    /// Whether the log has been told that the check's path is not served: one line says it of all
    /// endpoints, and every check would repeat it.
    warned: bool,
}

/// A pool's meters. Each may be missing, where the host refused to define it.
pub(super) struct PoolMeters {
    endpoints: Vec<EndpointMeters>,
    /// Only where the algorithm asks for it; elsewhere it would cost two calls a request to say a sum.
    total: Option<Meter>,
    requests: [Counter; StatusClass::ALL.len()],
    pub(super) input_tokens: Counter,
    pub(super) retries: Counter,
    /// Load reports that could not be read.
    pub(super) refused_reports: Counter,
    pub(super) ttft: Option<Meter>,
    member: Rc<RefCell<Member>>,
}

/// The load at one endpoint: over all workers in gauges, and of this VM in its books.
struct EndpointMeters {
    in_flight: Option<Meter>,
    waiting: Option<Meter>,
    /// Tokens whose answers have begun since the gauge was stepped last. The endpoint's next request
    /// or the tick takes them out of it: a step of its own would be two calls a request.
    begun: u32,
    account: Account,
}

/// A pool's gauges, as its balancer asks for them.
pub(super) struct PoolGauges<'a> {
    pub(super) meters: &'a PoolMeters,
    /// Whether counts are read, as other workers step them.
    pub(super) reads: bool,
    pub(super) host: &'a mut dyn Host,
}

impl PoolState {
    pub(super) fn new(
        pool: &Pool,
        configuration: u64,
        member: &Rc<RefCell<Member>>,
        changes: Option<Meter>,
        rng: &mut Rng,
        host: &mut dyn Host,
    ) -> PoolState {
        let addresses: Vec<String> = pool
            .endpoints
            .iter()
            .map(|endpoint| endpoint.address.to_string())
            .collect();
        Audit::prepare(&pool.name, host);
        for address in &addresses {
            turns::prepare(&pool.name, address, host);
        }
        let weights = pool.endpoints.iter().map(|endpoint| endpoint.weight);
        let endpoints = addresses.iter().map(String::as_str).zip(weights);
        PoolState {
            endpoints: balance::Pool::new(algorithm(pool.balance.algorithm), endpoints, rng),
            watch: Watch::new(pool, &addresses, changes, host),
            meters: PoolMeters::new(pool, &addresses, member, host),
            loads: Loads::new(pool, &addresses, configuration, changes, host),
            audit: Audit::default(),
            rounds: Rounds::default(),
            others_move: true,
            synced: Instant::default(),
            warned: false,
        }
    }

    /// Reads again what all workers agree on: standings, and the weights of the configuration's
    /// lane.
    pub(super) fn follow(&mut self, lane: Option<Lane>, now: Instant, host: &mut dyn Host) {
        self.watch.refresh(host);
        let weights = lane.map(|lane| self.loads.weights(lane, host));
        for (endpoint, weight) in weights.unwrap_or_default() {
            self.watch
                .set_weight(endpoint, weight, &mut self.endpoints, now, host);
        }
    }

    /// What was asked of an endpoint has come to its end.
    pub(super) fn on_reply(
        &mut self,
        config: &Pool,
        (endpoint, what): (usize, What),
        reply: Option<&Reply>,
        now: Instant,
        host: &mut dyn Host,
    ) {
        match what {
            What::Check => {
                let passed = reply.is_some_and(|reply| self.passes(config, endpoint, reply.status));
                let check = Check {
                    passed,
                    status: reply.map_or(0, |reply| reply.status),
                };
                self.watch
                    .checked(endpoint, check, &mut self.endpoints, now, host);
            }
            What::Metrics => {
                if let Some(reply) = reply.filter(|reply| reply.status == 200) {
                    let report = prometheus::read(&reply.body);
                    self.loads.on_report(endpoint, &report, now);
                }
            }
        }
    }

    /// Whether a check that was answered `status` passes.
    fn passes(&mut self, config: &Pool, endpoint: usize, status: u16) -> bool {
        let Some(check) = &config.check else {
            return false;
        };
        let answer = check.judge(status);
        if answer == CheckAnswer::NotServed && !std::mem::replace(&mut self.warned, true) {
            let (pool, path) = (&config.name, &check.path);
            let address = self.endpoints.view().address(endpoint).unwrap_or_default();
            log::warn!(
                "pool {pool}: GET {path} answered {status} at {address}: the server lives; set health.check.path to a path that it serves"
            );
        }
        answer != CheckAnswer::Fails
    }

    /// Requests in flight at `endpoint`, as far as this worker knows.
    pub(super) fn in_flight(&self, endpoint: usize) -> u32 {
        self.endpoints.view().in_flight(endpoint)
    }

    /// Claims `endpoint` other than by a pick of the balancer's.
    pub(super) fn claim(&mut self, endpoint: usize, host: &mut dyn Host) {
        self.meters.claim(endpoint, host);
        self.endpoints.view_mut().on_claim(endpoint);
    }

    /// Takes the other workers' in-flight counts into this worker's view, at `now`.
    pub(super) fn sync_in_flight(&mut self, now: Instant, host: &mut dyn Host) {
        self.others_move = false;
        self.synced = now;
        for endpoint in 0..self.meters.endpoints.len() {
            let before = self.endpoints.view().in_flight(endpoint);
            self.sync_endpoint(endpoint, host);
            self.others_move |= self.endpoints.view().in_flight(endpoint) != before;
        }
    }

    /// The same for one endpoint.
    pub(super) fn sync_endpoint(&mut self, endpoint: usize, host: &mut dyn Host) {
        let meter = self.meters.in_flight(endpoint);
        if let Some(exact) = meter.and_then(|meter| host.read(meter)) {
            self.endpoints.view_mut().sync_in_flight(endpoint, exact);
        }
    }

    /// Whether the balancer has to read the gauges. The view stands where no other worker has moved
    /// them between the last two looks, unless there are bounds to keep.
    pub(super) fn reads_gauges(&self) -> bool {
        self.others_move || self.endpoints.view().has_bounds()
    }
}

fn algorithm(algorithm: Algorithm) -> balance::Algorithm {
    match algorithm {
        Algorithm::RoundRobin => balance::Algorithm::RoundRobin,
        Algorithm::WeightedRoundRobin => balance::Algorithm::WeightedRoundRobin,
        Algorithm::LeastConnections => balance::Algorithm::LeastConnections,
        Algorithm::ResponseTime => balance::Algorithm::ResponseTime,
        Algorithm::ConsistentHash => balance::Algorithm::ConsistentHash,
    }
}

impl PoolMeters {
    fn new(
        pool: &Pool,
        addresses: &[String],
        member: &Rc<RefCell<Member>>,
        host: &mut dyn Host,
    ) -> PoolMeters {
        let name = pool.name.as_str();
        let hashes = pool.balance.algorithm == Algorithm::ConsistentHash;
        let endpoint = |address: &String| EndpointMeters {
            in_flight: host.define(Kind::Gauge, &metrics::endpoint_in_flight(name, address)),
            waiting: host.define(Kind::Gauge, &metrics::endpoint_waiting(name, address)),
            begun: 0,
            account: member.borrow_mut().account(name, address),
        };
        PoolMeters {
            endpoints: addresses.iter().map(endpoint).collect(),
            total: hashes
                .then(|| host.define(Kind::Gauge, &metrics::pool_in_flight(name)))
                .flatten(),
            requests: StatusClass::ALL
                .map(|class| Counter::define(host, &metrics::pool_requests(name, class))),
            input_tokens: Counter::define(host, &metrics::pool_input_tokens(name)),
            retries: Counter::define(host, &metrics::pool_retries(name)),
            refused_reports: Counter::define(host, &metrics::pool_refused_reports(name)),
            ttft: host.define(Kind::Histogram, &metrics::pool_ttft(name)),
            member: Rc::clone(member),
        }
    }

    pub(super) fn count_request(&mut self, class: StatusClass) {
        if let Some(counter) = self.requests.get_mut(class as usize) {
            counter.add(1);
        }
    }

    pub(super) fn counters(&mut self) -> impl Iterator<Item = &mut Counter> {
        self.requests.iter_mut().chain([
            &mut self.input_tokens,
            &mut self.retries,
            &mut self.refused_reports,
        ])
    }

    /// What the audit compares.
    pub(super) fn audited(&self) -> (Option<Meter>, impl Iterator<Item = Audited>) {
        let endpoints = self.endpoints.iter();
        let endpoints = endpoints.map(|meters| [meters.in_flight, meters.waiting]);
        (self.total, endpoints)
    }

    /// Adds a request to an endpoint's count. The pool's goes first here and last in
    /// [`PoolMeters::release`], so that it is never less than its endpoints' together.
    pub(super) fn claim(&self, endpoint: usize, host: &mut dyn Host) {
        step(host, self.total, 1);
        step(host, self.in_flight(endpoint), 1);
    }

    /// Takes a request out of an endpoint's count.
    pub(super) fn release(&self, endpoint: usize, host: &mut dyn Host) {
        step(host, self.in_flight(endpoint), -1);
        step(host, self.total, -1);
    }

    /// A request that was claimed goes to `endpoint`, and `waiting` tokens of it wait there.
    pub(super) fn enter(&mut self, endpoint: usize, waiting: u32, host: &mut dyn Host) {
        let begun = self.take_begun(endpoint);
        let tokens = i64::from(waiting).saturating_sub(begun.into());
        self.wait(endpoint, tokens, host);
        self.book(endpoint, host, |load| {
            load.in_flight = load.in_flight.saturating_add(1);
            load.waiting = load.waiting.saturating_add(waiting).saturating_sub(begun);
        });
    }

    /// The answer has begun that `waiting` tokens waited for.
    pub(super) fn begin(&mut self, endpoint: usize, waiting: u32) {
        if let Some(meters) = self.endpoints.get_mut(endpoint) {
            meters.begun = meters.begun.saturating_add(waiting);
        }
    }

    /// Takes the tokens out of the gauges whose answers have begun.
    pub(super) fn flush_begun(&mut self, host: &mut dyn Host) {
        for endpoint in 0..self.endpoints.len() {
            let begun = self.take_begun(endpoint);
            if begun > 0 {
                self.wait(endpoint, i64::from(begun).saturating_neg(), host);
                self.book(endpoint, host, |load| {
                    load.waiting = load.waiting.saturating_sub(begun);
                });
            }
        }
    }

    /// A request has left `endpoint`, where `waiting` tokens of it still waited.
    pub(super) fn leave(&mut self, endpoint: usize, waiting: u32, host: &mut dyn Host) {
        self.release(endpoint, host);
        let gone = waiting.saturating_add(self.take_begun(endpoint));
        self.wait(endpoint, i64::from(gone).saturating_neg(), host);
        self.book(endpoint, host, |load| {
            load.in_flight = load.in_flight.saturating_sub(1);
            load.waiting = load.waiting.saturating_sub(gone);
        });
    }

    fn take_begun(&mut self, endpoint: usize) -> u32 {
        let meters = self.endpoints.get_mut(endpoint);
        meters.map_or(0, |meters| std::mem::take(&mut meters.begun))
    }

    fn wait(&self, endpoint: usize, tokens: i64, host: &mut dyn Host) {
        if tokens != 0 {
            let meter = self
                .endpoints
                .get(endpoint)
                .and_then(|meters| meters.waiting);
            step(host, meter, tokens);
        }
    }

    fn book(
        &self,
        endpoint: usize,
        host: &mut dyn Host,
        change: impl FnOnce(&mut super::member::Load),
    ) {
        // The books are open only within this function, so they are never found open.
        if let (Some(meters), Ok(mut member)) =
            (self.endpoints.get(endpoint), self.member.try_borrow_mut())
        {
            if member.slot().is_none() {
                member.beat(host.now(), host);
            }
            member.step(meters.account, change, host);
        }
    }

    fn in_flight(&self, endpoint: usize) -> Option<Meter> {
        self.endpoints
            .get(endpoint)
            .and_then(|meters| meters.in_flight)
    }
}

/// Without a gauge there is nothing to be exact about, and a bound holds for nobody.
impl Gauges for PoolGauges<'_> {
    fn in_flight(&mut self, endpoint: usize) -> Option<u64> {
        let meter = self.meters.in_flight(endpoint).filter(|_| self.reads);
        meter.and_then(|meter| self.host.read(meter))
    }

    fn total(&mut self) -> Option<u64> {
        self.meters.total.and_then(|meter| self.host.read(meter))
    }

    fn claim(&mut self, endpoint: usize, at_most: Option<u64>) -> bool {
        self.meters.claim(endpoint, self.host);
        let within = |bound| {
            self.in_flight(endpoint)
                .is_none_or(|carried| carried <= bound)
        };
        let fits = at_most.is_none_or(within);
        if !fits {
            self.meters.release(endpoint, self.host);
        }
        fits
    }

    fn release(&mut self, endpoint: usize) {
        self.meters.release(endpoint, self.host);
    }
}

fn step(host: &mut dyn Host, meter: Option<Meter>, by: i64) {
    if let Some(meter) = meter {
        host.add(meter, by);
    }
}
