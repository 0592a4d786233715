//! Attempts that were retried elsewhere, where nobody tells why.
//!
//! A proxy that retries tells how often, and not upon what. Where it retries refusals as well
//! (503, 529, 429), an attempt that it hid may have been one, or a failure. To take all for
//! failures would trip what has too much to do; to take all for refusals would never trip what is
//! broken. So now and then a request is placed as a question: it is retried upon failures only, and
//! its answer shows what the endpoint does. What was shown explains the next attempts that are
//! hidden. A question that is refused is refused to its caller, so there are few: one when a row of
//! hidden attempts could be one of failures, or when many have not been explained, and one a second
//! at most.

use std::time::Duration;

use crate::values::clock::Instant;

/// What an attempt that was retried may have been, beside a failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::flow) struct Hides {
    /// 503 or 529.
    pub overload: bool,
    /// 429.
    pub limits: bool,
}

impl Hides {
    pub fn any(self) -> bool {
        self.overload || self.limits
    }
}

/// What one worker knows of the hidden attempts at one endpoint.
#[derive(Debug, Default)]
pub(super) struct Doubt {
    /// What the endpoint was seen to do last, and when.
    shown: Option<(Shown, Instant)>,
    /// Hidden attempts since then, and when the last of them was judged.
    unexplained: u32,
    latest: Option<Instant>,
    /// When a question was placed last.
    asked: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    Failure,
    Refusal,
}

/// So many hidden attempts may stay unexplained.
const MANY: u32 = 16;
/// So long what was shown explains hidden attempts, and a hidden attempt casts doubt.
const EXPLAINS: Duration = Duration::from_secs(60);
/// The least time between two questions.
const BETWEEN: Duration = Duration::from_secs(1);

impl Doubt {
    /// Whether the next request at the endpoint is a question; `in_row` tells whether a failure
    /// would be the one that trips.
    pub fn asks(&mut self, in_row: bool, now: Instant) -> bool {
        let wanted = in_row || self.unexplained >= MANY;
        let asks = wanted && self.asked.is_none_or(|asked| now.since(asked) >= BETWEEN);
        if asks {
            self.asked = Some(now);
        }
        asks
    }

    /// The endpoint has failed a request, and it was no refusal.
    pub fn fails(&mut self, now: Instant) {
        self.show(Shown::Failure, now);
    }

    /// The endpoint has refused a request.
    pub fn refuses(&mut self, now: Instant) {
        self.show(Shown::Refusal, now);
    }

    fn show(&mut self, shown: Shown, now: Instant) {
        self.shown = Some((shown, now));
        self.unexplained = 0;
    }

    /// Whether attempts were hidden lately.
    pub fn is_cast(&self, now: Instant) -> bool {
        self.latest
            .is_some_and(|latest| now.since(latest) < EXPLAINS)
    }

    /// An attempt was hidden; whether it is to be taken for a failure.
    pub fn hidden(&mut self, now: Instant) -> bool {
        if !self.is_cast(now) {
            self.unexplained = 0;
        }
        self.latest = Some(now);
        self.unexplained = self.unexplained.saturating_add(1);
        self.shown
            .is_some_and(|(shown, at)| shown == Shown::Failure && now.since(at) < EXPLAINS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn hidden_attempts_are_what_was_shown_last_for_a_minute() {
        let mut doubt = Doubt::default();
        assert!(!doubt.hidden(at(1)), "nothing was shown");
        doubt.fails(at(2));
        assert!(doubt.hidden(at(3)) && doubt.hidden(at(61)) && !doubt.hidden(at(62)));
        doubt.fails(at(63));
        doubt.refuses(at(64));
        assert!(!doubt.hidden(at(65)));
    }

    #[test]
    fn questions_are_asked_before_a_row_trips_or_when_many_are_unexplained() {
        let mut doubt = Doubt::default();
        assert!(!doubt.asks(false, at(1)) && doubt.asks(true, at(1)));
        assert!(!doubt.asks(true, at(1)), "one a second");
        assert!(doubt.asks(true, at(2)));
        for _ in 0..MANY {
            assert!(!doubt.asks(false, at(9)));
            doubt.hidden(at(9));
        }
        assert!(doubt.asks(false, at(9)));
        doubt.refuses(at(10));
        assert!(!doubt.asks(false, at(11)));
    }

    #[test]
    fn hidden_attempts_are_forgotten_after_a_minute_without_any() {
        let mut doubt = Doubt::default();
        assert!(!doubt.is_cast(at(1)));
        for second in 0..MANY - 1 {
            doubt.hidden(at(second.into()));
        }
        assert!(doubt.is_cast(at(60)) && !doubt.is_cast(at(75)));
        doubt.hidden(at(75));
        assert!(!doubt.asks(false, at(75)));
    }
}
