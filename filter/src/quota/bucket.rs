//! One budget of one caller: reserve, settle, grow.
//!
//! A reservation is taken from the bucket at once and drains with everything else, so that a wait that was told is
//! enough whatever becomes of the requests under way, and what a dead worker had reserved comes back by itself.
//!
//! To settle it is less plain than to add back what was not used. Of a bucket of 100 units that drains 100 a second
//! somebody reserves 100, and half a second later another takes the 50 that have drained. If the first then used
//! nothing and got 100 back, 150 would have been taken at once. What had drained was the first one's: as it
//! was not used it was never there to drain, and cannot be had twice.
//!
//! So beside the level a bucket keeps how much is *held*, reserved and not settled, and the level of what is *paid*: as if each
//! cost had been charged when it was settled. Where both together are more than the level, the difference has drained
//! off holds; a settlement gives back what was not used less that, and uses it up. Then the level never lies below that
//! of a bucket which was charged with the real costs when they were admitted, nor above what is paid and held. (By
//! induction: for whatever part of the holds may be unused, paid and held less that part is no less than what the
//! first of these buckets would have. `settling_never_gives_back_what_was_not_there` looks for counterexamples.)
//!
//! Holds of a dead worker stay. They would only make later refunds smaller, but for ever; so holds are
//! kept in two generations, and the older is forgotten after [`TERM`] to twice that: what it had reserved then counts as
//! used. A request under way renews its hold as its answer passes. A bucket that is full has drained all holds, and
//! forgets them at once.

// Nothing here is inlined: sums of 128 bits at every place of use are twice the code, and one call in a request is nothing.

use std::time::Duration;

use crate::values::clock::Instant;

use super::rate::Rate;

/// How long a hold is kept at least that nobody renews: longer than an answer is silent.
pub const TERM: Duration = Duration::from_secs(300);
/// How often a hold is renewed while its answer passes.
pub const RENEWAL: Duration = Duration::from_secs(150);

/// A budget's state. A fresh one is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    /// What is taken and has not drained.
    pub(super) taken: Level,
    /// What would be, if each cost had been taken when it was settled; never more.
    pub(super) paid: Level,
    /// What is held of this generation and of the last.
    pub(super) held: [u64; 2],
    pub(super) generation: u32,
    /// When the generation began.
    pub(super) since: Instant,
}

/// A level that drains, as the time when it is zero: in nanoseconds, and what of the next one it takes beside (see
/// [`Rate`]). Where the rate of a bucket changes it is full when it would have been.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Level {
    pub(super) zero_at: u64,
    pub(super) part: u32,
}

/// A reservation that is to be settled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hold {
    /// What was reserved.
    pub cost: u64,
    pub(super) generation: u32,
}

impl Hold {
    /// Of `cost`, where no bucket keeps it.
    pub fn of(cost: u64) -> Hold {
        Hold {
            cost,
            generation: 0,
        }
    }
}

/// Why nothing was reserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The cost is above the burst: it would never fit.
    Never,
    /// It will fit after so long, or sooner if others settle.
    After(Duration),
}

impl Bucket {
    /// Takes `cost` if it fits, as nothing does always; what is taken has to be settled.
    #[inline(never)]
    pub fn reserve(&self, rate: &Rate, now: Instant, cost: u64) -> (Bucket, Result<Hold, Refused>) {
        if cost > u64::from(rate.burst()) {
            return (*self, Err(Refused::Never));
        }
        let wait = self.until(rate, now, cost);
        if cost > 0 && !wait.is_zero() {
            return (*self, Err(Refused::After(wait)));
        }
        let mut new = self.aged(rate, now);
        let hold = new.hold(rate, now, Hold::default(), cost);
        (new, Ok(hold))
    }

    /// Takes `more` for a reservation, whether it fits or not, and renews its hold.
    #[inline(never)]
    pub fn grow(&self, rate: &Rate, now: Instant, hold: Hold, more: u64) -> (Bucket, Hold) {
        let mut new = self.aged(rate, now);
        let hold = match new.held_with(hold) {
            Some(held) => {
                *held = held.saturating_sub(hold.cost);
                new.hold(rate, now, hold, more)
            }
            // What it held counts as used, and so does what comes now.
            None => {
                new.taken.raise(rate, now, more);
                new.paid.raise(rate, now, more);
                let cost = hold.cost.saturating_add(more);
                Hold { cost, ..hold }
            }
        };
        (new, hold)
    }

    /// Ends a reservation of which `used` was used; more than was reserved is charged.
    #[inline(never)]
    pub fn settle(&self, rate: &Rate, now: Instant, hold: Hold, used: u64) -> Bucket {
        let mut new = self.aged(rate, now);
        let drained = new.drained_off_holds(rate, now);
        let beyond = used.saturating_sub(hold.cost);
        match new.held_with(hold) {
            Some(held) => {
                *held = held.saturating_sub(hold.cost);
                let unused = rate.level(hold.cost.saturating_sub(used));
                let taken = new.taken.at(rate, now);
                let back = unused.saturating_sub(drained);
                new.taken.set(rate, now, taken.saturating_sub(back));
                new.paid.raise(rate, now, used);
            }
            None => new.paid.raise(rate, now, beyond),
        }
        new.taken.raise(rate, now, beyond);
        new.paid = new.paid.min(new.taken);
        new
    }

    /// How many units could be reserved now.
    pub fn left(&self, rate: &Rate, now: Instant) -> u64 {
        let burst = rate.level(rate.burst().into());
        rate.units(burst.saturating_sub(self.taken.at(rate, now)))
    }

    /// How long until `units` could be reserved.
    #[inline(never)]
    pub fn until(&self, rate: &Rate, now: Instant, units: u64) -> Duration {
        let burst = rate.level(rate.burst().into());
        let level = self.taken.at(rate, now).saturating_add(rate.level(units));
        rate.time_for(level.saturating_sub(burst))
    }

    /// How long until it is full again.
    pub fn until_full(&self, rate: &Rate, now: Instant) -> Duration {
        rate.time_for(self.taken.at(rate, now))
    }

    /// Whether it is full: as good as fresh.
    pub fn is_full(&self, now: Instant) -> bool {
        (self.taken.zero_at, self.taken.part) <= (now.as_nanos(), 0)
    }

    /// Whether `hold` is still one of its own.
    pub fn holds(&self, hold: Hold) -> bool {
        let age = self.generation.wrapping_sub(hold.generation);
        let held = self.held.get(age as usize);
        held.is_some_and(|held| *held >= hold.cost)
    }

    /// `hold` as one that this bucket knows no more: it was taken from another.
    pub fn forgotten(&self, hold: Hold) -> Hold {
        let generation = self.generation.wrapping_sub(2);
        Hold { generation, ..hold }
    }

    /// Forgets the holds that are too old, or have drained.
    #[inline(never)]
    fn aged(&self, rate: &Rate, now: Instant) -> Bucket {
        let mut new = *self;
        let age = now.since(self.since);
        let generations = match () {
            () if self.is_full(now) || age >= TERM.saturating_mul(2) => 2,
            () if age >= TERM => 1,
            () => return new,
        };
        new.since = now;
        let [young, old] = self.held;
        let (kept, forgotten) = match generations {
            1 => (young, old),
            _ => (0, young.saturating_add(old)),
        };
        if young > 0 || old > 0 {
            new.held = [0, kept];
            new.generation = new.generation.wrapping_add(generations);
        }
        new.paid.raise(rate, now, forgotten);
        new.paid = new.paid.min(new.taken);
        new
    }

    /// What is held of the generation that `hold` is of; `None` if that is forgotten.
    fn held_with(&mut self, hold: Hold) -> Option<&mut u64> {
        let age = self.generation.wrapping_sub(hold.generation);
        self.held.get_mut(age as usize)
    }

    /// Takes `more`, and holds it together with what `hold` held.
    fn hold(&mut self, rate: &Rate, now: Instant, hold: Hold, more: u64) -> Hold {
        self.taken.raise(rate, now, more);
        let cost = hold.cost.saturating_add(more);
        let [young, _] = &mut self.held;
        *young = young.saturating_add(cost);
        Hold {
            cost,
            generation: self.generation,
        }
    }

    fn drained_off_holds(&self, rate: &Rate, now: Instant) -> u128 {
        let [young, old] = self.held;
        let held = rate.level(young.saturating_add(old));
        let all = self.paid.at(rate, now).saturating_add(held);
        all.saturating_sub(self.taken.at(rate, now))
    }
}

impl Level {
    #[inline(never)]
    pub(super) fn at(&self, rate: &Rate, now: Instant) -> u128 {
        match self.zero_at.checked_sub(now.as_nanos()) {
            Some(nanos) => rate.drained_in(nanos).saturating_add(self.part.into()),
            None => 0,
        }
    }

    #[inline(never)]
    pub(super) fn set(&mut self, rate: &Rate, now: Instant, level: u128) {
        let (nanos, part) = rate.split(level);
        self.zero_at = now.as_nanos().saturating_add(nanos);
        self.part = part;
    }

    #[inline(never)]
    fn raise(&mut self, rate: &Rate, now: Instant, units: u64) {
        if units > 0 {
            let level = self.at(rate, now).saturating_add(rate.level(units));
            self.set(rate, now, level);
        }
    }
}

#[cfg(test)]
#[path = "bucket_tests.rs"]
mod tests;
