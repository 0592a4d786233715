//! Callers whose requests failed with no other endpoint asked, as one worker remembers them.
//!
//! With `attempts: 1` nothing shows whether another endpoint would have served a request. The
//! caller's next requests do: if they fail at a second endpoint as well, the caller's requests fail
//! everywhere, and tell of no endpoint. A request of the caller's that an endpoint serves clears
//! that endpoint.

use std::time::Duration;

use crate::health::Caller;
use crate::values::clock::Instant;

/// Who failed where, and when.
#[derive(Debug, Default)]
pub(super) struct Suspects(Vec<(Caller, usize, Instant)>);

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

    /// A request of `caller` failed at `endpoint`; whether it has failed at another endpoint, too.
    pub fn failed(&mut self, caller: Caller, endpoint: usize, now: Instant) -> bool {
        self.forget(now);
        let elsewhere = self
            .0
            .iter()
            .any(|(known, at, _)| *known == caller && *at != endpoint);
        self.0
            .retain(|(known, at, _)| (*known, *at) != (caller, endpoint));
        if self.0.len() >= MOST {
            self.0.remove(0);
        }
        self.0.push((caller, endpoint, now));
        elsewhere
    }

    fn forget(&mut self, now: Instant) {
        self.0.retain(|(_, _, at)| now.since(*at) < REMEMBERED);
    }

    /// A request of `caller` was served by `endpoint`.
    pub fn served(&mut self, caller: Caller, endpoint: usize) {
        self.0
            .retain(|(known, at, _)| (*known, *at) != (caller, endpoint));
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
            assert!(!suspects.failed(A, 0, at(second)));
        }
        assert!(!suspects.failed(B, 1, at(10)), "another caller");
        assert!(suspects.failed(A, 1, at(11)));
        assert!(suspects.failed(A, 0, at(12)));
        suspects.served(A, 1);
        assert!(!suspects.failed(A, 0, at(13)));
        assert!(suspects.failed(A, 1, at(14)));
        assert!(!suspects.failed(A, 1, at(80)), "a minute later");
    }

    #[test]
    fn no_number_of_callers_makes_it_grow() {
        let mut suspects = Suspects::default();
        for caller in 0..1_000 {
            suspects.failed(Caller(caller), 0, at(1));
        }
        assert_eq!(suspects.0.len(), MOST);
    }
}
