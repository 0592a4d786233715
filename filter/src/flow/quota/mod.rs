//! Limits on a request's way: reserved before an endpoint is chosen, settled when the answer has ended.
//!
//! A request takes from every limit that matches it, or from none: all are looked at before anything is written, and where
//! another worker is faster meanwhile, what was written is given back. It takes one request, and as many tokens
//! as its input is estimated at and its output is bounded by; the answer says what it really was ([`crate::answer::Relay`]), and what no
//! answer says is charged as it was estimated.
//!
//! | the answer | requests | tokens |
//! |---|---|---|
//! | none from an endpoint, or a status of 400 and above | 0 | 0 |
//! | none, as the client left before | 1 | the input |
//! | in full or cut, by whomever | 1 | what was relayed of it, and the input |
//! | in full or cut, and not to be read (compressed) | 1 | what was reserved |
//!
//! What cannot be read of the store is refused: a limit that is not held is none. What cannot be written at the
//! end stays charged as it was reserved.

mod key;
mod reserve;
mod settle;
mod told;

use crate::config::{Config, Quota};
use crate::ports::{Host, update};
use crate::quota::{Key, Rate, Rates, Table};
use crate::report::metrics;
use crate::request::Facts;
use crate::route::Query;
use crate::values::rng::Rng;
use crate::values::units::Tokens;

use super::counter::Counter;

use key::Secret;
pub(super) use reserve::reserve;
pub(super) use settle::{Answer, Reservation, abandon, charge, on_response, settle};
use told::Texts;

/// The limits, as one worker knows them.
pub(super) struct Quotas {
    limits: Vec<Limit>,
    secret: Secret,
}

struct Limit {
    /// Of the keys of its table's sets.
    prefix: String,
    table: Table,
    rates: Rates,
    texts: Texts,
    refused: Counter,
    tokens: Counter,
    estimated: Counter,
}

/// What limits look at.
pub(super) struct Wanted<'a> {
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
    pub(super) fn new(config: &Config, rng: &mut Rng, host: &mut dyn Host) -> Option<Box<Quotas>> {
        if config.quotas.is_empty() {
            return None;
        }
        Some(Box::new(Quotas {
            secret: Secret::agree(rng, host),
            limits: config
                .quotas
                .iter()
                .map(|quota| Limit::new(quota, host))
                .collect(),
        }))
    }

    /// All that they count.
    pub(super) fn counters(&mut self) -> impl Iterator<Item = &mut Counter> {
        self.limits
            .iter_mut()
            .flat_map(|limit| [&mut limit.refused, &mut limit.tokens, &mut limit.estimated])
    }
}

impl Limit {
    fn new(quota: &Quota, host: &mut dyn Host) -> Limit {
        let table = match quota.key.is_empty() {
            true => Table::SINGLE,
            false => Table::of(quota.callers),
        };
        let prefix = format!("junheng/quota/{}/{}/", quota.name, table.sets());
        let empty = table.empty();
        for set in 0..table.sets() {
            host.create(&format!("{prefix}{set}"), &empty);
        }
        Limit {
            prefix,
            table,
            rates: [&quota.requests, &quota.tokens].map(|budget| budget.as_ref().map(Rate::of)),
            texts: Texts::of(quota),
            refused: Counter::define(host, &metrics::quota_refused(&quota.name)),
            tokens: Counter::define(host, &metrics::quota_tokens(&quota.name)),
            estimated: Counter::define(host, &metrics::quota_estimated(&quota.name)),
        }
    }

    /// Where in the store the set of `key` is.
    fn at(&self, key: Key) -> String {
        let mut at = String::with_capacity(self.prefix.len().saturating_add(told::DIGITS));
        at.push_str(&self.prefix);
        told::number(&mut at, self.table.set_of(key).into());
        at
    }
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
