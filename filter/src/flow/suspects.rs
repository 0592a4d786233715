//! Callers whose requests failed with no other endpoint asked, as one worker remembers them.
//!
//! With `attempts: 1` nothing shows whether another endpoint would have served a request. The
//! caller's next requests do: if they fail at a second endpoint as well, the caller's requests fail
//! everywhere, and tell of no endpoint. A request of the caller's that an endpoint serves clears
//! that endpoint. An endpoint that serves no caller any more is not excused so: where two of
//! three are dead, each caller fails at two of them.

use std::time::Duration;

use crate::health::Caller;
use crate::values::clock::Instant;

/// Who failed where, and when.
#[derive(Debug, Default)]
pub(super) struct Suspects(Vec<Suspect>);

#[derive(Clone, Copy, Debug)]
struct Suspect {
    caller: Caller,
    endpoint: usize,
    at: Instant,
    /// How many requests the endpoint had served by then, of all callers.
    served: u64,
}

impl Suspect {
    fn is(&self, caller: Caller, endpoint: usize) -> bool {
        self.caller == caller && self.endpoint == endpoint
    }
}

/// As many as are remembered; the oldest gives way.
const MOST: usize = 16;
/// How long a failure at another endpoint excuses one here.
const REMEMBERED: Duration = Duration::from_secs(60);

impl Suspects {
    /// Whether there are none that are remembered still, and so nothing to clear.
    pub fn is_empty(&mut self, now: Instant) -> bool {
        if !self.0.is_empty() {
            self.forget(now);
        }
        self.0.is_empty()
    }

    /// A request of `caller` failed at `endpoint`, which has served `served` requests so far; whether
    /// that is the caller's fault: it has failed at another endpoint, too, and this one has served
    /// others since it last failed here.
    pub fn failed(&mut self, caller: Caller, endpoint: usize, served: u64, now: Instant) -> bool {
        self.forget(now);
        let mut known = self.0.iter();
        let elsewhere = known.any(|it| it.caller == caller && it.endpoint != endpoint);
        let here = self.0.iter().find(|it| it.is(caller, endpoint));
        let serves = here.is_none_or(|here| here.served != served);
        self.0.retain(|it| !it.is(caller, endpoint));
        if self.0.len() >= MOST {
            self.0.remove(0);
        }
        self.0.push(Suspect {
            caller,
            endpoint,
            at: now,
            served,
        });
        elsewhere && serves
    }

    fn forget(&mut self, now: Instant) {
        self.0.retain(|it| now.since(it.at) < REMEMBERED);
    }

    /// A request of `caller` was served by `endpoint`.
    pub fn served(&mut self, caller: Caller, endpoint: usize) {
        self.0.retain(|it| !it.is(caller, endpoint));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Caller = Caller(1);
    const B: Caller = Caller(2);

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn a_caller_that_failed_elsewhere_is_told_apart_from_one_that_fails_here_only() {
        let mut suspects = Suspects::default();
        for second in 0..10 {
            assert!(!suspects.failed(A, 0, second, at(second)));
        }
        assert!(!suspects.failed(B, 1, 0, at(10)), "another caller");
        assert!(suspects.failed(A, 1, 0, at(11)));
        assert!(suspects.failed(A, 0, 10, at(12)));
        suspects.served(A, 1);
        assert!(!suspects.failed(A, 0, 11, at(13)));
        assert!(suspects.failed(A, 1, 1, at(14)));
        assert!(!suspects.failed(A, 1, 2, at(80)), "a minute later");
    }

    #[test]
    fn a_failure_where_nothing_is_served_any_more_is_not_excused() {
        let mut suspects = Suspects::default();
        assert!(!suspects.failed(A, 0, 7, at(0)));
        assert!(
            suspects.failed(A, 1, 7, at(1)),
            "it has not been seen to serve nothing"
        );
        assert!(!suspects.failed(A, 0, 7, at(2)) && !suspects.failed(A, 1, 7, at(3)));
        assert!(suspects.failed(A, 0, 8, at(4)));
    }

    #[test]
    fn no_number_of_callers_makes_it_grow() {
        let mut suspects = Suspects::default();
        for caller in 0..1_000 {
            suspects.failed(Caller(caller), 0, 0, at(1));
        }
        assert_eq!(suspects.0.len(), MOST);
    }
}
