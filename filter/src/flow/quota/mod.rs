//! Limits on a request's way: reserved before an endpoint is chosen, settled when the answer has ended.
//!
//! A request takes from every limit that matches it, or from none: all are looked at before anything is written, and where
//! another worker is faster meanwhile, what was written is given back. It takes one request, and as many tokens
//! as its input is estimated at and its output is bounded by; the answer says what it really was ([`crate::answer::Relay`]), and what no
//! answer says is charged as it was estimated.
//!
//! | the answer | requests | tokens |
//! |---|---|---|
//! | none from an endpoint, or 429, 503 or 529 | 0 | 0 |
//! | another status of 400 and above, or none in time | 1 | 0 |
//! | none, as the client left before | 1 | the input |
//! | in full or cut, by whomever | 1 | what was relayed of it, and the input |
//! | in full or cut, and not to be read (compressed) | 1 | what was reserved |
//!
//! A limit of the whole fleet is taken from what this worker has on loan; where that is too little, the request is held and the
//! engine asked ([`fleet`]).
//!
//! What is used beyond the reservation is charged as it passes. What was not used is there again for the same worker's next
//! request at once, and for other workers' on the tick at the latest ([`unsettled`]).
//!
//! What cannot be read of the store is refused: a limit that is not held is none. What cannot be written at the
//! end stays charged as it was reserved.

mod fleet;
mod gate;
mod key;
mod reserve;
mod settle;
mod shapes;
mod told;
mod unsettled;

use std::cell::RefCell;

use crate::config::{Config, EngineProtocol, OnError, Quota};
use crate::ports::{Host, update};
use crate::quota::{BUDGETS, Costs, Key, Rate, Rates, Table};
use crate::report::metrics;
use crate::request::Facts;
use crate::route::Query;
use crate::values::clock::Instant;
use crate::values::rng::Rng;
use crate::values::units::Tokens;

use super::counter::Counter;
use super::errand::{Errand, Reply};
use super::member::Member;

pub(super) use fleet::Answer as EngineAnswer;
use fleet::Fleet;
use key::Secret;
pub(super) use reserve::{Unreserved, reserve};
pub(super) use settle::{Answer, Reservation, abandon, charge, on_response, settle};
use shapes::Shape;
use told::Texts;
use unsettled::Unsettled;

/// The limits, as one worker knows them.
pub(super) struct Quotas {
    limits: Vec<Limit>,
    secret: Secret,
    unsettled: Unsettled,
    /// When the store was last told that these limits are in force.
    shown: Option<Instant>,
    /// What there is of the fleet's, where any limit is.
    fleet: Option<Box<Fleet>>,
}

struct Limit {
    /// Of the keys of its table's sets.
    prefix: String,
    /// What its buckets here depend on, where there are any.
    shape: Option<Shape>,
    table: Table,
    rates: Rates,
    /// What a worker may keep on loan of it, where it is the fleet's.
    keeps: Costs,
    texts: Texts,
    refused: Counter,
    tokens: Counter,
    estimated: Counter,
    unasked: Counter,
}

/// What limits look at.
pub(super) struct Wanted<'a> {
    /// Who is held if limits have to be asked for, how often that was, and what came of it.
    pub(super) stream: u32,
    pub(super) questions: u8,
    pub(super) answer: Option<EngineAnswer>,
    pub(super) query: Query<'a>,
    /// As it is called upstream.
    pub(super) model: Option<&'a str>,
    pub(super) route: &'a str,
    pub(super) facts: Option<&'a Facts>,
    pub(super) input: Option<Tokens>,
}

const UNITS: [&str; 2] = ["requests", "tokens"];
/// Another try each time that another worker was faster; [`update`] has tries of its own.
const TRIES: usize = 64;

impl Quotas {
    /// The limits of `config`, if there are any.
    #[cold]
    #[inline(never)]
    pub(super) fn new(
        config: &Config,
        member: &RefCell<Member>,
        rng: &mut Rng,
        host: &mut dyn Host,
    ) -> Option<Box<Quotas>> {
        if config.quotas.is_empty() {
            return None;
        }
        let mut member = member.borrow_mut();
        let shapes = member.shapes();
        Some(Box::new(Quotas {
            secret: Secret::agree(rng, host),
            unsettled: Unsettled::default(),
            limits: config
                .quotas
                .iter()
                .map(|quota| Limit::new(config, quota, shapes, host))
                .collect(),
            shown: None,
            fleet: config
                .quota_engine
                .as_ref()
                .map(|_| Box::new(Fleet::new(rng, host))),
        }))
    }

    /// All that they count.
    pub(super) fn counters(&mut self) -> impl Iterator<Item = &mut Counter> {
        self.limits
            .iter_mut()
            .flat_map(Limit::counters)
            .chain(self.fleet.iter_mut().flat_map(|fleet| fleet.counters()))
    }

    /// Time has passed: usage is stored and reported, and the leader records that the limits are in
    /// force.
    pub(super) fn on_tick(
        &mut self,
        config: &Config,
        leads: bool,
        now: Instant,
        host: &mut dyn Host,
    ) {
        self.store_settled(now, host);
        let shown = self.shown.is_some_and(|at| now.since(at) < shapes::SHOWN);
        if leads && !shown {
            self.shown = Some(now);
            let shapes = self.limits.iter().filter_map(|limit| limit.shape.as_ref());
            shapes.for_each(|shape| shape.show(now, host));
        }
        if let Some(fleet) = &mut self.fleet {
            fleet.on_tick((config, &self.limits), now);
        }
    }

    /// What is to be asked, since the last time.
    pub(super) fn errands(&mut self) -> Vec<Errand> {
        let fleet = self.fleet.as_mut();
        fleet.map_or(Vec::new(), |fleet| std::mem::take(&mut fleet.errands))
    }

    /// The question `number` has come to its end; `None` if it ended without an answer.
    pub(super) fn on_reply(
        &mut self,
        number: u32,
        reply: Option<&Reply>,
        config: &Config,
        host: &mut dyn Host,
    ) {
        if let Some((fleet, engine)) = self.fleet.as_mut().zip(config.quota_engine.as_ref()) {
            fleet.on_reply(number, reply, engine, host.now());
        }
    }

    /// The streams whose answers have come, since the last time.
    pub(super) fn woken(&mut self) -> Vec<u32> {
        let fleet = self.fleet.as_mut();
        fleet.map_or(Vec::new(), |fleet| fleet.room.woken())
    }

    /// What came of what `stream` is held for; `None` if it still waits.
    pub(super) fn answer(&mut self, stream: u32) -> Option<EngineAnswer> {
        self.fleet.as_mut()?.room.answer(stream)
    }

    /// A stream has ended, held or not.
    pub(super) fn leave(&mut self, stream: u32) {
        if let Some(fleet) = &mut self.fleet {
            fleet.room.leave(stream);
        }
    }

    /// The configuration is replaced: takes its limits' shapes out of the VM's.
    pub(super) fn leave_shapes(&self, shapes: &mut Vec<u64>) {
        for shape in self.limits.iter().filter_map(|limit| limit.shape.as_ref()) {
            if let Some(place) = shapes.iter().position(|known| *known == shape.id()) {
                shapes.swap_remove(place);
            }
        }
    }

    /// No tick and no answer will come any more.
    pub(super) fn give_up(&mut self) {
        if let Some(fleet) = &mut self.fleet {
            fleet.give_up();
        }
    }
}

impl Limit {
    fn new(config: &Config, quota: &Quota, shapes: &mut Vec<u64>, host: &mut dyn Host) -> Limit {
        let table = match quota.key.is_empty() {
            true => Table::SINGLE,
            false => Table::of(quota.callers),
        };
        let rates = [&quota.requests, &quota.tokens].map(|budget| budget.as_ref().map(Rate::of));
        // A limit of the fleet needs buckets here only to fall back on.
        let here = matches!(quota.fleet, None | Some(OnError::Local));
        let shape = here.then(|| Shape::new(quota, table, rates));
        let prefix = shape.as_ref().map(|shape| {
            let known = shapes.contains(&shape.id());
            shapes.push(shape.id());
            shape.enter(known, host)
        });
        let protocol = config.quota_engine.as_ref().map(|engine| &engine.protocol);
        Limit {
            prefix: prefix.unwrap_or_default(),
            shape,
            table,
            keeps: match protocol {
                // It takes nothing back.
                Some(EngineProtocol::RateLimitService { .. }) => [u64::MAX; BUDGETS],
                Some(EngineProtocol::Webdis { .. }) | None => leases(quota),
            },
            rates,
            texts: Texts::of(quota),
            refused: Counter::define(host, &metrics::quota_refused(&quota.name)),
            tokens: Counter::define(host, &metrics::quota_tokens(&quota.name)),
            estimated: Counter::define(host, &metrics::quota_estimated(&quota.name)),
            unasked: Counter::define(host, &metrics::quota_unasked(&quota.name)),
        }
    }

    fn counters(&mut self) -> [&mut Counter; 4] {
        [
            &mut self.refused,
            &mut self.tokens,
            &mut self.estimated,
            &mut self.unasked,
        ]
    }

    /// The key in the store of the set that `key` is in.
    fn set(&self, key: Key) -> String {
        let mut at = String::with_capacity(self.prefix.len().saturating_add(told::DIGITS));
        at.push_str(&self.prefix);
        told::number(&mut at, self.table.set_of(key).into());
        at
    }
}

/// The costs of what is counted; 0 of what is not.
fn counted(rates: &Rates, mut costs: Costs) -> Costs {
    for (cost, rate) in costs.iter_mut().zip(rates) {
        if rate.is_none() {
            *cost = 0;
        }
    }
    costs
}

/// What a worker takes ahead of a limit of the fleet.
fn leases(quota: &Quota) -> Costs {
    let budgets: [_; BUDGETS] = [&quota.requests, &quota.tokens];
    budgets.map(|budget| budget.map_or(0, |budget| budget.lease.into()))
}

/// [`update`], for as long as it takes; whether the step was stored. One function for all steps: they are only now
/// and then needed, and each copy of it would be some kilobytes of the artifact.
#[cold]
#[inline(never)]
fn persistently(
    host: &mut dyn Host,
    key: &str,
    step: &mut dyn FnMut(&[u8]) -> Option<Vec<u8>>,
) -> bool {
    let mut nothing = false;
    for _ in 0..TRIES {
        let outcome = update(host, key, |_, bytes| {
            let stepped = step(bytes);
            nothing = stepped.is_none();
            stepped.map(|bytes| (bytes, ()))
        });
        if nothing || outcome.is_some() {
            return outcome.is_some();
        }
    }
    false
}
