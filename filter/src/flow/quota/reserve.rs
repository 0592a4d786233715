//! Taking what a request costs from all limits that match it, or from none.
//!
//! A limit of the fleet of which too little is on loan is asked for first, and only once nothing here stands against the request: then
//! what is granted lies on loan, and is taken with all the rest.

use crate::config::{Config, OnError};
use crate::ports::{Host, Version};
use crate::quota::fleet::{LoanId, Shared};
use crate::quota::{BUDGETS, Costs, Hold, Left, Refused, Reserved};
use crate::values::clock::Instant;
use crate::values::units::Tokens;

use super::fleet::Need;
use super::gate::{At, Gate, Slot, gates};
use super::settle::{Reservation, Source, Taken};
use super::{EngineAnswer, Quotas, UNITS, Wanted, counted, leases, told};
use crate::flow::Worker;
use crate::flow::refusal::Refusal;

/// Why nothing was reserved.
pub(in crate::flow) enum Unreserved {
    /// The request must not pass.
    Refused(Refusal),
    /// That will turn out: it is held until the engine has answered.
    Waits,
}

/// Why a request does not pass.
enum Stopped {
    /// The limit of this gate has no room in that budget.
    At(usize, usize, Refused),
    /// The store or the engine does not tell, or lets nothing through.
    Unknown,
    /// The engine has been asked.
    Waits,
}

/// A request asks no more often.
const MOST_QUESTIONS: u8 = 3;

impl From<Refusal> for Unreserved {
    fn from(refusal: Refusal) -> Unreserved {
        Unreserved::Refused(refusal)
    }
}

/// Takes what a request costs from all limits that match it, or says why not.
#[cold]
#[inline(never)]
pub(in crate::flow) fn reserve(
    worker: &mut Worker,
    wanted: &Wanted<'_>,
    now: Instant,
    host: &mut dyn Host,
) -> Result<Option<Box<Reservation>>, Unreserved> {
    let Worker { config, quotas, .. } = worker;
    let Some(quotas) = quotas else {
        return Ok(None);
    };
    let mut gates = gates(quotas, config, wanted, host);
    let outcome = ask(quotas, &mut gates, (config, wanted), now, host)
        .and_then(|()| pass(quotas, &mut gates, now, host));
    match outcome {
        Err(Stopped::Waits) => return Err(Unreserved::Waits),
        Err(Stopped::At(..) | Stopped::Unknown) => {
            // Nothing was taken: what the gates have room for now.
            for gate in &mut gates {
                gate.left = quotas.left(gate, now, host);
            }
        }
        Ok(_) if gates.is_empty() => return Ok(None),
        Ok(_) => {}
    }
    let told = told::headers(gates.iter().filter_map(|gate| {
        let limit = quotas.limits.get(gate.limit)?;
        Some((&limit.texts, gate.left))
    }));
    match outcome {
        Ok(taken) => {
            let input = wanted.input.map_or(0, |input| input.0.into());
            // Where a bound was declared the server holds it, and counts exactly.
            let bounded = wanted.facts.is_some_and(|facts| facts.max_output.is_some());
            let budget = if bounded { None } else { budget(&gates, input) };
            let api = wanted.facts.map(|facts| facts.api);
            let reserved = Reservation::new(quotas, taken, (api, input), budget, told, now);
            Ok(Some(Box::new(reserved)))
        }
        Err(Stopped::At(gate, budget, why)) => {
            let gate = gates.get(gate).ok_or_else(Refusal::unknown_limit)?;
            let bounded = wanted.facts.is_none_or(|facts| facts.max_output.is_some());
            Err(refusal(quotas, gate, (budget, why), bounded, told).into())
        }
        Err(Stopped::Unknown | Stopped::Waits) => Err(Refusal::unknown_limit().into()),
    }
}

/// Sees to it that what the request needs of the fleet's limits is on loan, or goes by their `on_error`.
fn ask(
    quotas: &mut Quotas,
    gates: &mut Vec<Gate<'_>>,
    (config, wanted): (&Config, &Wanted<'_>),
    now: Instant,
    host: &mut dyn Host,
) -> Result<(), Stopped> {
    let needs = needs(quotas, gates)?;
    if needs.is_empty() {
        return Ok(());
    }
    match wanted.answer {
        Some(EngineAnswer::Refused(id, budget, why)) => {
            let refusing = |gate: &Gate<'_>| matches!(&gate.at, At::Fleet(at, _) if *at == id);
            let gate = gates.iter().position(refusing).ok_or(Stopped::Unknown)?;
            Err(Stopped::At(gate, budget, why))
        }
        // What was granted may be too little by now, as the estimate of its tokens has become another.
        None | Some(EngineAnswer::Granted) if !quotas.rests(now) => {
            look(quotas, gates, now, host)?;
            if wanted.questions >= MOST_QUESTIONS || quotas.is_full() {
                return Err(Stopped::Unknown);
            }
            quotas.ask(wanted.stream, &needs, config, now);
            Err(Stopped::Waits)
        }
        None | Some(EngineAnswer::Granted | EngineAnswer::Failed) => {
            fall_back(quotas, gates, &needs, (config, wanted), host)
        }
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

/// What the request needs of the fleet's, if any of it is not on loan: all of it, as what is on loan will be set aside while
/// the rest is asked for. A cost that no waiting makes fit is not asked for.
fn needs(quotas: &Quotas, gates: &[Gate<'_>]) -> Result<Vec<Need>, Stopped> {
    let mut needs = Vec::new();
    for (index, gate) in gates.iter().enumerate() {
        let At::Fleet(id, shared) = &gate.at else {
            continue;
        };
        let costs = counted(&gate.rates, gate.costs);
        for (budget, (cost, rate)) in costs.iter().zip(&gate.rates).enumerate() {
            if rate.is_some_and(|rate| *cost > u64::from(rate.burst())) {
                return Err(Stopped::At(index, budget, Refused::Never));
            }
        }
        let fleet = quotas.fleet.as_ref();
        needs.push(Need {
            lacks: fleet.is_none_or(|fleet| !fleet.loans.covers(*id, &costs)),
            id: *id,
            costs,
            leases: leases(gate.quota),
            shared: Shared::clone(shared),
        });
    }
    if !needs.iter().any(|need| need.lacks) {
        needs.clear();
    }
    Ok(needs)
}

/// The engine does not answer: the limits of which the request lacks what it `needs` go by their `on_error`.
#[cold]
fn fall_back(
    quotas: &mut Quotas,
    gates: &mut Vec<Gate<'_>>,
    needs: &[Need],
    (config, wanted): (&Config, &Wanted<'_>),
    host: &mut dyn Host,
) -> Result<(), Stopped> {
    let needed = |gate: &Gate<'_>| match &gate.at {
        At::Fleet(id, _) => needs.iter().any(|need| need.id == *id && need.lacks),
        At::Here(_) => false,
    };
    for gate in gates.iter_mut().filter(|gate| needed(gate)) {
        let Some(limit) = quotas.limits.get_mut(gate.limit) else {
            continue;
        };
        limit.unasked.add(1);
        match gate.quota.fleet {
            Some(OnError::Deny) => return Err(Stopped::Unknown),
            Some(OnError::Local) => {
                let limit = quotas.limits.get(gate.limit);
                let slot = limit
                    .map(|limit| quotas.slot(limit, (config, gate.quota), wanted, host))
                    .ok_or(Stopped::Unknown)?;
                gate.at = At::Here(slot);
            }
            Some(OnError::Allow) | None => {}
        }
    }
    gates.retain(|gate| !needed(gate));
    Ok(())
}

/// What a look at a gate's bucket found: the set as it would be, the store's version of it, and what was taken.
type Look = Option<(Option<Vec<u8>>, Version, Reserved)>;

/// Looks at what all gates have room for here; nothing is written.
fn look(
    quotas: &Quotas,
    gates: &[Gate<'_>],
    now: Instant,
    host: &mut dyn Host,
) -> Result<Vec<Look>, Stopped> {
    let mut looks = Vec::with_capacity(gates.len());
    let mut stopped = None;
    for (index, gate) in gates.iter().enumerate() {
        let At::Here(slot) = &gate.at else {
            looks.push(None);
            continue;
        };
        let stored = host.load(&slot.set).ok_or(Stopped::Unknown)?;
        let settled = quotas.settled(gate.limit, &slot.set, stored.bytes, now);
        let (set, reserved) = gate.look(slot, &settled, &gate.costs, now);
        if let Err((budget, why)) = reserved.outcome {
            stopped = Some(worse(stopped, (index, budget, why)));
        }
        looks.push(Some((set, stored.version, reserved)));
    }
    match stopped {
        Some((index, budget, why)) => Err(Stopped::At(index, budget, why)),
        None => Ok(looks),
    }
}

/// Passes all gates, or none. Each is looked at before anything is written.
fn pass(
    quotas: &mut Quotas,
    gates: &mut [Gate<'_>],
    now: Instant,
    host: &mut dyn Host,
) -> Result<Vec<Taken>, Stopped> {
    let looks = look(quotas, gates, now, host)?;
    let mut taken = Vec::with_capacity(gates.len());
    for ((index, gate), look) in gates.iter_mut().enumerate().zip(looks) {
        let passed = match &gate.at {
            At::Here(slot) => here(quotas, gate, slot, look, now, host),
            At::Fleet(id, shared) => quotas.borrow(gate, *id, shared, now),
        };
        match passed {
            Ok((took, left)) => {
                gate.left = left;
                taken.push(took);
            }
            Err(why) => {
                quotas.give_back(taken, now, host);
                return Err(match why {
                    Some((budget, why)) => Stopped::At(index, budget, why),
                    None => Stopped::Unknown,
                });
            }
        }
    }
    Ok(taken)
}

/// What was taken from a gate, and what is left; or which budget has no room, or `None` where that cannot be told.
type Passed = Result<(Taken, [Option<Left>; BUDGETS]), Option<(usize, Refused)>>;

/// Takes from the store what was looked at, or, if another worker was faster, what is there then. With it goes what waits to
/// be settled there.
fn here(
    quotas: &mut Quotas,
    gate: &Gate<'_>,
    slot: &Slot,
    look: Look,
    now: Instant,
    host: &mut dyn Host,
) -> Passed {
    let looked = look.and_then(|(set, version, reserved)| {
        let set = set.filter(|set| host.swap(&slot.set, set, version));
        set.map(|_| reserved)
    });
    let reserved = looked.or_else(|| gate.take(quotas, slot, now, host));
    let reserved = reserved.ok_or(None)?;
    let (place, holds) = reserved.outcome.map_err(Some)?;
    quotas.unsettled.forget(&slot.set);
    let taken = Taken {
        limit: gate.limit,
        holds,
        from: Source::Table {
            key: slot.key,
            set: slot.set.clone(),
            place,
        },
    };
    Ok((taken, reserved.left))
}

impl Quotas {
    /// Whether nobody asks the engine at the moment.
    fn rests(&self, now: Instant) -> bool {
        self.fleet.as_ref().is_none_or(|fleet| fleet.rests(now))
    }

    /// Whether no more requests can be held.
    fn is_full(&self) -> bool {
        self.fleet.as_ref().is_none_or(|fleet| fleet.is_full())
    }

    fn ask(&mut self, stream: u32, needs: &[Need], config: &Config, now: Instant) {
        if let Some(fleet) = &mut self.fleet {
            fleet.ask(stream, needs, (config, &self.limits), now);
        }
    }

    /// Takes from what is on loan.
    fn borrow(&mut self, gate: &Gate<'_>, id: LoanId, shared: &Shared, now: Instant) -> Passed {
        let costs = counted(&gate.rates, gate.costs);
        let fleet = self.fleet.as_mut().ok_or(None)?;
        let left = fleet.loans.take(id, &costs, now).ok_or(None)?;
        let left = gate.at_most_the_burst(left);
        let taken = Taken {
            limit: gate.limit,
            holds: costs.map(Hold::of),
            from: Source::Loan {
                id,
                shared: Shared::clone(shared),
                settled: 0,
                at: now,
            },
        };
        Ok((taken, left))
    }

    /// What a gate has room for.
    fn left(&self, gate: &Gate<'_>, now: Instant, host: &mut dyn Host) -> [Option<Left>; BUDGETS] {
        let nothing = Costs::default();
        let left = match &gate.at {
            At::Here(slot) => host.load(&slot.set).map(|stored| {
                let set = self.settled(gate.limit, &slot.set, stored.bytes, now);
                let (_, reserved) = gate.look(slot, &set, &nothing, now);
                reserved.left
            }),
            At::Fleet(id, _) => {
                let fleet = self.fleet.as_ref();
                fleet.map(|fleet| gate.at_most_the_burst(fleet.loans.left(*id)))
            }
        };
        left.unwrap_or([None; BUDGETS])
    }
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
    bounded: bool,
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
            let assumed = (!bounded).then_some(gate.quota.default_output);
            Refusal::above_burst(&gate.quota.name, (cost, unit), assumed, burst)
        }
    };
    refusal.headers.extend(told);
    refusal
}
