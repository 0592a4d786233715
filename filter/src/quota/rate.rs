//! How much a budget gives, and how soon.

use std::time::Duration;

use crate::config::Budget;

/// `limit` units each `period`, of which at most `burst` at once.
///
/// Levels of a bucket are in units times nanoseconds of the period: a unit is `period`, and each nanosecond drains
/// `limit`. So nothing is ever rounded. The largest level, 2³² units of a day, has 79 bits; most have 64, which one
/// instruction divides where 128 take hundreds, and a request divides some forty levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    limit: u32,
    period: u64,
    burst: u32,
}

impl Rate {
    /// The rate of `budget`.
    pub fn of(budget: &Budget) -> Rate {
        Rate {
            limit: budget.limit.max(1),
            period: u64::try_from(budget.per.as_nanos())
                .unwrap_or(u64::MAX)
                .max(1),
            burst: budget.burst,
        }
    }

    /// The most that may be taken at once.
    pub const fn burst(&self) -> u32 {
        self.burst
    }

    /// The seconds in which a burst comes back, rounded up.
    pub fn window(&self) -> u64 {
        seconds(self.time_for(self.level(self.burst.into())))
    }

    /// So many units each so many microseconds.
    pub(super) fn per_micros(&self) -> (u32, u64) {
        (self.limit, self.period / 1_000)
    }

    /// The level of `units`.
    pub(super) fn level(&self, units: u64) -> u128 {
        u128::from(units).saturating_mul(self.period.into())
    }

    /// A level of the rate `from` as one of this: of as many units, and never of less.
    pub(super) fn converted(&self, level: u128, from: &Rate) -> u128 {
        if self.period == from.period {
            return level;
        }
        let scaled = level.saturating_mul(self.period.into());
        scaled.div_ceil(u128::from(from.period.max(1)))
    }

    /// As it is kept in the store: limit and burst, and the period, which is never 0.
    pub fn to_words(self) -> [u64; 2] {
        let limit = u64::from(self.limit) << 32;
        [limit | u64::from(self.burst), self.period]
    }

    /// The rate that was kept so; `None` where there was none.
    pub fn from_words([units, period]: [u64; 2]) -> Option<Rate> {
        let limit = (units >> 32) as u32;
        (limit > 0 && period > 0).then_some(Rate {
            limit,
            period,
            burst: units as u32,
        })
    }

    /// The whole units in a level.
    #[inline(never)]
    pub(super) fn units(&self, level: u128) -> u64 {
        let units = match u64::try_from(level) {
            Ok(level) => level.checked_div(self.period),
            Err(_) => {
                let units = level.checked_div(self.period.into());
                units.and_then(|units| u64::try_from(units).ok())
            }
        };
        units.unwrap_or(u64::MAX)
    }

    /// What drains in a time.
    pub(super) fn drained_in(&self, nanos: u64) -> u128 {
        u128::from(nanos).saturating_mul(self.limit.into())
    }

    /// A level as nanoseconds and what drains in a part of the next one.
    #[inline(never)]
    pub(super) fn split(&self, level: u128) -> (u64, u32) {
        let limit = u64::from(self.limit);
        if let Ok(level) = u64::try_from(level) {
            let nanos = level.checked_div(limit).unwrap_or_default();
            let part = level.checked_rem(limit).unwrap_or_default();
            return (nanos, part as u32);
        }
        let nanos = level.checked_div(limit.into()).unwrap_or_default();
        let part = level.wrapping_sub(nanos.wrapping_mul(limit.into()));
        (u64::try_from(nanos).unwrap_or(u64::MAX), part as u32)
    }

    /// How long a level takes to drain.
    pub(super) fn time_for(&self, level: u128) -> Duration {
        let (nanos, part) = self.split(level);
        Duration::from_nanos(nanos.saturating_add(u64::from(part > 0)))
    }
}

/// A time in whole seconds, rounded up: who comes sooner comes in vain.
pub fn seconds(time: Duration) -> u64 {
    time.as_secs()
        .saturating_add(u64::from(time.subsec_nanos() > 0))
}
