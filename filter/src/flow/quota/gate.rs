//! A limit that a request has to pass: whose budget it takes from, what that costs, and where the budget is.

use crate::config::{Config, Quota};
use crate::ports::Host;
use crate::quota::fleet::{LoanId, Shared};
use crate::quota::{BUDGETS, Costs, Key, Left, Rates, Reserved, Table};
use crate::request::Api;
use crate::route;
use crate::values::clock::Instant;

use super::{Limit, Quotas, Wanted, key, persistently};

/// A limit that a request has to pass.
pub(super) struct Gate<'c> {
    /// Its place.
    pub(super) limit: usize,
    pub(super) quota: &'c Quota,
    pub(super) rates: Rates,
    /// What the request costs at most.
    pub(super) costs: Costs,
    pub(super) at: At,
    /// What is left of it, once that is known.
    pub(super) left: [Option<Left>; BUDGETS],
}

/// Where a limit's budget is.
pub(super) enum At {
    /// In the store.
    Here(Slot),
    /// The fleet's, and here what is on loan of it.
    Fleet(LoanId, Shared),
}

/// A bucket's owner, and the set of the store that it is in.
pub(super) struct Slot {
    table: Table,
    pub(super) key: Key,
    pub(super) set: String,
}

/// The limits that match a request.
pub(super) fn gates<'c>(
    quotas: &Quotas,
    config: &'c Config,
    wanted: &Wanted<'_>,
    host: &mut dyn Host,
) -> Vec<Gate<'c>> {
    let mut gates = Vec::new();
    for (limit, (quota, state)) in config.quotas.iter().zip(&quotas.limits).enumerate() {
        if route::matches(&quota.matches, &wanted.query) {
            let at = match quota.fleet {
                None => At::Here(quotas.slot(state, (config, quota), wanted, host)),
                Some(_) => {
                    let (key, shared) = key::of_fleet(config, quota, wanted, host);
                    At::Fleet(LoanId { limit, key }, shared)
                }
            };
            gates.push(Gate {
                limit,
                quota,
                rates: state.rates,
                costs: costs(quota, wanted),
                at,
                left: [None; BUDGETS],
            });
        }
    }
    gates
}

impl Quotas {
    /// Where a request's bucket of `limit` is.
    pub(super) fn slot(
        &self,
        limit: &Limit,
        (config, quota): (&Config, &Quota),
        wanted: &Wanted<'_>,
        host: &mut dyn Host,
    ) -> Slot {
        let key = self.secret.key(config, quota, wanted, host);
        Slot {
            table: limit.table,
            key,
            set: limit.set(key),
        }
    }
}

impl Gate<'_> {
    /// Takes `costs` from the set as it is, if it fits.
    pub(super) fn look(
        &self,
        slot: &Slot,
        set: &[u8],
        costs: &Costs,
        now: Instant,
    ) -> (Option<Vec<u8>>, Reserved) {
        slot.table.reserve(set, &self.rates, slot.key, costs, now)
    }

    /// What is on loan may have come back to the engine meanwhile, as far as that tells.
    pub(super) fn at_most_the_burst(
        &self,
        mut left: [Option<Left>; BUDGETS],
    ) -> [Option<Left>; BUDGETS] {
        for (left, rate) in left.iter_mut().zip(&self.rates) {
            if let (Some(left), Some(rate)) = (left, rate) {
                left.units = left.units.min(rate.burst().into());
            }
        }
        left
    }

    /// Takes the costs from the store, or learns why it cannot; `None` if the store never lets it through.
    #[cold]
    pub(super) fn take(
        &self,
        quotas: &Quotas,
        slot: &Slot,
        now: Instant,
        host: &mut dyn Host,
    ) -> Option<Reserved> {
        let mut last = None;
        let stored = persistently(host, &slot.set, &mut |set| {
            let set = quotas.settled(self.limit, &slot.set, set.to_vec(), now);
            let (set, reserved) = self.look(slot, &set, &self.costs, now);
            last = Some(reserved);
            set
        });
        last.filter(|last| stored || last.outcome.is_err())
    }
}

/// What a request costs at most, as far as it says.
fn costs(quota: &Quota, wanted: &Wanted<'_>) -> Costs {
    let tokens = wanted.facts.map_or(0, |facts| {
        let output = match (facts.api, facts.max_output) {
            (Api::Embeddings, _) => 0,
            (_, Some(bound)) => bound.0.into(),
            (_, None) => u64::from(quota.default_output),
        };
        let output = output.saturating_mul(facts.answers.into());
        let input = wanted.input.map_or(0, |input| u64::from(input.0));
        input.saturating_add(output)
    });
    [1, tokens]
}
