//! When an endpoint is left out and comes back, and how its weight follows its load.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::checks::{duration, url_path, within};
use super::{Result, wrong};
use crate::config::wire;
use crate::config::{Breaker, Check, Load};

const HOUR: Duration = Duration::from_secs(3600);
const SECOND_TO_HOUR: RangeInclusive<Duration> = Duration::from_secs(1)..=HOUR;

pub(super) fn check(path: &str, check: &wire::Check) -> Result<Option<Check>> {
    let interval = duration(
        &format!("{path}.interval"),
        check.interval.as_deref(),
        SECOND_TO_HOUR,
        Duration::from_secs(10),
    )?;
    let status = check
        .status
        .map(|status| within(&format!("{path}.status"), Some(status), 100..=599, status));
    let rule = Check {
        path: url_path(
            &format!("{path}.path"),
            check.path.as_deref().unwrap_or("/health"),
        )?,
        status: status.transpose()?,
        interval,
        // An answer that is awaited beyond the next question would be two answers.
        timeout: duration(
            &format!("{path}.timeout"),
            check.timeout.as_deref(),
            Duration::from_millis(10)..=interval,
            interval.min(Duration::from_secs(2)),
        )?,
        unhealthy_after: within(
            &format!("{path}.unhealthy_after"),
            check.unhealthy_after,
            1..=100,
            3,
        )?,
        healthy_after: within(
            &format!("{path}.healthy_after"),
            check.healthy_after,
            1..=100,
            2,
        )?,
    };
    Ok(check.enabled.unwrap_or(true).then_some(rule))
}

pub(super) fn breaker(path: &str, breaker: &wire::Breaker) -> Result<Option<Breaker>> {
    let time = |field: &str, text: &Option<String>, range, default| {
        let path = format!("{path}.{field}");
        duration(&path, text.as_deref(), range, Duration::from_secs(default))
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
                return wrong(
                    format!("{path}.{field}"),
                    "has no meaning beside `max_fails`; leave one of them out",
                );
            }
            Breaker::FailTimeout {
                max_fails: within(&format!("{path}.max_fails"), Some(max_fails), 1..=1000, 1)?,
                fail_timeout: time("fail_timeout", &breaker.fail_timeout, SECOND_TO_HOUR, 10)?,
            }
        }
        None if breaker.fail_timeout.is_some() => {
            return wrong(
                format!("{path}.fail_timeout"),
                "is for `max_fails` only; give that as well, or leave it out",
            );
        }
        None => Breaker::Window {
            error_percent: within(
                &format!("{path}.error_percent"),
                breaker.error_percent,
                1..=99,
                20,
            )?,
            minimum_requests: within(
                &format!("{path}.minimum_requests"),
                breaker.minimum_requests,
                1..=1_000_000,
                20,
            )?,
            window: time(
                "window",
                &breaker.window,
                Duration::from_secs(30)..=HOUR,
                300,
            )?,
            failures_in_a_row: within(
                &format!("{path}.failures_in_a_row"),
                breaker.failures_in_a_row,
                1..=1000,
                5,
            )?,
            open: time("open", &breaker.open, SECOND_TO_HOUR, 30)?,
        },
    };
    Ok(breaker.enabled.unwrap_or(true).then_some(rule))
}

pub(super) fn ramp(path: &str, ramp: &Option<String>) -> Result<Duration> {
    duration(
        path,
        ramp.as_deref(),
        SECOND_TO_HOUR,
        Duration::from_secs(60),
    )
}

pub(super) fn load(path: &str, load: &wire::Load) -> Result<Option<Load>> {
    let rule = Load {
        interval: duration(
            &format!("{path}.interval"),
            load.interval.as_deref(),
            Duration::from_secs(1)..=Duration::from_secs(60),
            Duration::from_secs(5),
        )?,
        metrics_path: load
            .metrics_path
            .as_deref()
            .map(|text| url_path(&format!("{path}.metrics_path"), text))
            .transpose()?,
    };
    Ok(load.weights.unwrap_or(true).then_some(rule))
}
