//! Taking what a request costs from all limits that match it, or from none.

use crate::config::{Config, Quota};
use crate::ports::Host;
use crate::quota::{BUDGETS, Costs, Key, Left, Rates, Refused, Reserved, Table};
use crate::request::Api;
use crate::route;
use crate::values::clock::Instant;
use crate::values::units::Tokens;

use super::settle::{Reservation, Taken};
use super::{Quotas, UNITS, Wanted, persistently, told};
use crate::flow::Worker;
use crate::flow::refusal::Refusal;

/// A limit that a request has to pass.
struct Gate<'c> {
    limit: usize,
    quota: &'c Quota,
    table: Table,
    rates: Rates,
    key: Key,
    /// Of the set in the store.
    at: String,
    costs: Costs,
    left: [Option<Left>; BUDGETS],
}

/// Why a request does not pass.
enum Stopped {
    /// The limit of this gate has no room in that budget.
    At(usize, usize, Refused),
    /// The store does not tell, or lets nothing through.
    Unknown,
}

/// Takes what a request costs from all limits that match it, or says why not.
#[cold]
#[inline(never)]
pub(in crate::flow) fn reserve(
    worker: &mut Worker,
    wanted: &Wanted<'_>,
    now: Instant,
    host: &mut dyn Host,
) -> Result<Option<Box<Reservation>>, Refusal> {
    let Worker { config, quotas, .. } = worker;
    let Some(quotas) = quotas else {
        return Ok(None);
    };
    let mut gates = gates(quotas, config, wanted, host);
    if gates.is_empty() {
        return Ok(None);
    }
    let outcome = pass(quotas, &mut gates, now, host);
    if outcome.is_err() {
        // Nothing was taken: what the gates have room for now.
        for gate in &mut gates {
            if let Some(stored) = host.load(&gate.at) {
                gate.left = gate.look(&stored.bytes, &Costs::default(), now).1.left;
            }
        }
    }
    let told = told::headers(gates.iter().filter_map(|gate| {
        let limit = quotas.limits.get(gate.limit)?;
        Some((&limit.texts, gate.left))
    }));
    match outcome {
        Ok(taken) => {
            let input = wanted.input.map_or(0, |input| input.0.into());
            let budget = budget(&gates, input);
            let reserved = Reservation::new(quotas, taken, input, budget, told, now);
            Ok(Some(Box::new(reserved)))
        }
        Err(Stopped::At(gate, budget, why)) => {
            let gate = gates.get(gate).ok_or_else(Refusal::unknown_limit)?;
            Err(refusal(quotas, gate, (budget, why), told))
        }
        Err(Stopped::Unknown) => Err(Refusal::unknown_limit()),
    }
}

/// The output at which a stream is cut: the least that a limit which cuts has reserved for it.
fn budget(gates: &[Gate<'_>], input: u64) -> Option<Tokens> {
    let cutting = gates
        .iter()
        .filter(|gate| gate.quota.cut_streams && gate.quota.tokens.is_some());
    let outputs = cutting.map(|gate| {
        let [_, tokens] = gate.costs;
        tokens.saturating_sub(input)
    });
    let least = outputs.min()?;
    Some(Tokens(u32::try_from(least).unwrap_or(u32::MAX)))
}

/// The limits that match a request.
fn gates<'c>(
    quotas: &Quotas,
    config: &'c Config,
    wanted: &Wanted<'_>,
    host: &mut dyn Host,
) -> Vec<Gate<'c>> {
    let mut gates = Vec::new();
    for (limit, (quota, state)) in config.quotas.iter().zip(&quotas.limits).enumerate() {
        if route::matches(&quota.matches, &wanted.query) {
            let key = quotas.secret.key(config, quota, wanted, host);
            gates.push(Gate {
                limit,
                quota,
                table: state.table,
                rates: state.rates,
                key,
                at: state.at(key),
                costs: costs(quota, wanted),
                left: [None; BUDGETS],
            });
        }
    }
    gates
}

/// Passes all gates, or none. Each is looked at before anything is written.
fn pass(
    quotas: &Quotas,
    gates: &mut [Gate<'_>],
    now: Instant,
    host: &mut dyn Host,
) -> Result<Vec<Taken>, Stopped> {
    let mut looks = Vec::with_capacity(gates.len());
    let mut stopped = None;
    for (index, gate) in gates.iter().enumerate() {
        let stored = host.load(&gate.at).ok_or(Stopped::Unknown)?;
        let (set, reserved) = gate.look(&stored.bytes, &gate.costs, now);
        if let Err((budget, why)) = reserved.outcome {
            stopped = Some(worse(stopped, (index, budget, why)));
        }
        looks.push((set, stored.version, reserved));
    }
    if let Some((index, budget, why)) = stopped {
        return Err(Stopped::At(index, budget, why));
    }
    let mut taken = Vec::with_capacity(gates.len());
    for ((index, gate), (set, version, first)) in gates.iter_mut().enumerate().zip(looks) {
        let swapped = set.is_some_and(|set| host.swap(&gate.at, &set, version));
        let reserved = match swapped {
            true => Some(first),
            // Another worker was faster.
            false => gate.take(now, host),
        };
        let outcome = reserved.map(|reserved| (reserved.outcome, reserved.left));
        match outcome {
            Some((Ok((place, holds)), left)) => {
                gate.left = left;
                taken.push(Taken {
                    limit: gate.limit,
                    key: gate.key,
                    at: gate.at.clone(),
                    place,
                    holds,
                });
            }
            Some((Err((budget, why)), _)) => {
                quotas.give_back(&taken, now, host);
                return Err(Stopped::At(index, budget, why));
            }
            None => {
                quotas.give_back(&taken, now, host);
                return Err(Stopped::Unknown);
            }
        }
    }
    Ok(taken)
}

impl Gate<'_> {
    fn look(&self, set: &[u8], costs: &Costs, now: Instant) -> (Option<Vec<u8>>, Reserved) {
        let Gate {
            table, rates, key, ..
        } = self;
        table.reserve(set, rates, *key, costs, now)
    }

    /// Takes the costs, or learns why it cannot; `None` if the store never lets it through.
    #[cold]
    fn take(&self, now: Instant, host: &mut dyn Host) -> Option<Reserved> {
        let mut last = None;
        let stored = persistently(host, &self.at, &mut |set| {
            let (set, reserved) = self.look(set, &self.costs, now);
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
            (_, None) => quota.default_output.into(),
        };
        let input = wanted.input.map_or(0, |input| u64::from(input.0));
        input.saturating_add(output)
    });
    [1, tokens]
}

/// The reason that is told: one that no waiting cures, else the longest wait.
fn worse(
    one: Option<(usize, usize, Refused)>,
    other: (usize, usize, Refused),
) -> (usize, usize, Refused) {
    match (one, other.2) {
        (Some(one @ (.., Refused::Never)), _) => one,
        (Some(one @ (.., Refused::After(first))), Refused::After(wait)) if wait <= first => one,
        _ => other,
    }
}

#[cold]
fn refusal(
    quotas: &mut Quotas,
    gate: &Gate<'_>,
    (budget, why): (usize, Refused),
    told: Vec<(&'static str, String)>,
) -> Refusal {
    let unit = UNITS.get(budget).copied().unwrap_or_default();
    let rate = quotas.limits.get_mut(gate.limit).and_then(|limit| {
        limit.refused.add(1);
        limit.rates.get(budget).copied().flatten()
    });
    let mut refusal = match why {
        Refused::After(wait) => Refusal::over_limit(&gate.quota.name, unit, wait),
        Refused::Never => {
            let cost = gate.costs.get(budget).copied().unwrap_or_default();
            let burst = rate.map_or(0, |rate| rate.burst());
            Refusal::above_burst(&gate.quota.name, unit, cost, burst)
        }
    };
    refusal.headers.extend(told);
    refusal
}
