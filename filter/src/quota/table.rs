//! Where the buckets of a limit's callers are: a table of fixed size, by a hash of what the limit goes by.
//!
//! Keys come from callers, and a proxy's shared data never forgets one. So a limit has a number of *sets*, each a value of
//! eight *ways*, and a caller's bucket is in one way of the set that its hash says. A way is given to another caller only
//! when its bucket is full: such a bucket is as good as a fresh one, so nobody wins or loses by it, and a million
//! strange keys take nothing from a caller who has used something.
//!
//! Who finds no way in its set shares that set's *overflow* with all others like it, one bucket of the same rate. And as long
//! as the overflow is not full, every caller without a way goes there, even if a way has become free: whoever owes
//! there may be among them, and a fresh bucket would forgive it. To refuse them instead would be as safe, but whoever makes up
//! keys could then shut out every newcomer; so they are slow, together with whom they are slow for.
//!
//! The hash is 128 bits under a secret of the process (see `flow`): nobody can aim at another's bucket or fill a set of
//! his choice.

use std::time::Duration;

use crate::values::clock::Instant;

use super::bucket::{Bucket, Hold, Refused};
use super::rate::Rate;

/// What a limit counts: requests, and tokens.
pub const BUDGETS: usize = 2;
/// The rates of a limit, where it has them.
pub type Rates = [Option<Rate>; BUDGETS];
/// What a request costs.
pub type Costs = [u64; BUDGETS];
/// What a request has reserved.
pub type Holds = [Hold; BUDGETS];

/// A caller, by the hash of what a limit goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key(pub u128);

/// Where in its set a caller's buckets are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(usize);

/// What is left in a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// Whole units.
    pub units: u64,
    /// How long until there is one more; zero where it is full.
    pub next: Duration,
    /// How long until it is full.
    pub full: Duration,
}

/// What became of an attempt to reserve, and what is left after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reserved {
    /// Where, and what is held there; or which budget refused it, and why.
    pub outcome: Result<(Place, Holds), (usize, Refused)>,
    /// Of each budget that the limit has.
    pub left: [Option<Left>; BUDGETS],
}

/// The shape of a limit's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Table {
    sets: u32,
    ways: usize,
}

/// A key, and its buckets.
pub(super) struct Slot {
    pub(super) key: u128,
    pub(super) buckets: [Bucket; BUDGETS],
}

const WAYS: usize = 8;
/// Key; of each bucket both levels, holds, generation and its beginning.
pub(super) const SLOT: usize = 16 + BUDGETS * BUCKET;
/// What stands behind the slots of a set ([`super::carry`]).
const EPOCH: usize = 8;
const BUCKET: usize = 2 * (8 + 4) + 2 * 8 + 4 + 8;

impl Table {
    /// For the one caller that all requests are.
    pub const SINGLE: Table = Table { sets: 1, ways: 0 };

    /// For at least so many callers at once, if their hashes are spread evenly.
    pub fn of(callers: u32) -> Table {
        Table {
            sets: callers.div_ceil(WAYS as u32).max(1),
            ways: WAYS,
        }
    }

    /// The table of so many sets.
    pub const fn of_sets(sets: u32) -> Table {
        Table { sets, ways: WAYS }
    }

    /// How many callers have buckets of their own in a set.
    pub const fn ways(&self) -> usize {
        self.ways
    }

    /// How many values it has.
    pub const fn sets(&self) -> u32 {
        self.sets
    }

    /// The value that a caller's buckets are in.
    pub fn set_of(&self, key: Key) -> u32 {
        // Half of the hash spreads as well as all of it, and is divided by one instruction.
        let set = (key.0 as u64).checked_rem(self.sets.into());
        set.unwrap_or_default() as u32
    }

    /// A value without callers.
    pub fn empty(&self) -> Vec<u8> {
        // All zeros is a full bucket of nobody.
        vec![0; self.size()]
    }

    const fn size(&self) -> usize {
        let slots = self.ways.saturating_add(1).saturating_mul(SLOT);
        slots.saturating_add(EPOCH)
    }

    /// Takes `costs` from the caller's buckets if all of it fits. Returns the set as it is then, unless nothing was taken.
    pub fn reserve(
        &self,
        set: &[u8],
        rates: &Rates,
        key: Key,
        costs: &Costs,
        now: Instant,
    ) -> (Option<Vec<u8>>, Reserved) {
        let mut set = self.read(set);
        let place = find(&set, key, now);
        let slot = slot(&set, place, key);
        let mut new = slot.buckets;
        let mut holds = Holds::default();
        let mut refused: Option<(usize, Refused)> = None;
        for (budget, rate) in rates.iter().enumerate() {
            let (Some(rate), Some(bucket), Some(hold), Some(cost)) = (
                rate,
                new.get_mut(budget),
                holds.get_mut(budget),
                costs.get(budget),
            ) else {
                continue;
            };
            let (taken, outcome) = bucket.reserve(rate, now, *cost);
            *bucket = taken;
            match outcome {
                Ok(held) => *hold = held,
                Err(why) => refused = Some(longer(refused, (budget, why))),
            }
        }
        let left = |buckets: &[Bucket; BUDGETS]| {
            let mut left = [None; BUDGETS];
            for ((left, rate), bucket) in left.iter_mut().zip(rates).zip(buckets) {
                *left = rate.map(|rate| left_in(bucket, &rate, now));
            }
            left
        };
        if let Some(refused) = refused {
            let left = left(&slot.buckets);
            return (
                None,
                Reserved {
                    outcome: Err(refused),
                    left,
                },
            );
        }
        let left = left(&new);
        write(
            &mut set,
            place,
            &Slot {
                key: slot.key,
                buckets: new,
            },
        );
        (
            Some(set),
            Reserved {
                outcome: Ok((place, holds)),
                left,
            },
        )
    }

    /// Takes `more` for what is held, whether it fits or not, and renews it.
    pub fn grow(
        &self,
        set: &[u8],
        rates: &Rates,
        (key, place, holds): (Key, Place, Holds),
        more: &Costs,
        now: Instant,
    ) -> (Vec<u8>, (Place, Holds)) {
        let mut grown = holds;
        let (set, place) = self.step(
            set,
            rates,
            (key, place, &holds),
            now,
            &mut |budget, bucket, rate, ours| {
                let (Some(hold), Some(more)) = (grown.get_mut(budget), more.get(budget)) else {
                    return bucket;
                };
                let held = if ours { *hold } else { bucket.forgotten(*hold) };
                let (bucket, renewed) = bucket.grow(rate, now, held, *more);
                *hold = renewed;
                bucket
            },
        );
        (set, (place, grown))
    }

    /// Ends what is held, of which `used` was used.
    pub fn settle(
        &self,
        set: &[u8],
        rates: &Rates,
        (key, place, holds): (Key, Place, Holds),
        used: &Costs,
        now: Instant,
    ) -> Vec<u8> {
        let (set, _) = self.step(
            set,
            rates,
            (key, place, &holds),
            now,
            &mut |budget, bucket: Bucket, rate, ours| {
                let (Some(hold), Some(used)) = (holds.get(budget), used.get(budget)) else {
                    return bucket;
                };
                let held = if ours { *hold } else { bucket.forgotten(*hold) };
                bucket.settle(rate, now, held, *used)
            },
        );
        set
    }

    /// Steps the buckets in which something is held, telling whether it is there. If the place has gone to another caller, all
    /// that was held has drained; what is charged beyond it goes where the caller is now.
    #[inline(never)]
    fn step(
        &self,
        set: &[u8],
        rates: &Rates,
        (key, place, holds): (Key, Place, &Holds),
        now: Instant,
        step: &mut dyn FnMut(usize, Bucket, &Rate, bool) -> Bucket,
    ) -> (Vec<u8>, Place) {
        let mut set = self.read(set);
        let kept = slot(&set, place, key).buckets;
        let ours = kept
            .iter()
            .zip(holds)
            .any(|(bucket, hold)| hold.cost > 0 && bucket.holds(*hold));
        let place = if ours { place } else { find(&set, key, now) };
        let mut slot = slot(&set, place, key);
        for ((budget, bucket), rate) in slot.buckets.iter_mut().enumerate().zip(rates) {
            if let Some(rate) = rate {
                *bucket = step(budget, *bucket, rate, ours);
            }
        }
        write(&mut set, place, &slot);
        (set, place)
    }

    /// A set as it is; without callers, if it is of another shape.
    pub(super) fn read(&self, set: &[u8]) -> Vec<u8> {
        if set.len() == self.size() {
            set.to_vec()
        } else {
            self.empty()
        }
    }
}

/// The refusal that lasts longer.
fn longer(one: Option<(usize, Refused)>, other: (usize, Refused)) -> (usize, Refused) {
    match (one, other.1) {
        (Some(one), Refused::After(wait)) => match one.1 {
            Refused::After(first) if first < wait => other,
            _ => one,
        },
        _ => other,
    }
}

#[inline(never)]
fn left_in(bucket: &Bucket, rate: &Rate, now: Instant) -> Left {
    let units = bucket.left(rate, now);
    let next = units.saturating_add(1).min(rate.burst().into());
    Left {
        units,
        next: bucket.until(rate, now, next),
        full: bucket.until_full(rate, now),
    }
}

/// Where `key` belongs: the way that it has, else the overflow (the last place) if anybody owes there, else a
/// way that is free, else the overflow.
#[inline(never)]
fn find(set: &[u8], key: Key, now: Instant) -> Place {
    let (slots, _) = set.as_chunks::<SLOT>();
    let overflow = slots.len().saturating_sub(1);
    let ways = slots.get(..overflow).unwrap_or_default();
    let wanted = key.0.to_le_bytes();
    if let Some(own) = ways.iter().position(|slot| slot.starts_with(&wanted)) {
        return Place(own);
    }
    let free = |slot: &[u8; SLOT]| {
        read_slot(slot)
            .buckets
            .iter()
            .all(|bucket| bucket.is_full(now))
    };
    if !slots.last().is_some_and(free) {
        return Place(overflow);
    }
    Place(ways.iter().position(free).unwrap_or(overflow))
}

/// What is at `place`, in the name of `key`.
#[inline(never)]
fn slot(set: &[u8], place: Place, key: Key) -> Slot {
    let (slots, _) = set.as_chunks::<SLOT>();
    let buckets = slots.get(place.0).map(read_slot).map(|slot| slot.buckets);
    Slot {
        key: key.0,
        buckets: buckets.unwrap_or_default(),
    }
}

fn write(set: &mut [u8], place: Place, slot: &Slot) {
    let (slots, _) = set.as_chunks_mut::<SLOT>();
    if let Some(bytes) = slots.get_mut(place.0) {
        write_slot(bytes, slot);
    }
}

#[inline(never)]
pub(super) fn write_slot(bytes: &mut [u8; SLOT], slot: &Slot) {
    let mut rest = bytes.as_mut_slice();
    put(&mut rest, slot.key.to_le_bytes());
    for bucket in &slot.buckets {
        for level in [bucket.taken, bucket.paid] {
            put(&mut rest, level.zero_at.to_le_bytes());
            put(&mut rest, level.part.to_le_bytes());
        }
        for held in bucket.held {
            put(&mut rest, held.to_le_bytes());
        }
        put(&mut rest, bucket.generation.to_le_bytes());
        put(&mut rest, bucket.since.as_nanos().to_le_bytes());
    }
}

#[inline(never)]
pub(super) fn read_slot(bytes: &[u8; SLOT]) -> Slot {
    let mut rest = bytes.as_slice();
    let key = take(&mut rest).map_or(0, u128::from_le_bytes);
    let mut buckets = [Bucket::default(); BUDGETS];
    for bucket in &mut buckets {
        let long = |rest: &mut &[u8]| take(rest).map_or(0, u64::from_le_bytes);
        for level in [&mut bucket.taken, &mut bucket.paid] {
            level.zero_at = long(&mut rest);
            level.part = take(&mut rest).map_or(0, u32::from_le_bytes);
        }
        bucket.held = [long(&mut rest), long(&mut rest)];
        bucket.generation = take(&mut rest).map_or(0, u32::from_le_bytes);
        bucket.since = Instant::from_nanos(long(&mut rest));
    }
    Slot { key, buckets }
}

fn put<const N: usize>(rest: &mut &mut [u8], bytes: [u8; N]) {
    if let Some((place, after)) = std::mem::take(rest).split_first_chunk_mut() {
        *place = bytes;
        *rest = after;
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*taken)
}

#[cfg(test)]
#[path = "table_tests.rs"]
mod tests;
