//! What health means for balancing: in with a share, due for a probe, or out and why.

use std::time::Duration;

use crate::values::clock::Instant;
use crate::values::rng::Rng;

use super::breaker::Phase;
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
    /// It said that it is overloaded.
    Resting,
}

/// A part of an endpoint's traffic, in thousandths: 100 to 1000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u16);

impl State {
    /// Where the endpoint stands at `now`.
    pub fn standing(&self, rules: &Rules, now: Instant) -> Standing {
        let out = |why, until| Standing::Out { why, until };
        let rests = (self.rests_until > now).then_some(self.rests_until);
        if !self.checks.is_available() {
            return out(Why::Unhealthy, None);
        }
        match (self.breaker.phase, rests) {
            (Phase::Tripped { until }, _) if until > now => {
                out(Why::Tripped, Some(until.max(self.rests_until)))
            }
            (Phase::Probing { until }, _) if until > now => {
                out(Why::Probing, Some(until.max(self.rests_until)))
            }
            (_, Some(until)) => out(Why::Resting, Some(until)),
            (Phase::Tripped { .. } | Phase::Probing { .. }, None) => Standing::DueForProbe,
            (Phase::Admitting | Phase::Ramping { .. }, None) => {
                Standing::In(self.breaker.share(rules, now))
            }
        }
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

impl Share {
    /// All of it.
    pub const WHOLE: Share = Share(1000);
    /// What a ramp begins with: with less, a quiet endpoint would hardly be tried at all.
    pub const LEAST: Share = Share(100);

    /// The share `elapsed` into a ramp: elapsed/ramp, and not below the least.
    pub(super) fn ramped(elapsed: Duration, ramp: Duration) -> Share {
        if elapsed >= ramp {
            return Share::WHOLE;
        }
        let nanos = |duration: Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        let thousandths = nanos(elapsed)
            .checked_div(nanos(ramp) / 1000)
            .unwrap_or(1000);
        let whole = u64::from(Share::WHOLE.0);
        // Not quite the whole before the end, or the ramp would seem over.
        let thousandths = thousandths.min(whole.saturating_sub(1));
        u16::try_from(thousandths).map_or(Share::WHOLE, |part| Share(part).max(Share::LEAST))
    }

    /// Thousandths of the whole: 100 to 1000.
    pub fn thousandths(self) -> u16 {
        self.0
    }

    /// The share as a factor: 0.1 to 1.0.
    pub fn factor(self) -> f32 {
        f32::from(self.0) / 1000.0
    }

    /// Draws whether one request is among those let through.
    pub fn admits(self, rng: &mut Rng) -> bool {
        self >= Share::WHOLE || rng.below(1000) < usize::from(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ramp_rises_from_a_tenth_to_the_whole() {
        let ramp = Duration::from_secs(60);
        let share = |millis| Share::ramped(Duration::from_millis(millis), ramp).thousandths();
        assert_eq!(
            [0, 6_000, 6_060, 30_000, 59_999, 60_000, u64::MAX].map(share),
            [100, 100, 101, 500, 999, 1000, 1000]
        );
        assert_eq!(Share::ramped(Duration::ZERO, Duration::ZERO), Share::WHOLE);
        let nanos = Duration::from_nanos;
        assert_eq!(Share::ramped(nanos(1), nanos(2)).thousandths(), 999);
        assert_eq!(Share::ramped(nanos(5), Duration::MAX), Share::LEAST);
    }

    #[test]
    fn of_ten_thousand_requests_the_share_is_let_through_within_two_points() {
        let mut rng = Rng::new(3);
        for second in 0..=60 {
            let share = Share::ramped(Duration::from_secs(second), Duration::from_secs(60));
            let admitted = (0..10_000).filter(|_| share.admits(&mut rng)).count();
            let formula = (second as f64 / 60.0).max(0.1);
            let off = (admitted as f64 / 10_000.0 - formula).abs();
            assert!(off < 0.02, "{admitted} of 10,000 at {second} s");
        }
    }
}
