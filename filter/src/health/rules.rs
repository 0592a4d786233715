//! The numbers that health goes by, each with its default and why it is that.

use std::time::Duration;

use super::breaker::TripRule;
use super::evidence::Row;
use super::window::Tally;

/// How one endpoint is judged; the defaults are the ones documented for users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rules {
    /// Whether failures of traffic trip. Without it a stored trip means nothing.
    pub breaks: bool,
    /// Whether there are active checks. Without them a stored verdict of theirs means nothing.
    pub checks: bool,
    /// Which failures of traffic trip the breaker, and for how long.
    pub trip: Trip,
    /// When a probe without an outcome counts as lost. 30 s: longer than most answers take to
    /// begin, and no longer than a trip, so a lost probe at most doubles the time out.
    pub probe_lost: Duration,
    /// How long the share of an endpoint that is back grows to the whole. 60 s: model servers come
    /// back with cold caches, and a full load at once is how they fell.
    pub ramp: Duration,
    /// How long an overloaded endpoint rests that did not say how long. 1 s.
    pub rest: Duration,
    /// The longest rest that an endpoint may ask for: a server cannot take itself out for a day. 60 s.
    pub longest_rest: Duration,
    /// Active checks failed in a row that make an endpoint unavailable; 0 is read as 1.
    pub check_failures: u8,
    /// Active checks passed in a row that bring it back; 0 is read as 1.
    pub check_passes: u8,
}

/// What trips a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trip {
    /// Too large a part of many requests, or some in a row.
    ErrorRate(ErrorRate),
    /// So many failures in so long, however many requests went well. Replaces the error rate,
    /// the failures in a row and the length of a trip.
    FailTimeout(FailTimeout),
}

/// Trips above a share of failures, or at failures in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ErrorRate {
    /// How far back requests are counted, in thirty buckets. 5 minutes: at one request in
    /// fifteen seconds there are still twenty to judge by.
    pub window: Duration,
    /// Trips above, and not at, this percentage of failures. 20.
    pub above_percent: u8,
    /// Below so many requests in the window a percentage means nothing. 20.
    pub least_requests: u32,
    /// Trips at so many failures without an answer between them, whatever the window holds; 0 never does.
    /// 5: an endpoint that has died is left before it spoils the twentieth request.
    pub in_a_row: u32,
    /// How long a trip lasts before a probe may go. 30 s.
    pub tripped: Duration,
}

/// nginx' `max_fails` and `fail_timeout`, as documented for `server` in
/// [`ngx_http_upstream_module`](https://nginx.org/en/docs/http/ngx_http_upstream_module.html#server).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FailTimeout {
    /// Failures that trip; 0 never does, as with nginx.
    pub max_fails: u32,
    /// Both the time in which they must happen, to a thirtieth of it, and how long the trip lasts.
    pub fail_timeout: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Rules {
            breaks: true,
            checks: true,
            trip: Trip::ErrorRate(ErrorRate::default()),
            probe_lost: Duration::from_secs(30),
            ramp: Duration::from_secs(60),
            rest: Duration::from_secs(1),
            longest_rest: Duration::from_secs(60),
            check_failures: 3,
            check_passes: 2,
        }
    }
}

impl Default for ErrorRate {
    fn default() -> Self {
        ErrorRate {
            window: Duration::from_secs(300),
            above_percent: 20,
            least_requests: 20,
            in_a_row: 5,
            tripped: Duration::from_secs(30),
        }
    }
}

impl Trip {
    /// How far back failures are looked at.
    pub(super) fn window(&self) -> Duration {
        match self {
            Trip::ErrorRate(rule) => rule.window,
            Trip::FailTimeout(rule) => rule.fail_timeout,
        }
    }

    /// How long the endpoint is left alone.
    pub(super) fn lasts(&self) -> Duration {
        match self {
            Trip::ErrorRate(rule) => rule.tripped,
            Trip::FailTimeout(rule) => rule.fail_timeout,
        }
    }

    /// Whether one failure more in `row` may be the deciding one.
    pub(super) fn is_next(&self, row: &Row) -> bool {
        let deciding = match self {
            Trip::ErrorRate(rule) => rule.in_a_row,
            Trip::FailTimeout(rule) => rule.max_fails,
        };
        deciding > 0 && row.length().saturating_add(1) >= deciding
    }

    /// The rule that the failure that made `tally` decides, if it is the deciding one.
    pub(super) fn reached(&self, tally: &Tally, witnesses: Witnesses) -> Option<TripRule> {
        let counted = tally
            .failures
            .saturating_add(tally.unopposed.counted().into());
        match self {
            Trip::ErrorRate(rule) => {
                let requests = counted.saturating_add(tally.successes);
                let too_many = counted.saturating_mul(100)
                    > requests.saturating_mul(u64::from(rule.above_percent));
                if too_many && requests >= u64::from(rule.least_requests) {
                    return Some(TripRule::Share);
                }
                rule.is_row(tally, witnesses).then_some(TripRule::Row)
            }
            Trip::FailTimeout(rule) => {
                let failures = match witnesses.others_served {
                    true => counted,
                    false => tally
                        .failures
                        .saturating_add(tally.unopposed.failures.into()),
                };
                let reached = rule.max_fails > 0 && failures >= u64::from(rule.max_fails);
                reached.then_some(TripRule::Count)
            }
        }
    }
}

/// Whether an endpoint has served other callers than the one whose request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Witnesses {
    /// Within the window.
    pub others_served: bool,
    /// Within the last minute.
    pub others_lately: bool,
}

/// So many times the failures in a row trip if they are proven and all one caller's.
const OF_ONE_CALLER: u32 = 4;
/// A row is one of chance if requests that fail by themselves make one so often, or more often.
const CHANCE: f64 = 1e-6;

impl ErrorRate {
    fn is_row(&self, tally: &Tally, witnesses: Witnesses) -> bool {
        let row = &tally.row;
        if self.in_a_row == 0 || row.length() < self.in_a_row {
            return false;
        }
        let long = self.in_a_row.saturating_mul(OF_ONE_CALLER);
        // A request that failed elsewhere, too, counts in a long row only. Hidden attempts alone
        // prove nothing.
        let relevant = row.length().saturating_sub(row.alike);
        let proven = relevant.saturating_sub(row.unopposed);
        let is_short_row = relevant >= self.in_a_row && relevant > row.unexplained;
        let is_long_row = row.alike > 0 && row.length() >= long;
        let of_all = row.pairs.counted() >= self.in_a_row || !witnesses.others_served;
        row.unreached >= self.in_a_row
            || (proven >= long && proven > row.unexplained && !witnesses.others_lately)
            || ((is_short_row || is_long_row) && of_all && !tally.is_by_chance())
    }
}

impl Tally {
    /// Whether requests that fail by themselves, wherever they are sent, make such a row now and
    /// then: as many of them as failed without proof before the row, one after the other.
    fn is_by_chance(&self) -> bool {
        let row = &self.row;
        let of_row = u64::from(row.unopposed).saturating_add(row.alike.into());
        let all = u64::from(self.unopposed.failures).saturating_add(self.alike);
        let before = all.saturating_sub(of_row);
        if of_row == 0 || before == 0 {
            return false;
        }
        let share = before as f64 / before.saturating_add(self.successes) as f64;
        let length = i32::try_from(row.length()).unwrap_or(i32::MAX);
        share.powi(length) > CHANCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::evidence::{Caller, Pairs};

    const ALONE: Witnesses = Witnesses {
        others_served: false,
        others_lately: false,
    };
    const AMONG_OTHERS: Witnesses = Witnesses {
        others_served: true,
        others_lately: true,
    };
    const AFTER_OTHERS: Witnesses = Witnesses {
        others_served: true,
        others_lately: false,
    };

    fn tally(failures: u64, requests: u64) -> Tally {
        Tally {
            failures,
            unopposed: Pairs::default(),
            alike: 0,
            successes: requests - failures,
            row: Row::default(),
        }
    }

    fn one_callers(failures: u32) -> Pairs {
        Pairs {
            failures,
            unpaired: failures,
            caller: Caller(1),
        }
    }

    fn row(length: u32, unopposed: u32) -> Tally {
        Tally {
            row: Row {
                pairs: one_callers(length),
                unopposed,
                ..Row::default()
            },
            unopposed: one_callers(unopposed),
            ..tally(u64::from(length - unopposed), 1_000_000)
        }
    }

    fn trips(tally: &Tally, witnesses: Witnesses) -> bool {
        let trip = Trip::ErrorRate(ErrorRate::default());
        trip.reached(tally, witnesses).is_some()
    }

    #[test]
    fn twenty_percent_does_not_trip_and_a_tenth_of_a_percent_more_does() {
        assert!(!trips(&tally(199, 1_000), AMONG_OTHERS));
        assert!(!trips(&tally(200, 1_000), AMONG_OTHERS));
        assert!(trips(&tally(201, 1_000), AMONG_OTHERS));
    }

    #[test]
    fn at_the_least_volume_four_of_twenty_do_not_trip_and_five_do() {
        assert!(!trips(&tally(4, 20), ALONE));
        assert!(trips(&tally(5, 20), ALONE));
        assert!(
            !trips(&tally(19, 19), ALONE),
            "too few requests to judge by"
        );
    }

    #[test]
    fn unopposed_failures_are_a_share_as_far_as_other_callers_have_them() {
        let among = |failures, unpaired| Tally {
            unopposed: Pairs {
                unpaired,
                ..one_callers(failures)
            },
            ..tally(0, 1_000)
        };
        for witnesses in [ALONE, AMONG_OTHERS] {
            assert!(!trips(&among(10_000, 10_000), witnesses));
            assert!(!trips(&among(10_000, 9_875), witnesses));
            assert!(trips(&among(10_000, 9_874), witnesses));
        }
    }

    #[test]
    fn five_in_a_row_are_of_two_callers_or_of_the_only_one() {
        for unopposed in [0, 5] {
            assert!(!trips(&row(4, unopposed.min(4)), ALONE));
            assert!(trips(&row(5, unopposed), ALONE));
            assert!(!trips(&row(5, unopposed), AMONG_OTHERS));
        }
        let mut several = row(5, 5);
        for (unpaired, trips_then) in [(5, false), (3, false), (1, true)] {
            several.row.pairs = Pairs {
                unpaired,
                ..one_callers(5)
            };
            assert_eq!(trips(&several, AMONG_OTHERS), trips_then, "{unpaired}");
        }
        assert!(!trips(&row(19, 0), AFTER_OTHERS));
        assert!(trips(&row(20, 0), AFTER_OTHERS), "proven, and too many");
        assert!(!trips(&row(20, 0), AMONG_OTHERS));
        assert!(
            !trips(&row(1_000, 1_000), AMONG_OTHERS),
            "that caller's own"
        );
    }

    #[test]
    fn five_that_were_not_reached_trip_whoever_sent_them() {
        let mut unreached = row(5, 0);
        unreached.row.unreached = 5;
        assert!(trips(&unreached, AMONG_OTHERS));
    }

    #[test]
    fn a_row_that_chance_makes_of_requests_that_fail_anywhere_does_not_trip() {
        let among = |share: u32, length: u32| {
            let before = share * 10;
            trips(
                &Tally {
                    unopposed: one_callers(before + length),
                    successes: 1_000 - u64::from(before),
                    ..row(length, length)
                },
                ALONE,
            )
        };
        assert!(!among(50, 19) && among(50, 20));
        assert!(!among(30, 11) && among(30, 12));
        assert!(among(1, 5) && among(6, 5));
        assert!(!among(100, 1_000_000), "nothing else was ever answered");
    }

    #[test]
    fn counts_beyond_all_reason_are_compared_without_wrapping() {
        assert!(!trips(&tally(1, u64::MAX), ALONE));
        assert!(trips(&tally(u64::MAX / 100, u64::MAX / 99), ALONE));
    }
}
