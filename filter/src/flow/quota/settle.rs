//! What a request has taken from limits, until its answer has ended.

use crate::answer::Relayed;
use crate::ports::Host;
use crate::quota::{Costs, Holds, Key, Place, RENEWAL};
use crate::values::clock::Instant;
use crate::values::units::Tokens;

use super::{Limit, Quotas, persistently};
use crate::flow::Worker;
use crate::flow::response::{Origin, ResponseStart};
use crate::flow::stream::Placed;

/// What a request has taken from limits, until that is settled.
pub(in crate::flow) struct Reservation {
    taken: Vec<Taken>,
    input: u64,
    /// The least that is reserved in tokens.
    covered: u64,
    /// Whether tokens of the answer are counted.
    counted: bool,
    /// The output at which a stream is cut, if it is.
    budget: Option<Tokens>,
    pieces: u32,
    renewed: Instant,
    told: Vec<(&'static str, String)>,
}

/// What was taken from one limit.
pub(super) struct Taken {
    pub(super) limit: usize,
    pub(super) key: Key,
    /// Of the set in the store.
    pub(super) at: String,
    pub(super) place: Place,
    pub(super) holds: Holds,
}

/// What is known of an answer that has ended.
#[derive(Clone, Copy, Debug)]
pub(in crate::flow) enum Answer {
    /// None came.
    None,
    /// It was not to be read.
    Unread,
    /// So much of it was relayed.
    Relayed(Relayed),
}

/// So many tokens are charged at once beyond what was reserved, so that not each event is a step in the store.
const AHEAD: u64 = 64;
/// After so many pieces of an answer the clock is read, to see whether what it holds has to be renewed.
const PIECES: u32 = 64;

/// Gives back all that a request has taken which was not sent.
pub(in crate::flow) fn abandon(
    worker: &mut Worker,
    reserved: Option<Box<Reservation>>,
    host: &mut dyn Host,
) {
    if let (Some(reserved), Some(quotas)) = (reserved, &worker.quotas) {
        let now = host.now();
        quotas.give_back(&reserved.taken, now, host);
    }
}

/// The answer begins: what its caller is told. One that says that the request failed costs nothing.
pub(in crate::flow) fn on_response(
    worker: &mut Worker,
    placed: &mut Placed,
    start: &ResponseStart<'_>,
    host: &mut dyn Host,
) -> Vec<(&'static str, String)> {
    let Some(mut reserved) = placed.reserved.take() else {
        return Vec::new();
    };
    let told = std::mem::take(&mut reserved.told);
    if start.status >= 400 || start.origin != Origin::Endpoint {
        abandon(worker, Some(reserved), host);
        return told;
    }
    placed.reserved = Some(reserved);
    told
}

/// Charges what was relayed beyond what was reserved, and renews what is held.
#[cold]
#[inline(never)]
pub(in crate::flow) fn charge(
    worker: &mut Worker,
    reserved: &mut Reservation,
    relayed: &Relayed,
    host: &mut dyn Host,
) {
    let Some(quotas) = &worker.quotas else {
        return;
    };
    let now = host.now();
    let used = reserved.used(relayed);
    reserved.pieces = 0;
    if used <= reserved.covered && now.since(reserved.renewed) < RENEWAL {
        return;
    }
    reserved.renewed = now;
    for taken in &mut reserved.taken {
        let Some(limit) = quotas.limits.get(taken.limit) else {
            continue;
        };
        let [_, tokens] = &taken.holds;
        let beyond = used.saturating_sub(tokens.cost);
        let more = if beyond > 0 {
            [0, beyond.saturating_add(AHEAD)]
        } else {
            [0, 0]
        };
        let held = (taken.key, taken.place, taken.holds);
        let mut grown = (taken.place, taken.holds);
        let stored = persistently(host, &taken.at, &mut |set| {
            let (set, held) = limit.table.grow(set, &limit.rates, held, &more, now);
            grown = held;
            Some(set)
        });
        if stored {
            (taken.place, taken.holds) = grown;
        }
    }
    reserved.covered = quotas.covered(&reserved.taken);
}

/// The answer has ended, or will not begin: charges what was used, and gives back the rest.
pub(in crate::flow) fn settle(
    worker: &mut Worker,
    reserved: Option<Box<Reservation>>,
    answer: Answer,
    host: &mut dyn Host,
) {
    if let (Some(reserved), Some(quotas)) = (reserved, &mut worker.quotas) {
        quotas.settle(&reserved, answer, host);
    }
}

impl Quotas {
    #[cold]
    #[inline(never)]
    fn settle(&mut self, reserved: &Reservation, answer: Answer, host: &mut dyn Host) {
        let now = host.now();
        let told = match &answer {
            Answer::Relayed(relayed) => relayed.usage.is_some_and(|usage| usage.output.is_some()),
            Answer::None | Answer::Unread => false,
        };
        for taken in &reserved.taken {
            let Some(limit) = self.limits.get_mut(taken.limit) else {
                continue;
            };
            let [_, held] = &taken.holds;
            let tokens = match &answer {
                Answer::None => reserved.input,
                Answer::Unread => held.cost,
                Answer::Relayed(relayed) => reserved.used(relayed),
            };
            limit.settle(taken, &[1, tokens], now, host);
            if reserved.counted && matches!(limit.rates, [_, Some(_)]) {
                limit.tokens.add(u32::try_from(tokens).unwrap_or(u32::MAX));
                limit.estimated.add(u32::from(!told));
            }
        }
    }

    #[cold]
    pub(super) fn give_back(&self, taken: &[Taken], now: Instant, host: &mut dyn Host) {
        for taken in taken {
            if let Some(limit) = self.limits.get(taken.limit) {
                limit.settle(taken, &[0, 0], now, host);
            }
        }
    }

    /// The least of what is reserved in tokens; as good as no end where none are counted.
    fn covered(&self, taken: &[Taken]) -> u64 {
        let counting = taken.iter().filter(|taken| {
            let limit = self.limits.get(taken.limit);
            limit.is_some_and(|limit| matches!(limit.rates, [_, Some(_)]))
        });
        let costs = counting.map(|taken| {
            let [_, tokens] = &taken.holds;
            tokens.cost
        });
        costs.min().unwrap_or(u64::MAX)
    }
}

impl Limit {
    /// Ends what was taken. What the store does not let through stays charged as it was reserved.
    #[cold]
    #[inline(never)]
    fn settle(&self, taken: &Taken, used: &Costs, now: Instant, host: &mut dyn Host) {
        let held = (taken.key, taken.place, taken.holds);
        persistently(host, &taken.at, &mut |set| {
            Some(self.table.settle(set, &self.rates, held, used, now))
        });
    }
}

impl Reservation {
    pub(super) fn new(
        quotas: &Quotas,
        taken: Vec<Taken>,
        input: u64,
        budget: Option<Tokens>,
        told: Vec<(&'static str, String)>,
        now: Instant,
    ) -> Reservation {
        let covered = quotas.covered(&taken);
        Reservation {
            counted: covered < u64::MAX && input > 0,
            taken,
            input,
            covered,
            budget,
            pieces: 0,
            renewed: now,
            told,
        }
    }

    /// Whether tokens of the answer are counted.
    pub(in crate::flow) fn counts(&self) -> bool {
        self.counted
    }

    /// The output at which a stream is cut, if it is.
    pub(in crate::flow) fn budget(&self) -> Option<Tokens> {
        self.budget
    }

    /// The answer goes on.
    pub(in crate::flow) fn on_piece(&mut self) {
        self.pieces = self.pieces.saturating_add(1);
    }

    /// Whether [`charge`] has something to do.
    pub(in crate::flow) fn is_due(&self, relayed: &Relayed) -> bool {
        self.counted && (self.pieces >= PIECES || self.used(relayed) > self.covered)
    }

    /// The tokens of the request and of what was relayed of its answer.
    fn used(&self, relayed: &Relayed) -> u64 {
        let input = relayed.usage.and_then(|usage| usage.input);
        let input = input.map_or(self.input, |input| input.0.into());
        input.saturating_add(relayed.output.0.into())
    }
}
