//! What health means for balancing: in with a share, due for a probe, or out and why.

use std::time::Duration;

use crate::values::clock::Instant;
use crate::values::units::{Bound, Share};

use super::breaker::{Cause, Phase};
use super::{Rules, State};

/// Where an endpoint stands at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Takes this share of what it would take by its weight.
    In(Share),
    /// Takes exactly one request: that of the worker whose [`State::probe`] is stored first.
    DueForProbe,
    /// Takes none.
    Out {
        /// What keeps it out.
        why: Why,
        /// When that may be over, for `Retry-After`; `None` if only a check can tell.
        until: Option<Instant>,
    },
}

/// What keeps an endpoint out. Where there are several reasons, the one that is harder to undo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Active checks failed.
    Unhealthy,
    /// The breaker tripped.
    Tripped,
    /// The probe after a trip is under way.
    Probing,
    /// It refused a request while it carried no other.
    Resting,
}

impl State {
    /// Where the endpoint stands at `now`.
    pub fn standing(&self, rules: &Rules, now: Instant) -> Standing {
        let out = |why, until| Standing::Out { why, until };
        let rests_until = self.overload.rests_until;
        let rests = (rests_until > now).then_some(rests_until);
        if rules.checks && !self.checks.is_available() {
            return out(Why::Unhealthy, None);
        }
        let phase = match rules.breaks {
            true => self.breaker.phase,
            false => Phase::Admitting,
        };
        match (phase, rests) {
            (Phase::Tripped { until }, _) if until > now => {
                out(Why::Tripped, Some(until.max(rests_until)))
            }
            (Phase::Probing { until }, _) if until > now => {
                out(Why::Probing, Some(until.max(rests_until)))
            }
            (_, Some(until)) => out(Why::Resting, Some(until)),
            (Phase::Tripped { .. } | Phase::Probing { .. }, None) => Standing::DueForProbe,
            (Phase::Admitting, None) => Standing::In(Share::WHOLE),
            (Phase::Ramping { .. }, None) => Standing::In(self.breaker.share(rules, now)),
        }
    }

    /// Whether the breaker keeps the endpoint out, and since when; not where checks do.
    pub fn tripped_since(&self, rules: &Rules) -> Option<Instant> {
        let out = rules.breaks && !self.breaker.listens();
        let available = !rules.checks || self.checks.is_available();
        (out && available).then_some(self.breaker.since)
    }

    /// Why the breaker tripped last.
    pub fn cause(&self) -> Cause {
        self.breaker.cause
    }

    /// The status of the last check that failed; 0 where none came.
    pub fn check_status(&self) -> u16 {
        self.checks.status
    }

    /// Whether more requests are in flight than were ever reached under the endpoint's bound.
    pub fn is_news(&self, in_flight: u32) -> bool {
        in_flight > self.overload.reached
    }

    /// Whether [`State::bound`] may be some.
    pub fn may_be_bounded(&self) -> bool {
        self.overload.bound > 0
    }

    /// The requests in flight that the endpoint is trusted with, its successes being counted at
    /// `answered`; `None` without a bound.
    pub fn bound(&self, now: Instant, answered: u64) -> Option<Bound> {
        self.overload.bound(now, answered).map(|(bound, _)| bound)
    }
}

impl Standing {
    /// The value of a metric: 0 admitting, 1 ramping, 2 probing, 3 tripped (and due for a probe), 4 resting, 5
    /// unhealthy. The worse the larger, so that a maximum over endpoints means something.
    pub fn code(self) -> u8 {
        match self {
            Standing::In(Share::WHOLE) => 0,
            Standing::In(_) => 1,
            Standing::DueForProbe => 3,
            Standing::Out { why, .. } => match why {
                Why::Probing => 2,
                Why::Tripped => 3,
                Why::Resting => 4,
                Why::Unhealthy => 5,
            },
        }
    }
}

/// What a ramp begins with: with less, a quiet endpoint would hardly be tried at all.
pub const LEAST_SHARE: Share = Share::new(100);

/// The share `elapsed` into a ramp: elapsed/ramp, and not below the least.
pub(super) fn ramped(elapsed: Duration, ramp: Duration) -> Share {
    if elapsed >= ramp {
        return Share::WHOLE;
    }
    let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    let thousandths = nanos(elapsed)
        .checked_div(nanos(ramp) / 1000)
        .unwrap_or(1000);
    // Not quite the whole before the end, or the ramp would seem over.
    Share::new(thousandths.min(999) as u16).max(LEAST_SHARE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::rng::Rng;

    #[test]
    fn a_ramp_rises_from_a_tenth_to_the_whole() {
        let ramp = Duration::from_secs(60);
        let share = |millis| ramped(Duration::from_millis(millis), ramp).thousandths();
        assert_eq!(
            [0, 6_000, 6_060, 30_000, 59_999, 60_000, u64::MAX].map(share),
            [100, 100, 101, 500, 999, 1000, 1000]
        );
        assert_eq!(ramped(Duration::ZERO, Duration::ZERO), Share::WHOLE);
        let nanos = Duration::from_nanos;
        assert_eq!(ramped(nanos(1), nanos(2)).thousandths(), 999);
        assert_eq!(ramped(nanos(5), Duration::MAX), LEAST_SHARE);
    }

    #[test]
    fn of_ten_thousand_requests_the_share_is_let_through_within_two_points() {
        let mut rng = Rng::new(3);
        for second in 0..=60 {
            let share = ramped(Duration::from_secs(second), Duration::from_secs(60));
            let admitted = (0..10_000)
                .filter(|_| Share::draw(&mut rng) < share.thousandths())
                .count();
            let formula = (second as f64 / 60.0).max(0.1);
            let off = (admitted as f64 / 10_000.0 - formula).abs();
            assert!(off < 0.02, "{admitted} of 10,000 at {second} s");
        }
    }
}
