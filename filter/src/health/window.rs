//! The requests of the last minutes: failures counted here, successes by a counter of the host's.
//!
//! A success must not cost a write to shared data: there are thousands of them for a failure. So they
//! are counted by a plain counter that only grows, and a bucket keeps what it stood at when the bucket
//! began: the successes of a window are the counter now less the oldest bucket's base. What that
//! asks of the workers is one write a bucket, by whoever counts the first success in it
//! ([`State::roll`](super::State::roll)); a success that is counted without it is put down to the bucket before.
//!
//! Thirty buckets and no list of times: the window slides by a thirtieth of its length at once, and in
//! return it is a value of fixed size.

use std::num::NonZeroU64;
use std::time::Duration;

use crate::values::clock::Instant;

use super::evidence::{Failure, Pairs, Proof, Row};

/// Parts of a window. A failure is forgotten at most a thirtieth of the window early, and never late.
pub(super) const BUCKETS: usize = 30;
const PARTS: u64 = BUCKETS as u64;

/// Failures and successes since a while ago.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Window {
    /// A time within the newest bucket; `None` before the first is begun. A time and not a
    /// bucket's number, so that a window of another length after a new configuration goes on.
    pub newest: Option<Instant>,
    /// The newest first. Those from before the window was begun are empty.
    pub buckets: [Bucket; BUCKETS],
    /// Failures since the counter of successes last moved.
    pub row: Row,
    /// Where the counter stood at the last failure.
    pub answered_at_failure: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bucket {
    /// Those that are proven.
    pub failures: u32,
    /// Those that are unopposed.
    pub unopposed: Pairs,
    /// Those that failed alike elsewhere.
    pub alike: u32,
    /// Where the counter of successes stood when the bucket began.
    pub base: u64,
}

/// What a window adds up to at a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tally {
    /// Those that are proven.
    pub failures: u64,
    /// Those that are unopposed.
    pub unopposed: Pairs,
    /// Those that failed alike elsewhere.
    pub alike: u64,
    pub successes: u64,
    /// Failures in a row, this one included.
    pub row: Row,
}

impl Window {
    /// An empty window that begins at `now`.
    pub fn begun(now: Instant, answered: u64) -> Window {
        let empty = Bucket::begun(answered);
        Window {
            newest: Some(now),
            buckets: [empty; BUCKETS],
            row: Row::default(),
            answered_at_failure: answered,
        }
    }

    /// Whether the bucket of `now` has not begun.
    pub fn needs_roll(&self, length: Duration, now: Instant) -> bool {
        self.newest
            .is_none_or(|newest| buckets_between(newest, now, length) > 0)
    }

    /// Begins the bucket of `now`, unless it or a later one has begun; whether anything changed.
    ///
    /// A counter below the newest bucket's base has begun anew, and everything does with it: failures
    /// without the successes that they were among would look like an outage.
    pub fn roll(&mut self, length: Duration, now: Instant, answered: u64) -> bool {
        let base = self.buckets.first().map_or(0, |newest| newest.base);
        let Some(newest) = self.newest.filter(|_| answered >= base) else {
            *self = Window::begun(now, answered);
            return true;
        };
        let begun = buckets_between(newest, now, length);
        if begun == 0 {
            return false;
        }
        let begun = usize::try_from(begun).map_or(BUCKETS, |begun| begun.min(BUCKETS));
        self.buckets.rotate_right(begun);
        // Buckets that nobody began were without traffic, or it was put down to the one before them.
        for bucket in self.buckets.iter_mut().take(begun) {
            *bucket = Bucket::begun(answered);
        }
        self.newest = Some(now);
        true
    }

    /// Counts a failure as one of the proof `counted`: into the newest bucket if the clock that it was
    /// read from is behind.
    pub fn fail(
        &mut self,
        length: Duration,
        now: Instant,
        answered: u64,
        failure: &Failure,
        counted: Proof,
    ) -> Tally {
        self.roll(length, now, answered);
        if answered != self.answered_at_failure {
            self.row = Row::default();
            self.answered_at_failure = answered;
        }
        self.row.add(failure);
        if let Some(newest) = self.buckets.first_mut() {
            match counted {
                Proof::Unreached | Proof::ServedElsewhere => {
                    newest.failures = newest.failures.saturating_add(1);
                }
                Proof::Unopposed => {
                    newest.unopposed = newest.unopposed.and(Pairs::one(failure.caller));
                }
                Proof::Alike => newest.alike = newest.alike.saturating_add(1),
                Proof::Unexplained => {}
            }
        }
        let base = self.buckets.last().map_or(answered, |oldest| oldest.base);
        Tally {
            failures: self.buckets.iter().map(|b| u64::from(b.failures)).sum(),
            unopposed: self
                .buckets
                .iter()
                .rfold(Pairs::default(), |all, bucket| all.and(bucket.unopposed)),
            alike: self.buckets.iter().map(|b| u64::from(b.alike)).sum(),
            successes: answered.saturating_sub(base),
            row: self.row,
        }
    }
}

impl Bucket {
    /// An empty one that begins where the counter of successes stands at `answered`.
    fn begun(answered: u64) -> Bucket {
        Bucket {
            failures: 0,
            unopposed: Pairs::default(),
            alike: 0,
            base: answered,
        }
    }
}

/// How many buckets begin after the one of `earlier`, up to and with the one of `later`.
///
/// Buckets lie on a grid that starts at the clock's origin, so every worker has the same.
fn buckets_between(earlier: Instant, later: Instant, length: Duration) -> u64 {
    let length = u64::try_from(length.as_nanos()).unwrap_or(u64::MAX);
    let bucket = NonZeroU64::new(length / PARTS).unwrap_or(NonZeroU64::MIN);
    let number = |at: Instant| at.as_nanos() / bucket;
    number(later).saturating_sub(number(earlier))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Caller;

    const FAILURE: Failure = Failure {
        placed: Instant::from_nanos(0),
        caller: Caller(0),
        proof: Proof::Unreached,
        status: 0,
    };

    const LENGTH: Duration = Duration::from_secs(300);

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    fn counts(tally: Tally) -> (u64, u64) {
        (tally.failures, tally.successes)
    }

    #[test]
    fn successes_are_the_counters_differences() {
        let mut window = Window::begun(at(5), 1_000);
        assert_eq!(
            counts(window.fail(LENGTH, at(6), 1_007, &FAILURE, FAILURE.proof)),
            (1, 7)
        );
        window.roll(LENGTH, at(10), 1_010);
        assert_eq!(
            counts(window.fail(LENGTH, at(299), 1_020, &FAILURE, FAILURE.proof)),
            (2, 20)
        );
    }

    #[test]
    fn a_bucket_leaves_the_window_after_thirty() {
        let mut window = Window::begun(at(0), 0);
        window.fail(LENGTH, at(9), 3, &FAILURE, FAILURE.proof);
        window.roll(LENGTH, at(10), 5);
        assert_eq!(
            counts(window.fail(LENGTH, at(299), 8, &FAILURE, FAILURE.proof)),
            (2, 8)
        );
        assert_eq!(
            counts(window.fail(LENGTH, at(300), 8, &FAILURE, FAILURE.proof)),
            (2, 3),
            "without the first bucket's failure and five successes"
        );
        assert_eq!(
            counts(window.fail(LENGTH, at(10_000), 9, &FAILURE, FAILURE.proof)),
            (1, 0)
        );
    }

    #[test]
    fn failures_are_in_a_row_until_the_counter_moves() {
        let mut window = Window::begun(at(0), 0);
        let mut rows = Vec::new();
        for (seconds, answered) in [(1, 0), (2, 0), (900, 0), (901, 1), (902, 1)] {
            rows.push(
                window
                    .fail(LENGTH, at(seconds), answered, &FAILURE, FAILURE.proof)
                    .row
                    .length(),
            );
        }
        assert_eq!(rows, [1, 2, 3, 1, 2]);
    }

    #[test]
    fn a_counter_that_begins_anew_begins_the_window_anew() {
        for restarted in [0, 99] {
            let mut window = Window::begun(at(0), 100);
            for _ in 0..4 {
                window.fail(LENGTH, at(1), 5_000, &FAILURE, FAILURE.proof);
            }
            let tally = window.fail(LENGTH, at(2), restarted, &FAILURE, FAILURE.proof);
            assert_eq!((counts(tally), tally.row.length()), ((1, 0), 1));
            assert_eq!(
                counts(window.fail(LENGTH, at(3), restarted + 4, &FAILURE, FAILURE.proof)),
                (2, 4),
                "and counts on from there"
            );
        }
        let mut window = Window::begun(at(0), u64::MAX - 1);
        window.fail(LENGTH, at(1), u64::MAX, &FAILURE, FAILURE.proof);
        assert_eq!(
            counts(window.fail(LENGTH, at(2), 0, &FAILURE, FAILURE.proof)),
            (1, 0),
            "wrapped"
        );
    }

    #[test]
    fn a_clock_that_is_behind_counts_into_the_newest_bucket() {
        let mut window = Window::begun(at(100), 0);
        assert!(!window.needs_roll(LENGTH, at(0)));
        assert!(!window.roll(LENGTH, at(99), 7));
        assert_eq!(
            counts(window.fail(LENGTH, at(0), 7, &FAILURE, FAILURE.proof)),
            (1, 7)
        );
        assert_eq!(
            counts(window.fail(LENGTH, at(399), 7, &FAILURE, FAILURE.proof)),
            (2, 7)
        );
        assert_eq!(
            counts(window.fail(LENGTH, at(400), 7, &FAILURE, FAILURE.proof)),
            (2, 0)
        );
    }

    #[test]
    fn a_window_of_another_length_goes_on_sliding() {
        let mut window = Window::begun(at(1_000), 0);
        window.fail(
            Duration::from_secs(30),
            at(1_000),
            0,
            &FAILURE,
            FAILURE.proof,
        );
        assert_eq!(
            counts(window.fail(LENGTH, at(1_250), 0, &FAILURE, FAILURE.proof)),
            (2, 0)
        );
        assert_eq!(
            counts(window.fail(LENGTH, at(1_400), 0, &FAILURE, FAILURE.proof)),
            (2, 0)
        );
    }

    #[test]
    fn no_length_and_no_time_divide_by_zero() {
        let mut window = Window::default();
        for length in [Duration::ZERO, Duration::from_nanos(1), Duration::MAX] {
            for now in [0, 1, u64::MAX] {
                window.fail(length, Instant::from_nanos(now), 0, &FAILURE, FAILURE.proof);
            }
        }
    }
}
