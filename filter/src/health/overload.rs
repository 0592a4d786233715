//! Overload: how much an endpoint is trusted with after it has refused.
//!
//! 503 and 529, and a 429 that two callers get, say that an endpoint has too much to do. (Where the
//! endpoint serves other callers, a single caller's 503 is taken for a 429.) That is no
//! failure: to leave it out would move its load to the next one, and so on through the pool.
//! Instead the requests in flight at the endpoint are bounded.
//!
//! # The control law
//!
//! Additive increase, multiplicative decrease (Chiu and Jain, 1989) has to guess where it stands.
//! A refusal tells it: the refused request was the n-th in flight, so the endpoint carries n - 1.
//! That becomes the bound, though never less than half of the last bound at once, as in-flight
//! counts are a moment old. Gradient and Vegas (Netflix' concurrency-limits) infer the same from
//! latency, and fail here: the latency of a model server follows the length of prompts.
//!
//! A bound grows with successes only: by one, or an eighth, after [`ROUNDS`] times as many as the
//! bound. Growth is a trial that may end in a refusal, which a caller sees. So where one step of
//! growth was refused at once, the next trial waits for twice as many successes, 64 rounds at the
//! most; a trial that holds, or half a minute without a refusal, brings the pace back. So a steady
//! endpoint refuses one request of some hundred, and one that carries more again is found out
//! within half a minute and the answers of four rounds a step.
//!
//! What has grown by the last step is not proven, and requests go there only where all endpoints
//! carry as much as is proven (`balance::bounds`). A bound that nothing has met is no trial: beyond
//! the first step it grows only if as many requests were in flight. Else a pool with a little room
//! to spare would forget its bounds again and again.
//!
//! Successes are the host's counter, so growth costs no write: the bound is computed from it.
//! A bound is gone when it has grown fourfold or stood for [`FORGOTTEN`].
//!
//! Only an endpoint that refuses a request while it carries no other one rests: until its
//! `Retry-After`, within the rules' bounds. It loads its model, say, and tells nothing of what it
//! will carry. So it begins with one request, and each success doubles that, as TCP's slow start
//! does.

use std::time::Duration;

use crate::values::clock::Instant;
use crate::values::units::Bound;

use super::evidence::Caller;
use super::rules::Rules;

/// A request that an endpoint refused for its load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Requests in flight at the endpoint when it was refused, itself included.
    pub in_flight: u32,
    /// How long the endpoint asked to be left alone.
    pub retry_after: Option<Duration>,
    /// Who sent it.
    pub caller: Caller,
    /// Whether it may be about its caller alone: a 429, or a refusal by an endpoint that serves others.
    pub may_be_callers: bool,
    /// Whether a retry hid it, so that it was not seen, and may have been something else.
    pub hidden: bool,
}

/// What is agreed on about an endpoint's load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Overload {
    /// Overloaded until then, whatever it carries; the clock's origin for never.
    pub rests_until: Instant,
    /// The requests in flight that it was trusted with at the last refusal; 0 for no bound.
    pub bound: u32,
    /// When that was.
    pub since: Instant,
    /// Where the counter of successes stood then.
    pub base: u64,
    /// The most requests in flight at the bound since then.
    pub reached: u32,
    /// Rounds of successes before the bound grows for the first time; 0 after a rest.
    pub rounds: u8,
    /// The caller that was refused last, and until when another one's refusal means overload.
    pub limited: Option<(Caller, Instant)>,
}

/// Rounds of successes for a step of growth: at 16 slots 64 answers.
const ROUNDS: u8 = 4;
/// The most rounds that the first step waits for.
const MOST_ROUNDS: u8 = 64;
/// After so long without a refusal the first step waits no longer than the others.
const PATIENCE: Duration = Duration::from_secs(30);
/// A bound that has grown to so many times its beginning is gone.
const OPEN: u32 = 4;
/// A bound that was not confirmed for so long is gone.
const FORGOTTEN: Duration = Duration::from_secs(300);
/// How long a 429 without `Retry-After` waits for a second caller's.
const LIMITED: Duration = Duration::from_secs(10);

impl Overload {
    /// The requests in flight that the endpoint is trusted with, and the steps of growth since the
    /// last refusal. What has grown by the last step is not proven.
    pub fn bound(&self, now: Instant, answered: u64) -> Option<(Bound, u32)> {
        if self.bound == 0 || now.since(self.since) >= FORGOTTEN {
            return None;
        }
        // A counter that began anew tells of no successes yet.
        let mut successes = answered.saturating_sub(self.base);
        let (mut steps, mut rounds) = (0u32, self.rounds);
        let mut bound = Bound {
            proven: self.bound,
            most: self.bound,
        };
        if now.since(self.since) >= PATIENCE {
            rounds = rounds.min(ROUNDS);
        }
        loop {
            let needed = u64::from(bound.most).saturating_mul(rounds.max(1).into());
            if successes < needed {
                return Some((bound, steps));
            }
            successes = successes.saturating_sub(needed);
            let step = match rounds {
                0 => bound.most,
                _ => (bound.most >> 3).max(1),
            };
            bound = Bound {
                proven: bound.most,
                most: bound.most.saturating_add(step),
            };
            steps = steps.saturating_add(1);
            if bound.most > self.reached {
                return Some((bound, steps));
            }
            rounds = rounds.min(ROUNDS);
            if bound.most >= self.bound.saturating_mul(OPEN) {
                return None;
            }
        }
    }

    /// Takes in a refusal; whether it means overload. What may be about its caller alone is only
    /// remembered until another caller is refused.
    pub fn refuse(
        &mut self,
        rules: &Rules,
        refusal: &Refusal,
        now: Instant,
        answered: u64,
    ) -> bool {
        if refusal.may_be_callers && !self.is_shared(rules, refusal, now) {
            return false;
        }
        let carried = refusal.in_flight.saturating_sub(1);
        if carried == 0 {
            self.rest(rules, now, refusal.retry_after);
        }
        let (bound, rounds) = match self.bound(now, answered) {
            _ if carried == 0 => (carried, 0),
            None => (carried, ROUNDS),
            Some((last, 1)) if carried >= self.bound => (
                carried.min(last.most.saturating_sub(1)),
                self.rounds.saturating_mul(2).clamp(ROUNDS, MOST_ROUNDS),
            ),
            // Refused at a load that it was trusted with before: it carries less than it did.
            Some((last, _)) => (carried.min(last.most).max(last.most >> 1), ROUNDS),
        };
        self.bound = bound.max(1);
        self.rounds = rounds;
        self.since = now;
        self.base = answered;
        self.reached = 0;
        true
    }

    /// So many requests are in flight, as many as the bound allows; whether that is new.
    pub fn reach(&mut self, in_flight: u32) -> bool {
        let more = self.bound > 0 && in_flight > self.reached;
        if more {
            self.reached = in_flight;
        }
        more
    }

    /// Whether a refusal is not its caller's alone: another one has got one, too.
    fn is_shared(&mut self, rules: &Rules, refusal: &Refusal, now: Instant) -> bool {
        let caller = refusal.caller;
        let others = self
            .limited
            .is_some_and(|(limited, until)| limited != caller && now < until);
        let remembered = refusal.retry_after.unwrap_or(LIMITED);
        let remembered = remembered.clamp(LIMITED, rules.longest_rest.max(LIMITED));
        self.limited = Some((caller, now.after(remembered)));
        others
    }

    /// Rests for `retry_after`, or for the default without one, never shorter than it was going to.
    pub fn rest(&mut self, rules: &Rules, now: Instant, retry_after: Option<Duration>) {
        let asked = retry_after.filter(|asked| !asked.is_zero());
        let until = now.after(asked.unwrap_or(rules.rest).min(rules.longest_rest));
        self.rests_until = until.max(self.rests_until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    fn refused(in_flight: u32) -> Refusal {
        Refusal {
            in_flight,
            retry_after: None,
            caller: Caller(1),
            may_be_callers: false,
            hidden: false,
        }
    }

    fn grown(proven: u32, most: u32, steps: u32) -> Option<(Bound, u32)> {
        Some((Bound { proven, most }, steps))
    }

    /// The bound where every level has been reached.
    fn bound(overload: &Overload, answered: u64) -> Option<u32> {
        let mut reached = *overload;
        reached.reach(u32::MAX);
        reached.bound(at(10), answered).map(|(bound, _)| bound.most)
    }

    #[test]
    fn a_bound_that_nothing_meets_grows_by_one_step() {
        let mut overload = Overload::default();
        assert!(!overload.reach(9), "there is no bound");
        overload.refuse(&Rules::default(), &refused(5), at(10), 0);
        assert!(overload.reach(4) && !overload.reach(4));
        assert_eq!(overload.bound(at(10), 1_000), grown(4, 5, 1));
        assert!(overload.reach(5));
        assert_eq!(overload.bound(at(10), 1_000), grown(5, 6, 2));
        overload.refuse(&Rules::default(), &refused(7), at(10), 1_000);
        assert_eq!(overload.bound(at(10), 2_000), grown(6, 7, 1));
    }

    #[test]
    fn the_bound_is_what_was_carried_beside_the_refused_request() {
        let mut overload = Overload::default();
        assert_eq!(bound(&overload, 0), None);
        // A burst of fifteen on four slots: eleven refusals come back one after the other.
        for in_flight in (5..=15).rev() {
            overload.refuse(&Rules::default(), &refused(in_flight), at(10), 0);
        }
        assert_eq!(bound(&overload, 0), Some(4));
        assert_eq!(overload.rests_until, Instant::default(), "it serves four");
    }

    #[test]
    fn a_bound_grows_with_successes_and_a_refused_trial_waits_twice_as_long() {
        let mut overload = Overload::default();
        overload.refuse(&Rules::default(), &refused(5), at(10), 100);
        assert_eq!(bound(&overload, 115), Some(4));
        assert_eq!(bound(&overload, 116), Some(5), "4 rounds of 4");
        overload.refuse(&Rules::default(), &refused(5), at(10), 120);
        assert_eq!(bound(&overload, 120 + 31), Some(4));
        assert_eq!(bound(&overload, 120 + 32), Some(5), "8 rounds of 4");
        assert_eq!(
            bound(&overload, 120 + 32 + 20),
            Some(6),
            "the next one soon"
        );
        assert!(overload.reach(7));
        overload.refuse(&Rules::default(), &refused(7), at(10), 180);
        assert_eq!(bound(&overload, 180 + 24), Some(7), "4 rounds again");
    }

    #[test]
    fn a_bound_that_has_grown_fourfold_or_is_old_is_gone() {
        let mut overload = Overload::default();
        overload.refuse(&Rules::default(), &refused(3), at(10), 0);
        assert_eq!(bound(&overload, 1_000), None);
        assert_eq!(overload.bound(at(309), 0), grown(2, 2, 0));
        assert_eq!(overload.bound(at(310), 0), None);
    }

    #[test]
    fn large_bounds_grow_by_an_eighth_and_fall_by_half_at_most() {
        let mut overload = Overload::default();
        overload.refuse(&Rules::default(), &refused(257), at(10), 0);
        assert_eq!(bound(&overload, 1024), Some(288));
        overload.refuse(&Rules::default(), &refused(3), at(10), 2);
        assert_eq!(bound(&overload, 2), Some(128));
    }

    #[test]
    fn after_a_rest_each_success_doubles_the_bound() {
        let mut overload = Overload::default();
        overload.refuse(&Rules::default(), &refused(1), at(10), 0);
        assert_eq!(bound(&overload, 0), Some(1));
        assert_eq!(bound(&overload, 1), Some(2));
        assert_eq!(bound(&overload, 2), Some(2));
        assert_eq!(bound(&overload, 3), None);
        overload.refuse(&Rules::default(), &refused(2), at(10), 1);
        assert_eq!(bound(&overload, 4), Some(1));
        assert_eq!(bound(&overload, 5), Some(2), "4 rounds of 1");
    }

    #[test]
    fn only_one_that_carries_nothing_else_rests() {
        let mut overload = Overload::default();
        let rules = Rules::default();
        let asks = Refusal {
            retry_after: Some(Duration::from_secs(7)),
            ..refused(2)
        };
        overload.refuse(&rules, &asks, at(10), 0);
        assert_eq!(overload.rests_until, Instant::default());
        overload.refuse(
            &rules,
            &Refusal {
                in_flight: 1,
                ..asks
            },
            at(10),
            0,
        );
        assert_eq!(overload.rests_until, at(17));
        let forever = Refusal {
            retry_after: Some(Duration::MAX),
            ..refused(1)
        };
        overload.refuse(&rules, &forever, at(20), 0);
        assert_eq!(overload.rests_until, at(80));
    }

    #[test]
    fn a_429_means_overload_once_a_second_caller_has_it() {
        let mut overload = Overload::default();
        let limited = |caller| Refusal {
            caller: Caller(caller),
            may_be_callers: true,
            ..refused(9)
        };
        for second in 10..20 {
            overload.refuse(&Rules::default(), &limited(1), at(second), 0);
        }
        assert_eq!(bound(&overload, 0), None, "one caller's alone");
        overload.refuse(&Rules::default(), &limited(2), at(40), 0);
        assert_eq!(overload.bound, 0, "the first one's is forgotten");
        overload.refuse(&Rules::default(), &limited(1), at(41), 0);
        assert_eq!(overload.bound, 8);
    }
}
