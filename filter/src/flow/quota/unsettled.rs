//! Settlements that are not in the store yet: they go along with the next reservation in their set.
//!
//! To settle is a step of the store, as dear as to reserve, and no request waits for it. So each waits in its worker, and the
//! worker's next reservation in the same set stores it; on the tick go those that none has taken along. Until then the store has
//! as reserved what was not used: another worker may refuse what it need not, and none lets through what it must not. As such a
//! refusal tells a wait that is too long by what waits here, no more of a bucket than a sixteenth waits. Of a worker that dies
//! meanwhile counts as used what it had reserved, as it does of requests under way.

use crate::ports::Host;
use crate::quota::{Costs, Holds, Key, Place, Rates};
use crate::values::clock::Instant;

use super::{Limit, Quotas, persistently};

/// All of a worker.
#[derive(Default)]
pub(super) struct Unsettled(Vec<Settlement>);

/// The end of what a request has taken from one limit.
pub(super) struct Settlement {
    /// The limit's place.
    pub(super) limit: usize,
    /// The set of it.
    pub(super) set: String,
    pub(super) held: (Key, Place, Holds),
    pub(super) used: Costs,
}

/// The part of a burst that may wait.
const PART: u64 = 16;
/// So many wait at most; a tick has seldom more to store, and a VM no more to remember.
const MOST: usize = 256;

/// Whether so much of buckets is not to wait.
pub(super) fn is_much(unused: &Costs, rates: &Rates) -> bool {
    let budgets = unused.iter().zip(rates);
    let mut parts = budgets.filter_map(|(unused, rate)| Some((unused, rate.as_ref()?.burst())));
    parts.any(|(unused, burst)| unused.saturating_mul(PART) > burst.into())
}

impl Unsettled {
    /// Keeps `settlement`. Returns what was not used, of all that waits for its set.
    pub(super) fn push(&mut self, settlement: Settlement) -> Costs {
        self.0.push(settlement);
        let mut unused = Costs::default();
        let set = self.0.last().map(|last| &last.set);
        for Settlement { held, used, .. } in self.0.iter().filter(|it| Some(&it.set) == set) {
            let (_, _, holds) = held;
            for ((unused, hold), used) in unused.iter_mut().zip(holds).zip(used) {
                *unused = unused.saturating_add(hold.cost.saturating_sub(*used));
            }
        }
        unused
    }

    /// Whether nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether so many wait that the last one's set is to be stored at once.
    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= MOST
    }

    /// The bytes of `set`, a set of `limit`, after all that waits for it.
    pub(super) fn applied(
        &self,
        limit: &Limit,
        set: &str,
        bytes: Vec<u8>,
        now: Instant,
    ) -> Vec<u8> {
        let these = self.0.iter().filter(|waiting| waiting.set == set);
        these.fold(bytes, |bytes, Settlement { held, used, .. }| {
            limit.table.settle(&bytes, &limit.rates, *held, used, now)
        })
    }

    /// What waited for `set` is stored, or never will be.
    pub(super) fn forget(&mut self, set: &str) {
        self.0.retain(|waiting| waiting.set != set);
    }

    /// The limit's place, and the set of it, that the last one waits for.
    pub(super) fn last(&self) -> Option<(usize, String)> {
        let waiting = self.0.last()?;
        Some((waiting.limit, waiting.set.clone()))
    }
}

impl Quotas {
    /// Stores all that waits to be settled.
    pub(in crate::flow) fn store_settled(&mut self, now: Instant, host: &mut dyn Host) {
        while !self.unsettled.is_empty() {
            self.store_last(now, host);
        }
    }

    /// Stores what waits for the set that the last settlement is in. What the store does not let through stays charged as it was
    /// reserved.
    #[cold]
    pub(super) fn store_last(&mut self, now: Instant, host: &mut dyn Host) {
        if let Some((limit, set)) = self.unsettled.last() {
            persistently(host, &set, &mut |bytes| {
                Some(self.settled(limit, &set, bytes.to_vec(), now))
            });
            self.unsettled.forget(&set);
        }
    }

    /// `bytes` of a set of a limit, after all that waits to be settled in it.
    pub(super) fn settled(&self, limit: usize, set: &str, bytes: Vec<u8>, now: Instant) -> Vec<u8> {
        match self.limits.get(limit) {
            Some(limit) => self.unsettled.applied(limit, set, bytes, now),
            None => bytes,
        }
    }
}
