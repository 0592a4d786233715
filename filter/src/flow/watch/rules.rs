//! The rules of health that a pool's configuration gives.

use crate::config::{Breaker, Pool};
use crate::health::{ErrorRate, FailTimeout, Rules, Trip};

/// The rules of `pool`.
pub(super) fn rules(pool: &Pool) -> Rules {
    let defaults = Rules::default();
    let trip = match pool.breaker {
        None => defaults.trip,
        Some(Breaker::Window {
            error_percent,
            minimum_requests,
            window,
            failures_in_a_row,
            open,
        }) => Trip::ErrorRate(ErrorRate {
            window,
            above_percent: error_percent,
            least_requests: minimum_requests,
            in_a_row: failures_in_a_row.into(),
            tripped: open,
        }),
        Some(Breaker::FailTimeout {
            max_fails,
            fail_timeout,
        }) => Trip::FailTimeout(FailTimeout {
            max_fails: max_fails.into(),
            fail_timeout,
        }),
    };
    let checks = pool.check.as_ref();
    Rules {
        breaks: pool.breaker.is_some(),
        checks: checks.is_some(),
        trip,
        ramp: pool.ramp,
        check_failures: checks.map_or(defaults.check_failures, |check| check.unhealthy_after),
        check_passes: checks.map_or(defaults.check_passes, |check| check.healthy_after),
        ..defaults
    }
}
