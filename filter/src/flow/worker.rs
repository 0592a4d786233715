//! What one worker knows: the configuration, and for each pool its endpoints as this worker sees them.
//!
//! What is shared by all workers (in-flight counts in the host's gauges, standings and weights in the store)
//! costs more to read than a decision, so each worker keeps a view: its own steps at once, the others' on
//! the tick. One worker leads, and does on its tick what is to be done once in the proxy.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::config::Config;
use crate::ports::{Host, Kind, Meter};
use crate::report::metrics;
use crate::text::Estimator;
use crate::values::clock::Instant;
use crate::values::headers::Headers;
use crate::values::rng::Rng;

use super::attempts::AttemptHeader;
use super::bearers::Bearers;
use super::caller;
use super::counter::Counter;
use super::errand::{About, Errand, Reply};
use super::held::Held;
use super::lease::{Candidate, Lane, Role};
use super::member::Member;
use super::overdue::Overdue;
use super::pool::PoolState;
use super::quota::Quotas;
use super::{Refusal, Verdict};

/// One worker of the proxy, under one configuration.
pub struct Worker {
    pub(super) config: Rc<Config>,
    pub(super) pools: Vec<PoolState>,
    /// The limits, where there are any.
    pub(super) quotas: Option<Box<Quotas>>,
    pub(super) estimator: Estimator,
    pub(super) rng: Rng,
    member: Rc<RefCell<Member>>,
    /// What the member's requests that are held take of its memory.
    pub(super) held: Held,
    /// The streams that are to begin within their routes' bounds.
    pub(super) overdue: Overdue,
    candidate: Candidate,
    /// The configuration's place among those in force, once it is known.
    lane: Option<Lane>,
    /// What is known of bearer tokens, where they are looked at.
    pub(super) bearers: Option<Box<Bearers>>,
    /// Counts what is agreed on anew, and how far this worker has followed.
    changes: Option<Meter>,
    followed: u64,
    attempt_header: AttemptHeader,
    /// Counters of refusals by their codes, each defined when it is first needed.
    refused: Vec<(&'static str, Counter)>,
    /// Whether the configuration has been replaced: no tick will come any more.
    pub(super) retired: bool,
}

impl Worker {
    /// How often a worker looks at the others' in-flight counts.
    ///
    /// Twenty reads a second of each gauge are 0.04 % of a core at a hundred endpoints, and a view that
    /// is 50 ms old errs by the few requests that other workers place in 50 ms.
    pub const TICK: Duration = Duration::from_millis(50);

    /// A worker under `config` in the VM `member`; `seed` decides every random choice it will make.
    pub fn new(
        config: Config,
        member: &Rc<RefCell<Member>>,
        seed: u64,
        host: &mut dyn Host,
    ) -> Worker {
        let mut rng = Rng::new(seed);
        // A host gives a metric another number each time it is defined: once, for all pools.
        let changes = host.define(Kind::Counter, metrics::CHANGES);
        let fingerprint = config.fingerprint;
        let pools = config
            .pools
            .iter()
            .map(|pool| PoolState::new(pool, fingerprint, member, changes, &mut rng, host))
            .collect();
        let quotas = Quotas::new(&config, member, &mut rng, host);
        Candidate::prepare(host);
        caller::prepare(&config.identity, host);
        let number = member.borrow_mut().begin(fingerprint);
        let candidate = Candidate {
            vm: member.borrow().id(),
            number,
            configuration: fingerprint,
        };
        let bearers = config.identity.takes_bearers();
        let mut worker = Worker {
            bearers: bearers.then(|| Box::new(Bearers::new(&config.identity, changes, host))),
            estimator: Estimator::new(config.models.len()),
            config: Rc::new(config),
            pools,
            quotas,
            rng,
            candidate,
            lane: None,
            member: Rc::clone(member),
            held: member.borrow().held(),
            overdue: Overdue::default(),
            changes,
            followed: 0,
            attempt_header: AttemptHeader::default(),
            refused: Vec::new(),
            retired: false,
        };
        worker.recall();
        worker.begin(host);
        worker
    }

    /// Knows from its first request on what is agreed on about its endpoints: an endpoint that
    /// tripped under the last configuration is left out under this one.
    fn begin(&mut self, host: &mut dyn Host) {
        let now = host.now();
        for pool in &mut self.pools {
            pool.follow(None, now, host);
            pool.watch.settle(&mut pool.endpoints, now, host);
        }
    }

    /// Takes up what the VM has learned under other configurations.
    fn recall(&mut self) {
        let Ok(mut member) = self.member.try_borrow_mut() else {
            return;
        };
        let learned = member.learned();
        for (model, name) in self.config.models.iter().enumerate() {
            if let Some(correction) = learned.model(name) {
                self.estimator.restore(model, correction);
            }
        }
        for (pool, config) in self.pools.iter_mut().zip(&self.config.pools) {
            let view = pool.endpoints.view_mut();
            for endpoint in 0..view.len() {
                let address = view.address(endpoint).unwrap_or_default();
                if let Some(experience) = learned.endpoint(&config.name, address) {
                    view.restore(endpoint, experience);
                }
            }
        }
    }

    /// Leaves what it has learned to the VM's next configuration, which is about to begin.
    pub fn remember(&self) {
        let Ok(mut member) = self.member.try_borrow_mut() else {
            return;
        };
        let learned = member.learned();
        for (model, name) in self.config.models.iter().enumerate() {
            if let Some(correction) = self.estimator.correction(model) {
                learned.put_model(name, correction);
            }
        }
        for (pool, config) in self.pools.iter().zip(&self.config.pools) {
            let view = pool.endpoints.view();
            for endpoint in 0..view.len() {
                if let Some((address, experience)) =
                    view.address(endpoint).zip(view.experience(endpoint))
                {
                    learned.put_endpoint(&config.name, address, experience);
                }
            }
        }
    }

    /// How many endpoints were tried for a response with these `headers`: `from_endpoint` tells
    /// whether an endpoint made it, `property` reads what the proxy counted. Each is called only if
    /// needed.
    pub fn attempts(
        &mut self,
        headers: &Headers,
        from_endpoint: impl FnOnce() -> bool,
        property: impl FnOnce() -> Option<u32>,
    ) -> u32 {
        self.attempt_header
            .attempts(headers, from_endpoint, property)
    }

    /// Takes over what the other workers have done, tells the host what was counted, and, where this worker
    /// leads, returns what is to be asked of the endpoints and of issuers.
    pub fn on_tick(&mut self, host: &mut dyn Host) -> Vec<Errand> {
        self.tell_counts(host);
        if self.retired {
            return Vec::new();
        }
        let now = host.now();
        self.beat(now, host);
        let (role, lane) = self.candidate.lead(now, host);
        let leads = role != Role::Follows;
        self.follow(lane, now, host);
        // What is published of loads has one place a VM and lane, and a configuration that drains
        // hears less and less.
        let Candidate {
            number,
            configuration,
            ..
        } = self.candidate;
        let member = self.member.try_borrow();
        let speaks = member.is_ok_and(|member| member.is_newest(configuration, number));
        let config = Rc::clone(&self.config);
        let mut errands = Vec::new();
        for (id, (pool, config)) in self.pools.iter_mut().zip(&config.pools).enumerate() {
            pool.sync_in_flight(now, host);
            if role != Role::Leads {
                pool.rounds.leave();
                pool.watch.leave();
            }
            if let Some((rule, lane)) = config.load.as_ref().zip(lane) {
                if speaks {
                    pool.loads.publish(lane, &self.member, rule, now, host);
                }
                if leads {
                    pool.loads.weigh(lane, (config, rule), now, host);
                }
            }
            if leads {
                let (total, endpoints) = pool.meters.audited();
                let places = pool.loads.places();
                pool.audit
                    .look(&config.name, total, places, endpoints, now, host);
                let view = pool.endpoints.view();
                pool.rounds.due(id, config, view, now, (&mut errands, host));
            }
            pool.watch.settle(&mut pool.endpoints, now, host);
            let view = &pool.endpoints;
            pool.watch.announce(config, view, leads, now, host);
        }
        if let Some(bearers) = &mut self.bearers {
            bearers.on_tick(&config.identity, leads, now, host);
            errands.append(&mut bearers.errands);
        }
        if let Some(quotas) = &mut self.quotas {
            quotas.on_tick(&config, leads, now, host);
            errands.append(&mut quotas.errands());
        }
        errands
    }

    /// The proxy did not send an errand. It has no such cluster or no host in it, and then a check has failed:
    /// requests would, too. But a cluster that requests are in flight to is there, and the proxy's own
    /// bound on them is reached, which is no endpoint's fault.
    pub fn on_unsent(&mut self, errand: &Errand, host: &mut dyn Host) {
        let busy = match errand.about {
            About::Endpoint { pool, .. } => self
                .pools
                .get(pool)
                .is_some_and(|pool| pool.endpoints.view().total_in_flight() > 0),
            About::Keys(_) | About::Token(_) | About::Limits(_) => false,
        };
        if !busy {
            self.on_reply(errand, None, host);
        }
    }

    /// The proxy took an errand and kept it to itself, as a bound of its own was reached: that tells nothing of an
    /// endpoint, and who waits for an answer gets none.
    pub fn on_kept(&mut self, errand: &Errand, host: &mut dyn Host) {
        if !matches!(errand.about, About::Endpoint { .. }) {
            self.on_reply(errand, None, host);
        }
    }

    /// An errand has come to its end; `None` if it ended without an answer.
    pub fn on_reply(&mut self, errand: &Errand, reply: Option<&Reply>, host: &mut dyn Host) {
        let config = Rc::clone(&self.config);
        let About::Endpoint {
            pool,
            endpoint,
            what,
        } = errand.about
        else {
            match errand.about {
                About::Limits(number) => {
                    if let Some(quotas) = &mut self.quotas {
                        quotas.on_reply(number, reply, &config, host);
                    }
                }
                about => {
                    if let Some(bearers) = &mut self.bearers {
                        bearers.on_reply(about, reply, &config.identity, host);
                    }
                }
            }
            return;
        };
        if self.retired {
            return;
        }
        let now = host.now();
        let pool = self.pools.get_mut(pool).zip(config.pools.get(pool));
        if let Some((pool, config)) = pool {
            pool.on_reply(config, (endpoint, what), reply, now, host);
        }
    }

    /// What requests have made necessary to ask since the last time.
    pub fn errands(&mut self) -> Vec<Errand> {
        let bearers = self.bearers.as_mut();
        let bearers = bearers.map_or(Vec::new(), |bearers| std::mem::take(&mut bearers.errands));
        let quotas = self
            .quotas
            .as_mut()
            .map_or(Vec::new(), |quotas| quotas.errands());
        bearers.into_iter().chain(quotas).collect()
    }

    /// The streams that waited for an answer and have it, since the last time: each is to be told
    /// ([`super::Stream::on_answer`]).
    pub fn woken(&mut self) -> Vec<u32> {
        let bearers = self.bearers.as_mut();
        let bearers = bearers.map_or(Vec::new(), |bearers| bearers.woken());
        let quotas = self
            .quotas
            .as_mut()
            .map_or(Vec::new(), |quotas| quotas.woken());
        bearers.into_iter().chain(quotas).collect()
    }

    /// The streams that have not begun in time, since the last time: each is to be told
    /// ([`super::Stream::on_overdue`]).
    pub fn overdue(&mut self, host: &mut dyn Host) -> Vec<u32> {
        match self.overdue.is_empty() {
            true => Vec::new(),
            false => self.overdue.take(host.now()),
        }
    }

    /// Says that this VM lives. A member that is at work, as no callback is within another, skips a beat.
    fn beat(&self, now: Instant, host: &mut dyn Host) {
        if let Ok(mut member) = self.member.try_borrow_mut() {
            member.beat(now, host);
        }
    }

    /// Reads again what is agreed on, if anything is agreed on anew or the configuration has
    /// another lane.
    fn follow(&mut self, lane: Option<Lane>, now: Instant, host: &mut dyn Host) {
        let changes = self.changes.and_then(|changes| host.read(changes));
        let moved = lane.map(|lane| lane.own) != self.lane.map(|lane| lane.own);
        self.lane = lane;
        if moved || changes.is_none_or(|changes| changes != self.followed) {
            for pool in &mut self.pools {
                pool.follow(lane, now, host);
            }
            if let Some(bearers) = &mut self.bearers {
                bearers.follow(host);
            }
            self.followed = changes.unwrap_or_default();
        }
    }

    /// The configuration has been replaced; streams that began under it may still be on their way.
    pub fn on_retired(&mut self, host: &mut dyn Host) {
        self.retired = true;
        self.remember();
        if let Some(bearers) = &mut self.bearers {
            bearers.give_up();
        }
        if let Some(quotas) = &mut self.quotas {
            quotas.give_up();
        }
        if let Ok(mut member) = self.member.try_borrow_mut() {
            member.end(self.candidate.number);
            if let Some(quotas) = &self.quotas {
                quotas.leave_shapes(member.shapes());
            }
        }
        self.tell_counts(host);
        self.store_settled(host);
    }

    /// A stream has ended. Where no tick will come, what it counted and settled is told at once.
    pub(super) fn on_stream_end(&mut self, host: &mut dyn Host) {
        if self.retired {
            self.tell_counts(host);
            self.store_settled(host);
        }
    }

    fn store_settled(&mut self, host: &mut dyn Host) {
        if let Some(quotas) = &mut self.quotas {
            quotas.store_settled(host.now(), host);
        }
    }

    fn tell_counts(&mut self, host: &mut dyn Host) {
        for pool in &mut self.pools {
            pool.meters.flush_begun(host);
        }
        let pools = self
            .pools
            .iter_mut()
            .flat_map(|pool| pool.meters.counters());
        let quotas = self.quotas.iter_mut().flat_map(|quotas| quotas.counters());
        let refusals = self.refused.iter_mut().map(|(_, counter)| counter);
        let all = pools.chain(quotas).chain(refusals);
        all.for_each(|counter| counter.tell(host));
        if let Some(bearers) = &mut self.bearers {
            bearers.tell_counts(host);
        }
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
