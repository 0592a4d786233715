//! The numbers that health goes by, each with its default and why it is that.

use std::time::Duration;

use super::window::Tally;

/// How one endpoint is judged; the defaults are the ones documented for users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rules {
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

    /// Whether the failure that made `tally` is the deciding one.
    pub(super) fn is_reached(&self, tally: &Tally) -> bool {
        match self {
            Trip::ErrorRate(rule) => {
                let requests = tally.failures.saturating_add(tally.successes);
                let too_many = tally.failures.saturating_mul(100)
                    > requests.saturating_mul(u64::from(rule.above_percent));
                let enough = requests >= u64::from(rule.least_requests);
                (enough && too_many) || (rule.in_a_row > 0 && tally.in_a_row >= rule.in_a_row)
            }
            Trip::FailTimeout(rule) => {
                rule.max_fails > 0 && tally.failures >= u64::from(rule.max_fails)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trips(failures: u64, requests: u64) -> bool {
        Trip::ErrorRate(ErrorRate::default()).is_reached(&Tally {
            failures,
            successes: requests - failures,
            in_a_row: 1,
        })
    }

    #[test]
    fn twenty_percent_does_not_trip_and_a_tenth_of_a_percent_more_does() {
        assert!(!trips(199, 1_000));
        assert!(!trips(200, 1_000));
        assert!(trips(201, 1_000));
    }

    #[test]
    fn at_the_least_volume_four_of_twenty_do_not_trip_and_five_do() {
        assert!(!trips(4, 20));
        assert!(trips(5, 20));
        assert!(!trips(19, 19), "too few requests to judge by");
    }

    #[test]
    fn counts_beyond_all_reason_are_compared_without_wrapping() {
        assert!(!trips(1, u64::MAX));
        assert!(trips(u64::MAX / 100, u64::MAX / 99));
    }
}
