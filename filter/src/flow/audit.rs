//! Load that a trapped VM has left behind is taken out of the gauges again.
//!
//! A gauge says what all VMs carry; the living ones' ledgers say it too ([`super::member`]). Both are
//! stepped within one callback, so whoever compares them sees a difference for microseconds at most, and
//! hardly ever twice in a row. One that stands through ten looks, a tick apart, belongs to nobody alive.
//!
//! Several configurations of a plugin may audit the same gauges, and what each of them sees must be
//! corrected once. So a correction is claimed in the store by its time, and an audit that began
//! before it starts again.

use std::time::Duration;

use crate::ports::{Host, Meter, update};
use crate::values::clock::Instant;

use super::member::{Load, Places, carried};

/// What the leader remembers of one pool's differences between two looks.
#[derive(Debug, Default)]
pub(super) struct Audit {
    /// For each endpoint those of in-flight requests and of waiting tokens.
    differences: Vec<[Difference; 2]>,
    /// That of the pool's in-flight requests.
    total: Difference,
    last: Option<Instant>,
    suspicious: bool,
}

/// An endpoint as it is audited: the gauges of what [`Load`] counts.
pub(super) type Audited = [Option<Meter>; 2];

/// A difference that has stood for some looks.
#[derive(Clone, Copy, Debug, Default)]
struct Difference {
    /// What of it was there at each look.
    standing: i64,
    looks: u8,
    /// When it was seen first.
    since: Instant,
}

/// A gauge, what to add to it, and since when that is known.
struct Correction {
    meter: Meter,
    by: i64,
    since: Instant,
}

/// How many looks make a difference a fact.
const LOOKS: u8 = 10;
/// How often to look where all was well.
const CALM: Duration = Duration::from_secs(1);

impl Audit {
    /// Makes what corrections of `pool` are claimed in.
    pub fn prepare(pool: &str, host: &mut dyn Host) {
        host.create(&key(pool), &[0; 8]);
    }

    /// Looks at a pool, and corrects the gauges of what has stood long enough.
    pub fn look(
        &mut self,
        pool: &str,
        total: Option<Meter>,
        places: &Places,
        endpoints: impl Iterator<Item = Audited>,
        now: Instant,
        host: &mut dyn Host,
    ) {
        let due = self.last.is_none_or(|last| now.since(last) >= CALM);
        if !due && !self.suspicious {
            return;
        }
        self.last = Some(now);
        self.suspicious = false;
        let carried = carried(pool, now, host);
        let all = carried
            .iter()
            .map(|(_, load)| i64::from(load.in_flight))
            .sum();
        let mut corrections = Vec::new();
        let mut compare = |difference: &mut Difference, meter, sum| {
            let stands = difference.compare(meter, sum, now, host, &mut corrections);
            self.suspicious |= stands;
        };
        compare(&mut self.total, total, all);
        let mut sums = vec![[0i64; 2]; places.len()];
        for (key, Load { in_flight, waiting }) in carried {
            if let Some([requests, tokens]) = places.of(key).and_then(|at| sums.get_mut(at)) {
                *requests = requests.saturating_add(in_flight.into());
                *tokens = tokens.saturating_add(waiting.into());
            }
        }
        self.differences.resize(places.len(), Default::default());
        for ((differences, meters), sums) in self.differences.iter_mut().zip(endpoints).zip(sums) {
            for ((difference, meter), sum) in differences.iter_mut().zip(meters).zip(sums) {
                compare(difference, meter, sum);
            }
        }
        correct(pool, &corrections, now, host);
    }
}

fn key(pool: &str) -> String {
    ["junheng/audit/", pool].concat()
}

/// Carries `corrections` out, unless another has corrected the pool since the first of them was
/// seen.
fn correct(pool: &str, corrections: &[Correction], now: Instant, host: &mut dyn Host) {
    let Some(since) = corrections.iter().map(|correction| correction.since).min() else {
        return;
    };
    let claimed = update(host, &key(pool), |_, bytes| {
        let last = bytes.first_chunk().map(|nanos| u64::from_le_bytes(*nanos));
        let fresh = last.is_none_or(|last| last < since.as_nanos());
        fresh.then(|| (now.as_nanos().to_le_bytes().to_vec(), ()))
    });
    if claimed.is_some() {
        for Correction { meter, by, .. } in corrections {
            host.add(*meter, *by);
        }
    }
}

impl Difference {
    /// Compares a gauge with what it should show, and asks for a correction in time; whether there
    /// is a difference.
    fn compare(
        &mut self,
        meter: Option<Meter>,
        sum: i64,
        now: Instant,
        host: &mut dyn Host,
        corrections: &mut Vec<Correction>,
    ) -> bool {
        let Some((meter, shown)) = meter.and_then(|meter| Some((meter, host.read(meter)?))) else {
            return false;
        };
        let since = if self.looks == 0 { now } else { self.since };
        // A gauge that was lowered too often has wrapped: read as signed it is what is missing.
        let by = self.seen((shown as i64).saturating_sub(sum), now);
        if by != 0 {
            corrections.push(Correction { meter, by, since });
        }
        self.looks > 0
    }

    /// Sees `difference` once more; returns what to add to the gauge.
    fn seen(&mut self, difference: i64, now: Instant) -> i64 {
        if difference.signum() != self.standing.signum() || self.looks == 0 {
            *self = Difference {
                standing: difference,
                looks: (difference != 0).into(),
                since: now,
            };
            return 0;
        }
        let least = self.standing.unsigned_abs().min(difference.unsigned_abs());
        self.standing = self.standing.signum().saturating_mul(least as i64);
        self.looks = self.looks.saturating_add(1);
        if self.looks < LOOKS {
            return 0;
        }
        std::mem::take(self).standing.saturating_neg()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn corrections(seen: impl IntoIterator<Item = i64>) -> Vec<i64> {
        let mut difference = Difference::default();
        let now = Instant::default();
        seen.into_iter().map(|d| difference.seen(d, now)).collect()
    }

    #[test]
    fn what_stands_through_ten_looks_is_corrected_by_its_least() {
        let mut expected = vec![0; 9];
        expected.push(-2);
        assert_eq!(corrections([3, 2, 3, 4, 2, 2, 9, 3, 2, 2]), expected);
        expected[9] = 1;
        assert_eq!(corrections([-1; 10]), expected);
    }

    #[test]
    fn what_comes_and_goes_is_not() {
        let flicker = [1, 1, 1, 1, 1, 1, 1, 1, 1, 0];
        assert!(
            corrections(flicker.repeat(5))
                .iter()
                .all(|correction| *correction == 0)
        );
        assert!(
            corrections([1, -1].repeat(20))
                .iter()
                .all(|correction| *correction == 0)
        );
    }
}
