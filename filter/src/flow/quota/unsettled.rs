//! Settlements that are not in the store yet: they go along with the next reservation in their set.
//!
//! To settle is a step of the store, as dear as to reserve, and no request waits for it. So each waits in its worker, and the
//! worker's next reservation in the same set stores it; on the tick go those that none has taken along. Until then the store has
//! as reserved what was not used: another worker may refuse for a tick longer than it had to, and none lets through what
//! it must not. Of a worker that dies meanwhile counts as used what it had reserved, as it does of requests under way.

use crate::quota::{Costs, Holds, Key, Place};
use crate::values::clock::Instant;

use super::Limit;

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

/// So many wait at most; a tick has seldom more to store, and a VM no more to remember.
const MOST: usize = 256;

impl Unsettled {
    /// Keeps `settlement`.
    pub(super) fn push(&mut self, settlement: Settlement) {
        self.0.push(settlement);
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
