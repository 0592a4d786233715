//! What a request has taken from limits, until its answer has ended.

use crate::answer::Relayed;
use crate::ports::Host;
use crate::quota::fleet::{HALF_TERM, LoanId, Shared};
use crate::quota::{Costs, Holds, Key, Place, RENEWAL};
use crate::request::Api;
use crate::values::clock::Instant;
use crate::values::units::Tokens;

use super::unsettled::{self, Settlement};
use super::{Quotas, counted, persistently};
use crate::flow::Worker;
use crate::flow::judgement::is_overload;
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
    /// Whether the answer has no tokens of its own.
    embeds: bool,
    /// The output at which a stream is cut, if it is.
    budget: Option<Tokens>,
    pieces: u32,
    renewed: Instant,
    told: Vec<(&'static str, String)>,
}

/// What was taken from one limit.
pub(super) struct Taken {
    pub(super) limit: usize,
    pub(super) holds: Holds,
    pub(super) from: Source,
}

/// Where it was taken from.
pub(super) enum Source {
    /// A bucket in the store.
    Table {
        key: Key,
        /// Of the set that it is in.
        set: String,
        place: Place,
    },
    /// What was on loan of the fleet's budget.
    Loan {
        id: LoanId,
        shared: Shared,
        /// So many tokens, beyond what was reserved, are charged already.
        settled: u64,
        /// When it was taken.
        at: Instant,
    },
}

/// What is known of an answer that has ended.
#[derive(Clone, Copy, Debug)]
pub(in crate::flow) enum Answer {
    /// None came.
    None,
    /// An endpoint answered with an error, or not in time.
    Failed,
    /// It was not to be read.
    Unread,
    /// So much of it was relayed.
    Relayed(Relayed),
}

/// After so many tokens beyond what was reserved the next ones are charged, so that not each event is a step; in the store
/// they are charged ahead.
const AHEAD: u64 = 64;
/// After so many pieces of an answer the clock is read, to see whether what it holds has to be renewed. Few, as a server
/// that thinks may send no more than a comment every 15 s.
const PIECES: u32 = 8;

/// Gives back all that a request has taken which was not sent.
pub(in crate::flow) fn abandon(
    worker: &mut Worker,
    reserved: Option<Box<Reservation>>,
    host: &mut dyn Host,
) {
    if let (Some(reserved), Some(quotas)) = (reserved, &mut worker.quotas) {
        let now = host.now();
        quotas.give_back(reserved.taken, now, host);
    }
}

/// The answer begins: what its caller is told. One that says that the request failed costs a
/// request and no tokens: else a flood of requests that fail would pass any limit.
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
    // What no endpoint has looked at, or has only put off, costs nothing.
    let put_off = start.origin == Origin::Endpoint && is_overload(start.status);
    match start.origin {
        Origin::Endpoint | Origin::Reset | Origin::TimedOut if start.status >= 400 && !put_off => {
            settle(worker, Some(reserved), Answer::Failed, host);
            return told;
        }
        Origin::Endpoint if !put_off => {}
        _ => {
            abandon(worker, Some(reserved), host);
            return told;
        }
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
    let Some(quotas) = &mut worker.quotas else {
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
        let beyond = match limit.rates {
            [_, Some(_)] => used.saturating_sub(tokens.cost),
            [_, None] => 0,
        };
        let more = if beyond > 0 {
            [0, beyond.saturating_add(AHEAD)]
        } else {
            [0, 0]
        };
        match &mut taken.from {
            Source::Table { key, set, place } => {
                let held = (*key, *place, taken.holds);
                let mut grown = (*place, taken.holds);
                let stored = persistently(host, set, &mut |set| {
                    let (set, held) = limit.table.grow(set, &limit.rates, held, &more, now);
                    grown = held;
                    Some(set)
                });
                if stored {
                    (*place, taken.holds) = grown;
                }
            }
            Source::Loan {
                id,
                shared,
                settled,
                ..
            } => {
                if let Some(fleet) = &mut quotas.fleet {
                    let (keeps, costs) = (&limit.keeps, (&[0, 0], &[0, beyond]));
                    fleet.loans.settle(*id, costs, keeps, shared, (now, now));
                    *settled = settled.saturating_add(beyond);
                    let [_, tokens] = &mut taken.holds;
                    tokens.cost = tokens.cost.saturating_add(beyond);
                }
            }
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
        quotas.settle(*reserved, answer, host);
    }
}

impl Quotas {
    #[cold]
    #[inline(never)]
    fn settle(&mut self, mut reserved: Reservation, answer: Answer, host: &mut dyn Host) {
        let now = host.now();
        let told = match &answer {
            Answer::Relayed(relayed) => relayed
                .usage
                .is_some_and(|usage| usage.output.is_some() || reserved.embeds),
            Answer::Failed => true,
            Answer::None | Answer::Unread => false,
        };
        for taken in std::mem::take(&mut reserved.taken) {
            let [_, held] = &taken.holds;
            let tokens = match &answer {
                Answer::None => reserved.input,
                Answer::Failed => 0,
                Answer::Unread => held.cost,
                Answer::Relayed(relayed) => reserved.used(relayed),
            };
            if let Some(limit) = self.limits.get_mut(taken.limit)
                && reserved.counted
                && matches!(limit.rates, [_, Some(_)])
            {
                limit.tokens.add(u32::try_from(tokens).unwrap_or(u32::MAX));
                limit.estimated.add(u32::from(!told));
            }
            self.end(taken, [1, tokens], now, host);
        }
    }

    #[cold]
    pub(super) fn give_back(&mut self, taken: Vec<Taken>, now: Instant, host: &mut dyn Host) {
        for taken in taken {
            self.end(taken, [0, 0], now, host);
        }
    }

    /// Ends what was taken from one limit.
    #[cold]
    #[inline(never)]
    fn end(&mut self, taken: Taken, used: Costs, now: Instant, host: &mut dyn Host) {
        let Some(limit) = self.limits.get(taken.limit) else {
            return;
        };
        let used = counted(&limit.rates, used);
        let costs = taken.holds.map(|hold| hold.cost);
        match taken.from {
            Source::Table { key, set, place } => {
                // What comes on top of what was reserved, was charged as it passed ([`charge`]).
                let unused = self.unsettled.push(Settlement {
                    limit: taken.limit,
                    set,
                    held: (key, place, taken.holds),
                    used,
                });
                if unsettled::is_much(&unused, &limit.rates) || self.unsettled.is_full() {
                    self.store_last(now, host);
                }
            }
            Source::Loan {
                id,
                shared,
                settled,
                at,
            } => {
                let [requests, tokens] = costs;
                let [used_requests, used_tokens] = used;
                // What was charged as it passed is over, unless the answer's end says that it was less.
                let tokens = tokens.saturating_sub(settled.min(used_tokens));
                let used_tokens = used_tokens.saturating_sub(settled);
                // The engine may have taken it for used by then.
                let late = now.since(at) >= HALF_TERM;
                let least = |used: u64, cost: u64| if late { used.max(cost) } else { used };
                let used_requests = least(used_requests, requests);
                let used_tokens = least(used_tokens, tokens);
                if let Some(fleet) = &mut self.fleet {
                    let (costs, used) = ([requests, tokens], [used_requests, used_tokens]);
                    let keeps = &limit.keeps;
                    fleet
                        .loans
                        .settle(id, (&costs, &used), keeps, &shared, (at, now));
                }
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
            match taken.from {
                Source::Loan { settled: 1.., .. } => tokens.cost.saturating_add(AHEAD),
                Source::Loan { .. } | Source::Table { .. } => tokens.cost,
            }
        });
        costs.min().unwrap_or(u64::MAX)
    }
}

impl Reservation {
    pub(super) fn new(
        quotas: &Quotas,
        taken: Vec<Taken>,
        (api, input): (Option<Api>, u64),
        budget: Option<Tokens>,
        told: Vec<(&'static str, String)>,
        now: Instant,
    ) -> Reservation {
        let covered = quotas.covered(&taken);
        Reservation {
            counted: covered < u64::MAX && api.is_some(),
            embeds: api == Some(Api::Embeddings),
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
        let output = if self.embeds { 0 } else { relayed.output.0 };
        input.saturating_add(output.into())
    }
}
