//! What a failed request tells of its endpoint, and who has failed there.
//!
//! A request may fail for reasons of its own: a prompt that crashes every server, an embedding sent
//! to a chat server. If each such answer counted against the endpoint that gave it, one caller
//! could trip a whole pool. So a failure carries its [`Proof`], and its caller:
//!
//! - *Unreached*: no connection, or a reset before the answer. The endpoint has not seen the request,
//!   so it counts for any caller.
//! - *Served elsewhere*: another endpoint served the same request. It counts as unopposed where only
//!   this caller's requests fail, and others' are served.
//! - *Unexplained*: another endpoint served the same request, but this one may have refused it (503,
//!   529, 429). It lengthens a row, which a failure that is explained may complete.
//! - *Unopposed*: the endpoint answered with an error or too late, and no other endpoint was asked.
//!   It counts if the endpoint serves no other caller, else as far as other callers' failures make
//!   [`Pairs`] with it.
//! - *Alike*: all endpoints that were tried failed the request. It counts in a long row only, of
//!   several callers or of the only one.
//!
//! The idea is that of outlier detection (Envoy's success rate ejection): an endpoint is bad only
//! beside others, and for several callers.

use std::time::Duration;

use crate::values::clock::Instant;
use crate::values::murmur3::murmur3_32;

/// A caller: the hash of a tenant's name or of a client's address. Two callers share one in four
/// billion pairs; then a failure of the second counts as one more of the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Caller(pub u32);

impl Caller {
    /// The caller that `name` names.
    pub fn of(name: &[u8]) -> Caller {
        Caller(murmur3_32(name, 0))
    }
}

/// How much a failure proves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// Nothing of the request was looked at.
    Unreached,
    /// Another endpoint served the same request.
    ServedElsewhere,
    /// Another endpoint served the same request, which this one may have refused.
    Unexplained,
    /// No other endpoint was asked.
    Unopposed,
    /// All endpoints that were tried failed it.
    Alike,
}

/// A failed request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// When the request was placed.
    pub placed: Instant,
    /// Who sent it.
    pub caller: Caller,
    /// How much it proves.
    pub proof: Proof,
    /// The status that the endpoint answered; 0 where it gave none.
    pub status: u16,
}

/// The two callers that were met last, and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Callers {
    pub(super) latest: Option<(Caller, Instant)>,
    pub(super) other: Option<(Caller, Instant)>,
}

impl Callers {
    /// `caller` was met at `now`.
    pub fn meet(&mut self, caller: Caller, now: Instant) {
        if self.latest.is_some_and(|(latest, _)| latest != caller) {
            self.other = self.latest;
        }
        self.latest = Some((caller, now));
    }

    /// Whether another caller than `caller` was met within `window` before `now`.
    pub fn others(&self, caller: Caller, window: Duration, now: Instant) -> bool {
        let met = [self.latest, self.other].into_iter().flatten();
        met.filter(|(_, at)| now.since(*at) <= window)
            .any(|(met, _)| met != caller)
    }

    /// Whether meeting `caller` at `now` would tell something new. Two that were met just now are
    /// not displaced: two are all that it takes.
    pub fn wants(&self, caller: Caller, now: Instant) -> bool {
        let is_fresh =
            |met: Option<(Caller, Instant)>| met.is_some_and(|(_, at)| now.since(at) < FRESH);
        let known = |met: Option<(Caller, Instant)>| met.is_some_and(|(met, _)| met == caller);
        match known(self.latest) {
            true => !is_fresh(self.latest),
            false => !is_fresh(self.other),
        }
    }
}

/// So long a caller that was met need not be met again.
const FRESH: Duration = Duration::from_secs(5);

/// Failures, paired off: each with one of another caller. What is left over is all one
/// caller's, and counts as far as there are pairs: however many requests of one caller fail, three
/// are counted for one of the others' together. This is the majority vote of Boyer and Moore
/// (1981), whose counts can be added up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pairs {
    /// All of them.
    pub failures: u32,
    /// Those that are left over.
    pub unpaired: u32,
    /// Whose those are.
    pub caller: Caller,
}

impl Pairs {
    /// One failure of `caller`.
    pub fn one(caller: Caller) -> Pairs {
        Pairs {
            failures: 1,
            unpaired: 1,
            caller,
        }
    }

    /// These and `others`.
    pub fn and(self, others: Pairs) -> Pairs {
        let (more, less) = match self.unpaired < others.unpaired {
            true => (others, self),
            false => (self, others),
        };
        let unpaired = match more.caller == less.caller {
            true => more.unpaired.saturating_add(less.unpaired),
            false => more.unpaired.saturating_sub(less.unpaired),
        };
        Pairs {
            failures: self.failures.saturating_add(others.failures),
            unpaired,
            caller: more.caller,
        }
    }

    /// Those that count where the endpoint serves other callers.
    pub fn counted(self) -> u32 {
        let paired = self.failures.saturating_sub(self.unpaired);
        paired.saturating_add(self.unpaired.min(paired))
    }
}

/// Failures without a success between them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Row {
    /// All of them, by caller.
    pub pairs: Pairs,
    /// Of these, the unreached ones.
    pub unreached: u32,
    /// Of these, the unopposed ones.
    pub unopposed: u32,
    /// Of these, the unexplained ones.
    pub unexplained: u32,
    /// Of these, those that failed alike elsewhere.
    pub alike: u32,
}

impl Row {
    /// How many failures it has.
    pub fn length(&self) -> u32 {
        self.pairs.failures
    }

    /// One more failure.
    pub fn add(&mut self, failure: &Failure) {
        self.pairs = self.pairs.and(Pairs::one(failure.caller));
        match failure.proof {
            Proof::Unreached => self.unreached = self.unreached.saturating_add(1),
            Proof::Unopposed => self.unopposed = self.unopposed.saturating_add(1),
            Proof::Unexplained => self.unexplained = self.unexplained.saturating_add(1),
            Proof::Alike => self.alike = self.alike.saturating_add(1),
            Proof::ServedElsewhere => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    #[test]
    fn the_last_two_callers_are_remembered_for_the_window() {
        let (a, b, c) = (Caller(1), Caller(2), Caller(3));
        let window = Duration::from_secs(300);
        let mut callers = Callers::default();
        assert!(!callers.others(a, window, at(0)));
        callers.meet(a, at(0));
        callers.meet(a, at(1));
        assert!(!callers.others(a, window, at(1)) && callers.others(b, window, at(1)));
        callers.meet(b, at(2));
        assert!(callers.others(a, window, at(2)) && callers.others(b, window, at(2)));
        callers.meet(b, at(400));
        assert!(!callers.others(b, window, at(400)), "a is forgotten");
        callers.meet(c, at(401));
        assert!(callers.others(b, window, at(401)) && callers.others(c, window, at(401)));
    }

    #[test]
    fn a_caller_is_wanted_until_two_were_met_just_now() {
        let (a, b, c) = (Caller(1), Caller(2), Caller(3));
        let mut callers = Callers::default();
        assert!(callers.wants(a, at(1)));
        callers.meet(a, at(1));
        assert!(!callers.wants(a, at(5)) && callers.wants(b, at(5)));
        callers.meet(b, at(5));
        assert!(!callers.wants(c, at(5)) && callers.wants(c, at(6)));
        assert!(callers.wants(a, at(6)) && !callers.wants(b, at(6)));
        assert!(callers.wants(b, at(10)));
    }

    fn pairs(callers: &str) -> Pairs {
        let each = callers.bytes().map(|name| Pairs::one(Caller(name.into())));
        each.fold(Pairs::default(), Pairs::and)
    }

    #[test]
    fn failures_are_paired_with_those_of_other_callers() {
        for (callers, counted) in [
            ("", 0),
            ("aaaa", 0),
            ("aaab", 4),
            ("aaaab", 4),
            ("baaaaaaa", 4),
            ("aabb", 4),
            ("ababa", 5),
            ("aaaabbbb", 8),
            ("abc", 3),
        ] {
            assert_eq!(pairs(callers).counted(), counted, "{callers}");
        }
        for (first, second, counted) in [("aaa", "aa", 0), ("aaaab", "aaaa", 4), ("aa", "bbcc", 6)]
        {
            let all = pairs(first).and(pairs(second));
            assert_eq!(all.failures, (first.len() + second.len()) as u32);
            assert_eq!(all.counted(), counted, "{first} and {second}");
        }
    }
}
