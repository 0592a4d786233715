//! Hidden attempts: the proxy retried them on another endpoint, and does not say why.
//!
//! Where the proxy retries refusals (503, 529, 429), a hidden attempt may have been a refusal or a
//! failure. To take all for
//! failures would trip what has too much to do. To take all for refusals would bound an endpoint
//! that fails now and then, and never trip a broken one. So after a hidden attempt a request is
//! placed as a question: it is retried upon failures only, and its answer shows what the endpoint
//! does. What was shown explains the hidden attempts of the next minute. A question that is refused
//! is refused to its caller, so there are few: one a second at most, and after an answer only when
//! many have been hidden, or when a row of them could be one of failures.

use std::time::Duration;

use crate::values::clock::Instant;

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

/// What an endpoint was seen to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    Failure,
    Refusal,
}

/// After so many hidden attempts another question is asked.
const MANY: u32 = 16;
/// So long what was shown explains hidden attempts, and a hidden attempt casts doubt.
const EXPLAINS: Duration = Duration::from_secs(60);
/// The least time between two questions.
const BETWEEN: Duration = Duration::from_secs(1);

impl Doubt {
    /// Whether the next request at the endpoint is a question; `in_row` tells whether a failure
    /// would be the one that trips.
    pub fn asks(&mut self, in_row: bool, now: Instant) -> bool {
        let unknown = self.is_cast(now) && self.explanation(now).is_none();
        let wanted = in_row || unknown || self.unexplained >= MANY;
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

    /// An attempt was hidden; what it was, as far as that is known.
    pub fn hidden(&mut self, now: Instant) -> Option<Shown> {
        if !self.is_cast(now) {
            self.unexplained = 0;
        }
        self.latest = Some(now);
        self.unexplained = self.unexplained.saturating_add(1);
        self.explanation(now)
    }

    fn explanation(&self, now: Instant) -> Option<Shown> {
        let (shown, at) = self.shown?;
        (now.since(at) < EXPLAINS).then_some(shown)
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
        assert_eq!(doubt.hidden(at(1)), None, "nothing was shown");
        doubt.fails(at(2));
        for second in [3, 61] {
            assert_eq!(doubt.hidden(at(second)), Some(Shown::Failure));
        }
        assert_eq!(doubt.hidden(at(62)), None);
        doubt.refuses(at(64));
        assert_eq!(doubt.hidden(at(65)), Some(Shown::Refusal));
    }

    #[test]
    fn a_question_is_asked_after_the_first_hidden_attempt_and_once_a_second() {
        let mut doubt = Doubt::default();
        assert!(!doubt.asks(false, at(1)));
        doubt.hidden(at(1));
        assert!(doubt.asks(false, at(1)) && !doubt.asks(false, at(1)));
        assert!(doubt.asks(false, at(2)), "it was not answered");
        doubt.refuses(at(2));
        assert!(!doubt.asks(false, at(3)) && doubt.asks(true, at(3)));
        for _ in 0..MANY {
            assert!(!doubt.asks(false, at(9)));
            doubt.hidden(at(9));
        }
        assert!(doubt.asks(false, at(9)));
    }

    #[test]
    fn a_hidden_attempt_is_forgotten_after_a_minute() {
        let mut doubt = Doubt::default();
        assert!(!doubt.is_cast(at(1)));
        doubt.hidden(at(10));
        assert!(doubt.is_cast(at(69)) && !doubt.is_cast(at(70)));
        assert!(!doubt.asks(false, at(70)));
    }
}
