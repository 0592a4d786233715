//! What one worker knows: the configuration, and for each pool its endpoints as this worker sees them.
//!
//! In-flight counts live in the host's gauges, exact over all workers. Reading them all would cost more
//! than a decision, so each worker keeps a view: its own steps at once, the others' on the tick.

use std::rc::Rc;
use std::time::Duration;

use crate::balance::{self, Gauges};
use crate::config::{Algorithm, Config, Pool};
use crate::ports::{Host, Kind, Meter};
use crate::report::metrics::{self, StatusClass};
use crate::request::Estimator;
use crate::values::rng::Rng;

use super::counter::Counter;
use super::{Refusal, Verdict};

/// One worker of the proxy, under one configuration.
pub struct Worker {
    pub(super) config: Rc<Config>,
    pub(super) pools: Vec<PoolState>,
    pub(super) estimator: Estimator,
    pub(super) rng: Rng,
    /// Counters of refusals by their codes, each defined when it is first needed.
    refused: Vec<(&'static str, Counter)>,
    /// Whether the configuration has been replaced: no tick will come any more.
    retired: bool,
}

/// A pool as one worker sees it.
pub(super) struct PoolState {
    pub(super) endpoints: balance::Pool,
    pub(super) meters: PoolMeters,
}

/// A pool's meters. Each may be missing, where the host refused to define it.
pub(super) struct PoolMeters {
    endpoints: Vec<Option<Meter>>,
    /// Only where the algorithm asks for it; elsewhere it would cost two calls a request to say a sum.
    total: Option<Meter>,
    requests: [Counter; StatusClass::ALL.len()],
    pub(super) input_tokens: Counter,
    pub(super) retries: Counter,
    pub(super) ttft: Option<Meter>,
}

/// A pool's gauges, as its balancer asks for them.
pub(super) struct PoolGauges<'a> {
    pub(super) meters: &'a PoolMeters,
    pub(super) host: &'a mut dyn Host,
}

impl Worker {
    /// How often a worker looks at the others' in-flight counts.
    ///
    /// Twenty reads a second of each gauge are 0.04 % of a core at a hundred endpoints, and a view that
    /// is 50 ms old errs by the few requests that other workers place in 50 ms.
    pub const TICK: Duration = Duration::from_millis(50);

    /// A worker under `config`; `seed` decides every random choice it will make.
    pub fn new(config: Config, seed: u64, host: &mut dyn Host) -> Worker {
        let mut rng = Rng::new(seed);
        let pools = config
            .pools
            .iter()
            .map(|pool| PoolState::new(pool, &mut rng, host))
            .collect();
        Worker {
            estimator: Estimator::new(config.models.len()),
            config: Rc::new(config),
            pools,
            rng,
            refused: Vec::new(),
            retired: false,
        }
    }

    /// Takes the other workers' in-flight counts into this worker's view, and tells the host what was counted.
    pub fn on_tick(&mut self, host: &mut dyn Host) {
        for pool in &mut self.pools {
            for (endpoint, meter) in pool.meters.endpoints.iter().enumerate() {
                if let Some(exact) = meter.and_then(|meter| host.read(meter)) {
                    pool.endpoints.view_mut().sync_in_flight(endpoint, exact);
                }
            }
        }
        self.tell_counts(host);
    }

    /// The configuration has been replaced; streams that began under it may still be on their way.
    pub fn on_retired(&mut self, host: &mut dyn Host) {
        self.retired = true;
        self.tell_counts(host);
    }

    /// A stream has ended. Where no tick will come, what it counted is told at once.
    pub(super) fn on_stream_end(&mut self, host: &mut dyn Host) {
        if self.retired {
            self.tell_counts(host);
        }
    }

    fn tell_counts(&mut self, host: &mut dyn Host) {
        let pools = self
            .pools
            .iter_mut()
            .flat_map(|pool| pool.meters.counters());
        let refusals = self.refused.iter_mut().map(|(_, counter)| counter);
        pools.chain(refusals).for_each(|counter| counter.tell(host));
    }

    /// Counts `refusal` and makes it the verdict.
    pub(super) fn refuse(&mut self, refusal: Refusal, host: &mut dyn Host) -> Verdict {
        let code = refusal.code;
        match self.refused.iter_mut().find(|(known, _)| *known == code) {
            Some((_, counter)) => counter.add(1),
            None => {
                let mut counter = Counter::define(host, &metrics::refused(code));
                counter.add(1);
                self.refused.push((code, counter));
            }
        }
        Verdict::Refuse(refusal)
    }
}

impl PoolState {
    fn new(pool: &Pool, rng: &mut Rng, host: &mut dyn Host) -> PoolState {
        let addresses: Vec<String> = pool
            .endpoints
            .iter()
            .map(|endpoint| endpoint.address.to_string())
            .collect();
        let weights = pool.endpoints.iter().map(|endpoint| endpoint.weight);
        let endpoints = addresses.iter().map(String::as_str).zip(weights);
        PoolState {
            endpoints: balance::Pool::new(algorithm(pool.balance.algorithm), endpoints, rng),
            meters: PoolMeters::new(pool, &addresses, host),
        }
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
    fn new(pool: &Pool, addresses: &[String], host: &mut dyn Host) -> PoolMeters {
        let name = pool.name.as_str();
        let hashes = pool.balance.algorithm == Algorithm::ConsistentHash;
        PoolMeters {
            endpoints: addresses
                .iter()
                .map(|address| {
                    host.define(Kind::Gauge, &metrics::endpoint_in_flight(name, address))
                })
                .collect(),
            total: hashes
                .then(|| host.define(Kind::Gauge, &metrics::pool_in_flight(name)))
                .flatten(),
            requests: StatusClass::ALL
                .map(|class| Counter::define(host, &metrics::pool_requests(name, class))),
            input_tokens: Counter::define(host, &metrics::pool_input_tokens(name)),
            retries: Counter::define(host, &metrics::pool_retries(name)),
            ttft: host.define(Kind::Histogram, &metrics::pool_ttft(name)),
        }
    }

    pub(super) fn count_request(&mut self, class: StatusClass) {
        if let Some(counter) = self.requests.get_mut(class as usize) {
            counter.add(1);
        }
    }

    fn counters(&mut self) -> impl Iterator<Item = &mut Counter> {
        self.requests
            .iter_mut()
            .chain([&mut self.input_tokens, &mut self.retries])
    }

    /// Adds a request to an endpoint's count. The pool's goes first here and last in
    /// [`PoolMeters::release`], so that it is never less than its endpoints' together.
    pub(super) fn claim(&self, endpoint: usize, host: &mut dyn Host) {
        step(host, self.total, 1);
        step(host, self.endpoint(endpoint), 1);
    }

    /// Takes a request out of an endpoint's count.
    pub(super) fn release(&self, endpoint: usize, host: &mut dyn Host) {
        step(host, self.endpoint(endpoint), -1);
        step(host, self.total, -1);
    }

    fn endpoint(&self, endpoint: usize) -> Option<Meter> {
        self.endpoints.get(endpoint).copied().flatten()
    }
}

/// Without a gauge there is nothing to be exact about, and a bound holds for nobody.
impl Gauges for PoolGauges<'_> {
    fn in_flight(&mut self, endpoint: usize) -> Option<u64> {
        self.meters
            .endpoint(endpoint)
            .and_then(|meter| self.host.read(meter))
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
}

fn step(host: &mut dyn Host, meter: Option<Meter>, by: i64) {
    if let Some(meter) = meter {
        host.add(meter, by);
    }
}
