//! When an endpoint is left out and comes back, and how its weight follows its load.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::checks::{cluster_name, duration, each, url_path, within};
use super::{At, Result, wrong};
use crate::config::wire;
use crate::config::{Breaker, Check, Load, MetricsPage};

const HOUR: Duration = Duration::from_secs(3600);
const SECOND_TO_HOUR: RangeInclusive<Duration> = Duration::from_secs(1)..=HOUR;
const STATUS: RangeInclusive<u16> = 100..=599;
/// As many as there are.
const MOST_STATUSES: usize = 500;

pub(super) fn check(check: &wire::Check) -> Result<Option<Check>> {
    let interval = duration(
        check.interval.as_deref(),
        SECOND_TO_HOUR,
        Duration::from_secs(10),
    )
    .at("interval")?;
    let rule = Check {
        path: url_path(check.path.as_deref().unwrap_or("/health")).at("path")?,
        statuses: check
            .status
            .as_ref()
            .map(statuses)
            .transpose()
            .at("status")?,
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

fn statuses(statuses: &wire::Statuses) -> Result<Vec<RangeInclusive<u16>>> {
    match statuses {
        wire::Statuses::One(one) => Ok(vec![status(one)?]),
        wire::Statuses::List(list) => each(1..=MOST_STATUSES, list, &status),
    }
}

fn status(status: &wire::Status) -> Result<RangeInclusive<u16>> {
    let text = match status {
        wire::Status::Number(number) => {
            let number = within(Some(*number), STATUS, *number)?;
            return Ok(number..=number);
        }
        wire::Status::Range(text) => text,
    };
    let bound = |text: &str| text.parse().ok().filter(|status| STATUS.contains(status));
    let bounds = text.split_once('-');
    match bounds.and_then(|(from, to)| Some((bound(from)?, bound(to)?))) {
        Some((from, to)) if from <= to => Ok(from..=to),
        Some((from, to)) => wrong(format!("{text:?} holds no status; write \"{to}-{from}\"")),
        None => wrong(format!(
            "{text:?} is no range of statuses; write one within \"100-599\", like \"200-399\", or a single status as a number"
        )),
    }
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

pub(super) fn load(load: &wire::Load, pool_cluster: &str) -> Result<Option<Load>> {
    let rule = Load {
        interval: duration(
            load.interval.as_deref(),
            Duration::from_secs(1)..=Duration::from_secs(60),
            Duration::from_secs(5),
        )
        .at("interval")?,
        metrics: metrics_page(load, pool_cluster)?,
    };
    Ok(load.weights.unwrap_or(true).then_some(rule))
}

/// Where metrics are read. Envoy sends a call only to hosts of the cluster it names, and lets the
/// cluster's fallback choose another host where it lacks the address. So another port needs
/// a cluster of its own, and the pool's is no default.
fn metrics_page(load: &wire::Load, pool_cluster: &str) -> Result<Option<MetricsPage>> {
    let Some(path) = load.metrics_path.as_deref() else {
        for (field, given) in [
            ("metrics_port", load.metrics_port.is_some()),
            ("metrics_cluster", load.metrics_cluster.is_some()),
        ] {
            if given {
                return wrong("needs `metrics_path`; add it, like \"/metrics\", or leave this out")
                    .at(field);
            }
        }
        return Ok(None);
    };
    if load.metrics_port == Some(0) {
        return wrong("0 is out of range; give 1 to 65535").at("metrics_port");
    }
    let cluster = load.metrics_cluster.as_deref();
    if let (Some(port), None) = (load.metrics_port, cluster) {
        return wrong(format!(
            "needs `metrics_cluster`: name the proxy's cluster that holds the endpoints' addresses with port {port}"
        ))
        .at("metrics_port");
    }
    Ok(Some(MetricsPage {
        path: url_path(path).at("metrics_path")?,
        port: load.metrics_port,
        cluster: cluster
            .map_or_else(|| Ok(pool_cluster.to_owned()), cluster_name)
            .at("metrics_cluster")?,
    }))
}
