//! When an endpoint is left out and comes back, and how its weight follows its load.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::checks::{duration, url_path, within};
use super::{At, Result, wrong};
use crate::config::wire;
use crate::config::{Breaker, Check, Load};

const HOUR: Duration = Duration::from_secs(3600);
const SECOND_TO_HOUR: RangeInclusive<Duration> = Duration::from_secs(1)..=HOUR;

pub(super) fn check(check: &wire::Check) -> Result<Option<Check>> {
    let interval = duration(
        check.interval.as_deref(),
        SECOND_TO_HOUR,
        Duration::from_secs(10),
    )
    .at("interval")?;
    let status = check
        .status
        .map(|status| within(Some(status), 100..=599, status));
    let rule = Check {
        path: url_path(check.path.as_deref().unwrap_or("/health")).at("path")?,
        status: status.transpose().at("status")?,
        interval,
        // An answer that is awaited beyond the next question would be two answers.
        timeout: duration(
            check.timeout.as_deref(),
            Duration::from_millis(10)..=interval,
            interval.min(Duration::from_secs(2)),
        )
        .at("timeout")?,
        unhealthy_after: within(check.unhealthy_after, 1..=100, 3).at("unhealthy_after")?,
        healthy_after: within(check.healthy_after, 1..=100, 2).at("healthy_after")?,
    };
    Ok(check.enabled.unwrap_or(true).then_some(rule))
}

pub(super) fn breaker(breaker: &wire::Breaker) -> Result<Option<Breaker>> {
    let time = |field: &str, text: &Option<String>, range, default| {
        duration(text.as_deref(), range, Duration::from_secs(default)).at(field)
    };
    let rule = match breaker.max_fails {
        Some(max_fails) => {
            let ours = [
                ("error_percent", breaker.error_percent.is_some()),
                ("minimum_requests", breaker.minimum_requests.is_some()),
                ("window", breaker.window.is_some()),
                ("failures_in_a_row", breaker.failures_in_a_row.is_some()),
                ("open", breaker.open.is_some()),
            ];
            if let Some((field, _)) = ours.into_iter().find(|(_, given)| *given) {
                return wrong("has no meaning beside `max_fails`; leave one of them out").at(field);
            }
            Breaker::FailTimeout {
                max_fails: within(Some(max_fails), 1..=1000, 1).at("max_fails")?,
                fail_timeout: time("fail_timeout", &breaker.fail_timeout, SECOND_TO_HOUR, 10)?,
            }
        }
        None if breaker.fail_timeout.is_some() => {
            return wrong("is for `max_fails` only; give that as well, or leave it out")
                .at("fail_timeout");
        }
        None => Breaker::Window {
            error_percent: within(breaker.error_percent, 1..=99, 20).at("error_percent")?,
            minimum_requests: within(breaker.minimum_requests, 1..=1_000_000, 20)
                .at("minimum_requests")?,
            window: time(
                "window",
                &breaker.window,
                Duration::from_secs(30)..=HOUR,
                300,
            )?,
            failures_in_a_row: within(breaker.failures_in_a_row, 1..=1000, 5)
                .at("failures_in_a_row")?,
            open: time("open", &breaker.open, SECOND_TO_HOUR, 30)?,
        },
    };
    Ok(breaker.enabled.unwrap_or(true).then_some(rule))
}

pub(super) fn max_ejected_percent(breaker: &wire::Breaker) -> Result<u8> {
    within(breaker.max_ejected_percent, 0..=100, 50).at("max_ejected_percent")
}

pub(super) fn ramp(ramp: &Option<String>) -> Result<Duration> {
    duration(ramp.as_deref(), SECOND_TO_HOUR, Duration::from_secs(60))
}

pub(super) fn load(load: &wire::Load) -> Result<Option<Load>> {
    let rule = Load {
        interval: duration(
            load.interval.as_deref(),
            Duration::from_secs(1)..=Duration::from_secs(60),
            Duration::from_secs(5),
        )
        .at("interval")?,
        metrics_path: load
            .metrics_path
            .as_deref()
            .map(url_path)
            .transpose()
            .at("metrics_path")?,
    };
    Ok(load.weights.unwrap_or(true).then_some(rule))
}
