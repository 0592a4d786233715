//! What all workers agree on about a pool's endpoints, as this worker knows it, and what follows
//! for balance.
//!
//! The agreement is a [`State`] an endpoint in the store. A worker that sees an outcome takes the
//! state one step further and acts on the result at once; the others are told by a counter of
//! changes, which they compare on their tick. A success costs a step of a host counter and nothing
//! else (see [`crate::health`]).

use std::time::Duration;

use crate::balance::{self, Order};
use crate::config::Pool;
use crate::health::{Caller, Callers, Outcome, Rules, Standing, State, Why};
use crate::ports::{Host, Meter, update};
use crate::values::clock::Instant;
use crate::values::rng::Rng;
use crate::values::units::{Share, Weight};

use super::caller;
use super::suspects::Suspects;

mod absent;
mod doubt;
mod ejection;
mod endpoint;
mod judge;
mod rules;
mod verdict;

pub(super) use absent::Absent;
use endpoint::Watched;
use rules::rules;
pub(super) use verdict::{Seen, Verdict};

/// So long a caller that was served is one of the pool's.
const SERVED: Duration = Duration::from_secs(300);

/// One pool's endpoints.
pub(super) struct Watch {
    rules: Rules,
    /// Of a hundred endpoints, as many as the breaker may keep out.
    max_ejected_percent: u8,
    endpoints: Vec<Watched>,
    /// Those whose standing is not plainly in, or that have a bound, so that time changes them.
    unsettled: Vec<usize>,
    /// Those of which something may have to be told.
    untold: Vec<usize>,
    /// Whether another worker may have set the metrics.
    told_by_others: bool,
    suspects: Suspects,
    /// Callers whose requests this worker has seen served, by any endpoint.
    served: Callers,
    /// Successes of callers that the headers do not name.
    anonymous: u8,
    /// How often anything was agreed on anew, in all pools of all workers.
    changes: Option<Meter>,
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
        let rules = rules(pool);
        let endpoints = addresses.iter().zip(&pool.endpoints);
        let endpoints = endpoints
            .map(|(address, endpoint)| Watched::new(name, address, endpoint.weight, &rules, host));
        Watch {
            rules,
            max_ejected_percent: pool.max_ejected_percent,
            unsettled: Vec::new(),
            untold: Vec::new(),
            told_by_others: true,
            suspects: Suspects::default(),
            served: Callers::default(),
            anonymous: 0,
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
        self.untold.clone_from(&self.unsettled);
    }

    /// Lets balance follow what time, and successes of overloaded endpoints, have changed.
    pub fn settle(&mut self, pool: &mut balance::Pool, now: Instant, host: &mut dyn Host) {
        let mut unsettled = std::mem::take(&mut self.unsettled);
        unsettled.retain(|&endpoint| {
            self.apply(endpoint, pool, now, host);
            self.endpoints.get(endpoint).is_some_and(|watched| {
                watched.standing != Standing::In(Share::WHOLE) || watched.state.may_be_bounded()
            })
        });
        self.unsettled = unsettled;
        self.spare(pool);
    }

    /// Changes what an endpoint weighs when it is in.
    pub fn set_weight(
        &mut self,
        endpoint: usize,
        weight: Weight,
        pool: &mut balance::Pool,
        now: Instant,
        host: &mut dyn Host,
    ) {
        if let Some(watched) = self.endpoints.get_mut(endpoint) {
            watched.weight = weight;
            self.apply(endpoint, pool, now, host);
        }
    }

    fn apply(
        &mut self,
        endpoint: usize,
        pool: &mut balance::Pool,
        now: Instant,
        host: &mut dyn Host,
    ) {
        let Some(watched) = self.endpoints.get_mut(endpoint) else {
            return;
        };
        watched.standing = watched.state.standing(&self.rules, now);
        watched.spared &= watched.state.tripped_since(&self.rules).is_some();
        let bound = match watched.state.may_be_bounded() {
            true => {
                let answered = watched.answered.and_then(|answered| host.read(answered));
                watched.state.bound(now, answered.unwrap_or_default())
            }
            false => None,
        };
        if pool.view().bound(endpoint) != bound {
            pool.view_mut().set_bound(endpoint, bound);
        }
        watched.weigh(endpoint, pool);
    }

    /// Spares those that tripped last, where more have tripped than may be out.
    fn spare(&mut self, pool: &mut balance::Pool) {
        if self.unsettled.is_empty() {
            return;
        }
        let endpoints = self.unsettled.iter();
        let tripped = endpoints.filter_map(|&endpoint| {
            let watched = self.endpoints.get(endpoint)?;
            let since = watched.state.tripped_since(&self.rules)?;
            // One that is drained takes nothing from the pool by its trip.
            (!watched.weight.is_drained()).then_some((since, endpoint))
        });
        let tripped = tripped.collect();
        let endpoints = self.endpoints.iter();
        let all = endpoints.filter(|watched| !watched.weight.is_drained());
        let most = ejection::most(all.count(), self.max_ejected_percent);
        let spared = ejection::spared(tripped, most);
        for &endpoint in &self.unsettled {
            if let Some(watched) = self.endpoints.get_mut(endpoint)
                && watched.spared != spared.contains(&endpoint)
            {
                watched.spared = !watched.spared;
                watched.weigh(endpoint, pool);
            }
        }
    }

    /// Whether all that takes traffic here is tripped and spared: then other pools are better.
    pub fn is_spared_only(&self) -> bool {
        let mut any = false;
        for watched in self.endpoints.iter().filter(|watched| watched.is_in()) {
            if !watched.spared {
                return false;
            }
            any = true;
        }
        any
    }

    /// Makes a request of `caller` the probe of an endpoint that is due for one. Returns the endpoint
    /// and the probe's token.
    pub fn claim_probe(
        &mut self,
        caller: Option<Caller>,
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
        let caller = caller::of(caller, host);
        let others = self.served.others(caller, SERVED, now);
        let outcome = self.step(endpoint, pool, now, host, &|state, rules, _| {
            state.probe(rules, caller, others, now)
        });
        match outcome {
            Outcome::Probing(token) => Some((endpoint, token)),
            _ => None,
        }
    }

    /// Endpoints that the configuration does not drain, whatever their standing, from a random one
    /// on.
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

    /// Whether the next request at `endpoint` is to show what hidden attempts there have been.
    pub fn asks(&mut self, endpoint: usize, now: Instant) -> bool {
        let rules = &self.rules;
        let watched = self.endpoints.get_mut(endpoint);
        watched.is_some_and(|watched| {
            let in_row = watched.state.may_trip_next(rules);
            watched.doubt.asks(in_row, now)
        })
    }

    /// Whether attempts at `endpoint` were hidden lately, so that it matters what it carries.
    pub fn is_doubted(&self, endpoint: usize, now: Instant) -> bool {
        let watched = self.endpoints.get(endpoint);
        watched.is_some_and(|watched| watched.doubt.is_cast(now))
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

    /// How many endpoints take no traffic, by reason: for those whose request finds none.
    pub fn absent(&self, pool: &balance::Pool) -> Absent {
        let mut absent = Absent::default();
        for (endpoint, watched) in self.endpoints.iter().enumerate() {
            let reason = match watched.standing {
                _ if watched.weight.is_drained() => &mut absent.drained,
                Standing::Out { why, .. } => match why {
                    Why::Unhealthy => &mut absent.unhealthy,
                    Why::Tripped | Why::Probing => &mut absent.tripped,
                    Why::Resting => &mut absent.overloaded,
                },
                Standing::DueForProbe => &mut absent.tripped,
                Standing::In(_) if !pool.view().has_room(endpoint) => &mut absent.overloaded,
                Standing::In(_) => continue,
            };
            *reason = reason.saturating_add(1);
        }
        absent
    }

    /// Tells what has changed since the last time: in metrics and in the log if this worker leads.
    pub fn announce(
        &mut self,
        config: &Pool,
        pool: &balance::Pool,
        leads: bool,
        now: Instant,
        host: &mut dyn Host,
    ) {
        if leads && std::mem::take(&mut self.told_by_others) {
            self.untold = (0..self.endpoints.len()).collect();
            for watched in &mut self.endpoints {
                watched.announced.forget_metrics();
            }
        }
        let mut untold = std::mem::take(&mut self.untold);
        untold.retain(|&at| {
            let endpoint = self.endpoints.get_mut(at).zip(config.endpoints.get(at));
            endpoint.is_some_and(|(watched, endpoint)| {
                let stand = watched.stand(pool.view().bound(at).map(|bound| bound.most));
                let endpoint = (config, endpoint.address);
                watched.announced.tell(stand, endpoint, leads, now, host);
                !watched.announced.is_calm(&stand)
            })
        });
        self.untold = untold;
    }

    /// Another worker tells the changes, or has told them.
    pub fn leave(&mut self) {
        self.told_by_others = true;
    }

    /// Takes what is agreed on one step further, and acts on it. Not generic over the step: it is
    /// called from many places, and none of them is worth a copy in the artifact.
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
        self.apply(endpoint, pool, now, host);
        for list in [&mut self.unsettled, &mut self.untold] {
            if !list.contains(&endpoint) {
                list.push(endpoint);
            }
        }
        self.spare(pool);
        outcome
    }
}
