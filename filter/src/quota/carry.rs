//! What callers have used, taken from a limit of one shape to the same limit of another.
//!
//! When a limit's rates change, the units that a caller has used stay used: ten of ten used, raised
//! to fifteen, leave five; lowered to five, none. More than a whole burst is not carried, or a
//! limit that was a hundred a minute and is five now would refuse for twenty minutes. When the
//! number of callers changes, each bucket moves to the set where its caller is found then. What is
//! owed in an overflow, by callers without names, moves only where the sets stay the same.
//!
//! A set records the epoch to which it was brought, in eight bytes behind its slots. So it is brought
//! there once, by any VM.

use crate::values::clock::Instant;

use super::bucket::{Bucket, Level};
use super::rate::Rate;
use super::table::{BUDGETS, Key, Rates, SLOT, Table, read_slot, write_slot};

/// A caller's buckets on their way, or those of an overflow.
#[derive(Clone, Copy, Debug)]
pub struct Moved {
    /// `None` for an overflow.
    pub key: Option<Key>,
    buckets: [Bucket; BUDGETS],
}

impl Table {
    /// What is owed in `set`, a set of this table under the rates `from`, in buckets of the rates
    /// `to`.
    pub fn owed(&self, set: &[u8], (from, to): (&Rates, &Rates), now: Instant) -> Vec<Moved> {
        let (slots, _) = set.as_chunks::<SLOT>();
        let overflow = slots.len().saturating_sub(1);
        let mut owed = Vec::new();
        for (place, slot) in slots
            .iter()
            .enumerate()
            .map(|(at, slot)| (at, read_slot(slot)))
        {
            if slot.buckets.iter().all(|bucket| bucket.is_full(now)) {
                continue;
            }
            let mut buckets = [Bucket::default(); BUDGETS];
            let pairs = from.iter().zip(to).zip(&slot.buckets);
            for (bucket, ((from, to), old)) in buckets.iter_mut().zip(pairs) {
                if let Some((from, to)) = from.as_ref().zip(to.as_ref()) {
                    *bucket = old.under(from, to, now);
                }
            }
            owed.push(Moved {
                key: (place < overflow).then_some(Key(slot.key)),
                buckets,
            });
        }
        owed
    }

    /// `set`, or one without callers, with what `moved` there, brought to `epoch`. Where a caller
    /// has a bucket already, the one that has less left stays.
    pub fn adopt(&self, set: Option<&[u8]>, moved: &[Moved], epoch: u64, now: Instant) -> Vec<u8> {
        let mut set = set.map_or_else(|| self.empty(), |set| self.read(set));
        let (slots, _) = set.as_chunks_mut::<SLOT>();
        for Moved { key, buckets } in moved {
            let place = key.as_ref().and_then(|key| self.way(slots, key, now));
            let place = place.unwrap_or(slots.len().saturating_sub(1));
            if let Some(bytes) = slots.get_mut(place) {
                let mut slot = read_slot(bytes);
                let theirs = key.is_none_or(|key| key.0 == slot.key);
                if !theirs && place < self.ways() {
                    slot.buckets = [Bucket::default(); BUDGETS];
                }
                slot.key = key.map_or(slot.key, |key| key.0);
                for (kept, moved) in slot.buckets.iter_mut().zip(buckets) {
                    *kept = kept.fuller_of(*moved);
                }
                write_slot(bytes, &slot);
            }
        }
        if let Some(last) = set.last_chunk_mut() {
            *last = epoch.to_le_bytes();
        }
        set
    }

    /// The epoch to which `set` was brought.
    pub fn epoch(&self, set: &[u8]) -> u64 {
        set.last_chunk()
            .map_or(0, |epoch| u64::from_le_bytes(*epoch))
    }

    /// The way that `key` has, or one that is free.
    fn way(&self, slots: &[[u8; SLOT]], key: &Key, now: Instant) -> Option<usize> {
        let ways = slots.get(..self.ways())?;
        let own = ways.iter().position(|slot| read_slot(slot).key == key.0);
        own.or_else(|| {
            let free = |slot: &[u8; SLOT]| {
                let slot = read_slot(slot);
                slot.buckets.iter().all(|bucket| bucket.is_full(now))
            };
            ways.iter().position(free)
        })
    }
}

impl Bucket {
    /// This bucket of the rate `from` as one of `to`: as many units are used, at most a whole
    /// burst.
    fn under(&self, from: &Rate, to: &Rate, now: Instant) -> Bucket {
        let level = |level: Level| {
            let most = to.level(to.burst().into());
            let mut converted = Level::default();
            converted.set(to, now, to.converted(level.at(from, now), from).min(most));
            converted
        };
        Bucket {
            taken: level(self.taken),
            paid: level(self.paid),
            ..*self
        }
    }

    /// Which of two buckets has less left.
    fn fuller_of(self, other: Bucket) -> Bucket {
        if other.taken > self.taken {
            other
        } else {
            self
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::Budget;

    const START: Instant = Instant::from_nanos(1 << 40);

    fn rates(limit: u32, seconds: u64) -> Rates {
        let budget = Budget {
            limit,
            per: Duration::from_secs(seconds),
            burst: limit,
            lease: 0,
        };
        [Some(Rate::of(&budget)), None]
    }

    /// So many of one caller's requests, one after another, and how many of them pass.
    fn take(table: Table, set: &mut Vec<u8>, rates: &Rates, key: u128, many: u32) -> u32 {
        let mut passed = 0;
        for _ in 0..many {
            let (new, _) = table.reserve(set, rates, Key(key), &[1, 0], START);
            passed += u32::from(new.is_some());
            *set = new.unwrap_or_else(|| set.clone());
        }
        passed
    }

    #[test]
    fn units_that_are_used_stay_used_whatever_the_rate_becomes() {
        for table in [Table::SINGLE, Table::of(8)] {
            for (used, to, left) in [
                (10, rates(15, 86_400), 5),
                (10, rates(15, 1), 5),
                (10, rates(5, 86_400), 0),
                (3, rates(5, 60), 2),
                (0, rates(5, 60), 5),
            ] {
                let from = rates(10, 86_400);
                let mut set = table.empty();
                assert_eq!(take(table, &mut set, &from, 7, used), used);
                let moved = table.owed(&set, (&from, &to), START);
                let mut new = table.adopt(None, &moved, 3, START);
                assert_eq!(table.epoch(&new), 3);
                assert_eq!(take(table, &mut new, &to, 7, 20), left, "{used} {to:?}");
                assert_eq!(table.epoch(&new), 3);
            }
        }
    }

    #[test]
    fn no_more_than_a_burst_is_carried() {
        let (table, from, to) = (Table::SINGLE, rates(100, 60), rates(5, 60));
        let mut set = table.empty();
        take(table, &mut set, &from, 7, 100);
        let moved = table.owed(&set, (&from, &to), START);
        let set = table.adopt(None, &moved, 1, START);
        let later = START.after(Duration::from_secs(60));
        let (_, reserved) = table.reserve(&set, &to, Key(7), &[5, 0], later);
        assert!(reserved.outcome.is_ok());
    }

    #[test]
    fn what_was_there_stays_if_it_leaves_less_and_nobody_loses_a_way() {
        let (table, rates) = (Table::of(8), rates(10, 60));
        let mut old = table.empty();
        let mut new = table.empty();
        for key in 1..=8 {
            take(table, &mut old, &rates, key, 4);
            take(
                table,
                &mut new,
                &rates,
                key + 4,
                if key < 3 { 6 } else { 2 },
            );
        }
        let moved = table.owed(&old, (&rates, &rates), START);
        assert_eq!(moved.len(), 8);
        let mut set = table.adopt(Some(&new), &moved, 1, START);
        for (key, left) in [(5, 4), (6, 4), (7, 6), (8, 6), (9, 8), (12, 8)] {
            assert_eq!(take(table, &mut set, &rates, key, 20), left, "{key}");
        }
        assert_eq!(take(table, &mut set, &rates, 1, 20), 6, "in the overflow");
    }
}
