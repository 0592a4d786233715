//! What all workers agree on about a pool's endpoints, as this worker knows it, and what follows for balance.
//!
//! The agreement is a [`State`] an endpoint in the store. A worker that sees an outcome takes the state one
//! step further and acts on the result at once; the others are told by a counter of changes, which they
//! compare on their tick. A success costs a step of a host counter and nothing else (see [`crate::health`]).

use std::time::Duration;

use crate::balance::{self, Order};
use crate::config::{Breaker, Pool};
use crate::health::{ErrorRate, FailTimeout, Outcome, ProbeEnd, Rules, Standing, State, Trip};
use crate::ports::{Host, Kind, Meter, update};
use crate::report::metrics;
use crate::values::clock::Instant;
use crate::values::rng::Rng;
use crate::values::units::{Share, Weight};

/// One pool's endpoints.
pub(super) struct Watch {
    rules: Rules,
    /// Whether outcomes of requests are judged.
    breaks: bool,
    endpoints: Vec<Watched>,
    /// Those whose standing is not plainly in, so that time changes it.
    unsettled: Vec<usize>,
    /// How often anything was agreed on anew, in all pools of all workers.
    changes: Option<Meter>,
}

struct Watched {
    /// Of the state in the store.
    key: String,
    state: State,
    standing: Standing,
    /// What it weighs when it is in.
    weight: Weight,
    answered: Option<Meter>,
    trips: Option<Meter>,
    /// Shows the standing's code; the leader sets it.
    gauge: Option<Meter>,
    shown: Option<u8>,
}

/// What a request has shown of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It answers.
    Good,
    /// It failed.
    Bad,
    /// It has too much to do, and said for how long or did not.
    Overloaded(Option<Duration>),
    /// Nothing: its caller left before, or the proxy did not send it. Of use for a probe only.
    Nothing,
}

/// A request that has come to the point where it shows something of its endpoint.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    /// What it shows.
    pub verdict: Verdict,
    /// The probe's token, if it was one.
    pub probe: Option<u32>,
    /// When it was sent.
    pub sent: Instant,
}

impl Watch {
    /// The endpoints of `pool`; `changes` counts what is agreed on anew.
    pub fn new(
        pool: &Pool,
        addresses: &[String],
        changes: Option<Meter>,
        host: &mut dyn Host,
    ) -> Watch {
        let name = pool.name.as_str();
        let endpoints = addresses.iter().zip(&pool.endpoints);
        let endpoints = endpoints.map(|(address, endpoint)| {
            let key = format!("junheng/health/{name}/{address}");
            host.create(&key, &State::default().encode());
            Watched {
                key,
                state: State::default(),
                standing: Standing::In(Share::WHOLE),
                weight: endpoint.weight,
                answered: host.define(Kind::Counter, &metrics::endpoint_answered(name, address)),
                trips: host.define(Kind::Counter, &metrics::endpoint_trips(name, address)),
                gauge: host.define(Kind::Gauge, &metrics::endpoint_state(name, address)),
                shown: None,
            }
        });
        Watch {
            rules: rules(pool),
            breaks: pool.breaker.is_some(),
            unsettled: Vec::new(),
            endpoints: endpoints.collect(),
            changes,
        }
    }

    /// Reads again what is agreed on: for a worker that has heard of changes.
    pub fn refresh(&mut self, host: &mut dyn Host) {
        for endpoint in &mut self.endpoints {
            if let Some(stored) = host.load(&endpoint.key) {
                endpoint.state = State::decode(&stored.bytes).unwrap_or_default();
            }
        }
        self.unsettled = (0..self.endpoints.len()).collect();
    }

    /// Lets balance follow what time has changed.
    pub fn settle(&mut self, pool: &mut balance::Pool, now: Instant) {
        let mut unsettled = std::mem::take(&mut self.unsettled);
        unsettled.retain(|&endpoint| {
            self.apply(endpoint, pool, now);
            let standing = self.endpoints.get(endpoint).map(|watched| watched.standing);
            standing.is_some_and(|standing| standing != Standing::In(Share::WHOLE))
        });
        self.unsettled = unsettled;
    }

    /// Changes what an endpoint weighs when it is in.
    pub fn set_weight(
        &mut self,
        endpoint: usize,
        weight: Weight,
        pool: &mut balance::Pool,
        now: Instant,
    ) {
        if let Some(watched) = self.endpoints.get_mut(endpoint) {
            watched.weight = weight;
            self.apply(endpoint, pool, now);
        }
    }

    fn apply(&mut self, endpoint: usize, pool: &mut balance::Pool, now: Instant) {
        let Some(watched) = self.endpoints.get_mut(endpoint) else {
            return;
        };
        watched.standing = watched.state.standing(&self.rules, now);
        let (weight, share) = match watched.standing {
            Standing::In(share) => (watched.weight, share),
            Standing::DueForProbe | Standing::Out { .. } => (Weight::DRAINED, Share::WHOLE),
        };
        let view = pool.view();
        if (view.weight(endpoint), view.share(endpoint)) != (weight, share) {
            pool.set_weight(endpoint, weight, share);
        }
    }

    /// Makes a request the probe of an endpoint that is due for one; the endpoint and the probe's token.
    pub fn claim_probe(
        &mut self,
        pool: &mut balance::Pool,
        now: Instant,
        host: &mut dyn Host,
    ) -> Option<(usize, u32)> {
        let due = |endpoint: &&usize| {
            let watched = self.endpoints.get(**endpoint);
            watched.is_some_and(|watched| {
                !watched.weight.is_drained()
                    && watched.state.standing(&self.rules, now) == Standing::DueForProbe
            })
        };
        let endpoint = self.unsettled.iter().find(due).copied()?;
        let outcome = self.step(endpoint, pool, now, host, &|state, rules, _| {
            state.probe(rules, now)
        });
        match outcome {
            Outcome::Probing(token) => Some((endpoint, token)),
            _ => None,
        }
    }

    /// A request has shown something of `endpoint`.
    pub fn judge(
        &mut self,
        endpoint: usize,
        Seen {
            verdict,
            probe,
            sent,
        }: Seen,
        pool: &mut balance::Pool,
        now: Instant,
        host: &mut dyn Host,
    ) {
        if !self.breaks {
            return;
        }
        match (verdict, probe) {
            (Verdict::Good, None) => self.good(endpoint, pool, now, host),
            (Verdict::Bad, None) => {
                self.step(endpoint, pool, now, host, &|state, rules, answered| {
                    state.failed(rules, sent, now, answered)
                });
            }
            (Verdict::Overloaded(rest), None) => {
                self.step(endpoint, pool, now, host, &|state, rules, _| {
                    state.overloaded(rules, now, rest)
                });
            }
            (Verdict::Nothing, None) => {}
            (_, Some(token)) => {
                let end = match verdict {
                    Verdict::Good => ProbeEnd::Passed,
                    Verdict::Bad => ProbeEnd::Failed,
                    Verdict::Overloaded(rest) => ProbeEnd::Overloaded(rest),
                    Verdict::Nothing => ProbeEnd::Abandoned(now.since(sent)),
                };
                self.step(endpoint, pool, now, host, &|state, rules, answered| {
                    state.probed(rules, now, answered, token, end)
                });
            }
        }
    }

    /// An active check has passed or failed.
    pub fn checked(
        &mut self,
        endpoint: usize,
        passed: bool,
        pool: &mut balance::Pool,
        now: Instant,
        host: &mut dyn Host,
    ) {
        self.step(endpoint, pool, now, host, &|state, rules, answered| {
            state.checked(rules, now, answered, passed)
        });
    }

    /// Endpoints that the configuration does not drain, whatever their standing, from a random one on.
    pub fn any(&self, attempts: usize, rng: &mut Rng) -> Order {
        let mut order = Order::default();
        let from = rng.below(self.endpoints.len().max(1));
        let all = (0..self.endpoints.len())
            .cycle()
            .skip(from)
            .take(self.endpoints.len());
        for endpoint in all.filter(|endpoint| !self.weight(*endpoint).is_drained()) {
            order.push(endpoint as u32, attempts);
        }
        order
    }

    /// When an endpoint may be fit again, as far as one can tell.
    pub fn next_chance(&self) -> Option<Instant> {
        let until = |watched: &Watched| match watched.standing {
            Standing::Out { until, .. } => until,
            Standing::In(_) | Standing::DueForProbe => None,
        };
        self.endpoints.iter().filter_map(until).min()
    }

    /// What `endpoint` weighs when it is in.
    pub fn weight(&self, endpoint: usize) -> Weight {
        let watched = self.endpoints.get(endpoint);
        watched.map_or(Weight::DRAINED, |watched| watched.weight)
    }

    /// Shows the standings in the metrics: for the leader, as one voice.
    pub fn show(&mut self, host: &mut dyn Host) {
        for watched in &mut self.endpoints {
            let code = watched.standing.code();
            if let Some(gauge) = watched.gauge.filter(|_| watched.shown != Some(code)) {
                host.record(gauge, code.into());
                watched.shown = Some(code);
            }
        }
    }

    /// Somebody else shows the standings, or has shown them.
    pub fn leave(&mut self) {
        for watched in &mut self.endpoints {
            watched.shown = None;
        }
    }

    /// Counts a success. It belongs to the bucket of its time, so where that has not begun it begins now.
    fn good(
        &mut self,
        endpoint: usize,
        pool: &mut balance::Pool,
        now: Instant,
        host: &mut dyn Host,
    ) {
        let Some(watched) = self.endpoints.get(endpoint) else {
            return;
        };
        let answered = watched.answered;
        if watched.state.needs_roll(&self.rules, now) {
            self.step(endpoint, pool, now, host, &|state, rules, answered| {
                state.roll(rules, now, answered)
            });
        }
        if let Some(answered) = answered {
            host.add(answered, 1);
        }
    }

    /// Takes what is agreed on one step further, and acts on it. Not generic over the step: it is called from
    /// many places, and none of them is worth a copy in the artifact.
    #[inline(never)]
    fn step(
        &mut self,
        endpoint: usize,
        pool: &mut balance::Pool,
        now: Instant,
        host: &mut dyn Host,
        step: &dyn Fn(&State, &Rules, u64) -> (State, Outcome),
    ) -> Outcome {
        let Some(watched) = self.endpoints.get_mut(endpoint) else {
            return Outcome::Unchanged;
        };
        let (rules, answered) = (&self.rules, watched.answered);
        let mut current = None;
        let outcome = update(host, &watched.key, |host, bytes| {
            let state = State::decode(bytes).unwrap_or_default();
            let count = answered.and_then(|answered| host.read(answered));
            let (next, outcome) = step(&state, rules, count.unwrap_or_default());
            let changed = outcome != Outcome::Unchanged;
            current = Some(if changed { next.clone() } else { state });
            changed.then(|| (next.encode(), outcome))
        });
        if let Some(current) = current {
            watched.state = current;
        }
        let outcome = outcome.unwrap_or(Outcome::Unchanged);
        if outcome == Outcome::Tripped
            && let Some(trips) = watched.trips
        {
            host.add(trips, 1);
        }
        if !matches!(outcome, Outcome::Unchanged | Outcome::Counted)
            && let Some(changes) = self.changes
        {
            host.add(changes, 1);
        }
        self.apply(endpoint, pool, now);
        if !self.unsettled.contains(&endpoint) {
            self.unsettled.push(endpoint);
        }
        outcome
    }
}

fn rules(pool: &Pool) -> Rules {
    let defaults = Rules::default();
    let trip = match pool.breaker {
        None => defaults.trip,
        Some(Breaker::Window {
            error_percent,
            minimum_requests,
            window,
            failures_in_a_row,
            open,
        }) => Trip::ErrorRate(ErrorRate {
            window,
            above_percent: error_percent,
            least_requests: minimum_requests,
            in_a_row: failures_in_a_row.into(),
            tripped: open,
        }),
        Some(Breaker::FailTimeout {
            max_fails,
            fail_timeout,
        }) => Trip::FailTimeout(FailTimeout {
            max_fails: max_fails.into(),
            fail_timeout,
        }),
    };
    let checks = pool.check.as_ref();
    Rules {
        trip,
        ramp: pool.ramp,
        check_failures: checks.map_or(defaults.check_failures, |check| check.unhealthy_after),
        check_passes: checks.map_or(defaults.check_passes, |check| check.healthy_after),
        ..defaults
    }
}
