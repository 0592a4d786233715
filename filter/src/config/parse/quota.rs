//! Budgets of requests and tokens.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::checks::{duration, header_name, name, within};
use super::{At, Result, route, wrong};
use crate::config::wire::{self, Scope};
use crate::config::{Budget, KeyPart, Quota};

const PER: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(24 * 3600);
const UNITS: RangeInclusive<u32> = 1..=u32::MAX;
/// A burst that takes longer to come back is a mistake, and a clock of nanoseconds has an end.
const MOST_SECONDS: f64 = 366.0 * 86_400.0;
/// What a chat's answer seldom exceeds.
const DEFAULT_OUTPUT: u32 = 1024;
/// A thousand sets of 1,088 bytes; at the most 35 MB.
const CALLERS: RangeInclusive<u32> = 8..=1 << 18;
const CALLERS_DEFAULT: u32 = 8192;
/// What is taken ahead is a burst's part: of as many workers each may have one.
const LEASE_PART: u32 = 100;

pub(super) fn quota(quota: &wire::Quota, engine: Option<&wire::QuotaEngine>) -> Result<Quota> {
    let mut key = Vec::new();
    for (index, text) in quota.key.iter().enumerate() {
        let part = part(text).at_item(index).at("key")?;
        if key.contains(&part) {
            return wrong(format!("{text:?} is named twice; name it once"))
                .at_item(index)
                .at("key");
        }
        key.push(part);
    }
    if quota.requests.is_none() && quota.tokens.is_none() {
        return wrong("limits nothing; give `requests`, `tokens` or both");
    }
    if quota.default_output.is_some() && quota.tokens.is_none() {
        return wrong("is for limits of `tokens` only; leave it out").at("default_output");
    }
    if let Some((output, tokens)) = quota.default_output.zip(quota.tokens.as_ref()) {
        let burst = tokens.burst.unwrap_or(tokens.limit);
        if output >= burst {
            return wrong(format!(
                "{output} is not below the burst of `tokens`, {burst}: no request without a bound would ever pass"
            ))
            .at("default_output");
        }
    }
    if quota.cut_streams.is_some() && quota.tokens.is_none() {
        return wrong("is for limits of `tokens` only; leave it out").at("cut_streams");
    }
    if quota.callers.is_some() && key.is_empty() {
        return wrong("is for limits with a `key` only; leave it out").at("callers");
    }
    let fleet = match quota.scope {
        Scope::Proxy if quota.on_error.is_some() => {
            return wrong("is for `scope: fleet` only; leave it out").at("on_error");
        }
        Scope::Proxy => None,
        Scope::Fleet if engine.is_none() => {
            return wrong("nobody keeps limits of the fleet; set `quota_engine`").at("scope");
        }
        Scope::Fleet => Some(quota.on_error.unwrap_or_default()),
    };
    let leases = match engine.map(|engine| engine.webdis.is_some()) {
        Some(true) if fleet.is_some() => Ok(()),
        Some(false) if fleet.is_some() => {
            Err("a rate limit service takes nothing back; leave it out")
        }
        _ => Err("is for `scope: fleet` only; leave it out"),
    };
    let by_service = fleet.is_some() && engine.is_some_and(|engine| engine.webdis.is_none());
    let parsed = |budget: &Option<wire::Budget>| {
        let Some(budget) = budget else {
            return Ok(None);
        };
        if by_service && budget.burst.is_some_and(|burst| burst != budget.limit) {
            return wrong("a rate limit service knows no bursts beside the limit; leave it out")
                .at("burst");
        }
        self::budget(budget, leases).map(Some)
    };
    let tokens = parsed(&quota.tokens).at("tokens")?;
    // By itself it leaves as much for the input.
    let half = tokens.map_or(u32::MAX, |tokens| tokens.burst / 2);
    Ok(Quota {
        name: name(&quota.name).at("name")?,
        matches: route::matches(&quota.matches).at("match")?,
        requests: parsed(&quota.requests).at("requests")?,
        tokens,
        default_output: quota.default_output.unwrap_or(DEFAULT_OUTPUT.min(half)),
        cut_streams: quota.cut_streams.unwrap_or_default(),
        callers: within(quota.callers, CALLERS, CALLERS_DEFAULT).at("callers")?,
        fleet,
        key,
    })
}

fn part(text: &str) -> Result<KeyPart> {
    match text {
        "tenant" => Ok(KeyPart::Tenant),
        "model" => Ok(KeyPart::Model),
        "route" => Ok(KeyPart::Route),
        "address" => Ok(KeyPart::Address),
        _ => match text.strip_prefix("header:") {
            Some(name) => header_name(name).map(KeyPart::Header),
            None => wrong(format!(
                "{text:?} is no part of a key; give `tenant`, `model`, `route`, `address` or `header:NAME`"
            )),
        },
    }
}

/// `leases` tells why nothing can be taken ahead, where that is so.
fn budget(budget: &wire::Budget, leases: std::result::Result<(), &'static str>) -> Result<Budget> {
    let limit = within(Some(budget.limit), UNITS, 1).at("limit")?;
    let burst = within(budget.burst, UNITS, limit).at("burst")?;
    let lease = match (leases, budget.lease) {
        (Ok(()), lease) => within(lease, 0..=burst, burst / LEASE_PART).at("lease")?,
        (Err(_), None) => 0,
        (Err(why), Some(_)) => return wrong(why).at("lease"),
    };
    let per = duration(Some(&budget.per), PER, Duration::ZERO).at("per")?;
    let full = per.as_secs_f64() * f64::from(burst) / f64::from(limit);
    if full > MOST_SECONDS {
        return wrong(format!(
            "{burst} come back in more than a year at this rate; give less, or a higher `limit`"
        ))
        .at("burst");
    }
    Ok(Budget {
        limit,
        per,
        burst,
        lease,
    })
}
