//! Rules: what they match and where they lead.

use std::time::Duration;

use super::checks::{duration, each, header_name, model_pattern, name, within};
use super::{Result, wrong};
use crate::config::wire;
use crate::config::{HeaderPattern, Match, Pattern, Pool, PoolId, Retry, RetryOn, Route};
use crate::values::units::Tokens;

const ATTEMPTS: std::ops::RangeInclusive<u8> = 1..=8;
const ATTEMPTS_DEFAULT: u8 = 3;
const PATIENCE: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(10)..=Duration::from_secs(3600);
/// Whatever has relayed nothing yet. A prompt may so run twice, which costs a GPU some seconds and no caller a
/// word. Not 429: it may be the caller who asked too often, and other endpoints would say the same.
const RETRY_ON_DEFAULT: [RetryOn; 4] = [
    RetryOn::ConnectFailure,
    RetryOn::RefusedStream,
    RetryOn::Reset,
    RetryOn::ServerError,
];

pub(super) fn route(path: &str, route: &wire::Route, pools: &[Pool]) -> Result<Route> {
    let mut chosen = Vec::new();
    for (index, pool) in route.pools.iter().enumerate() {
        let path = format!("{path}.pools[{index}]");
        let Some(at) = pools.iter().position(|known| known.name == *pool) else {
            let known: Vec<&str> = pools.iter().map(|pool| pool.name.as_str()).collect();
            return wrong(
                path,
                format!(
                    "there is no pool {pool:?}; the pools are {}",
                    known.join(", ")
                ),
            );
        };
        if chosen.contains(&PoolId(at)) {
            return wrong(path, format!("{pool:?} is named twice; name it once"));
        }
        chosen.push(PoolId(at));
    }
    if chosen.is_empty() {
        return wrong(format!("{path}.pools"), "is empty; name at least one pool");
    }
    for (from, to) in &route.alias.0 {
        let path = format!("{path}.alias.{from}");
        if to.is_empty() || from.is_empty() {
            return wrong(path, "model names cannot be empty");
        }
        if !chosen
            .iter()
            .filter_map(|id| pools.get(id.0))
            .any(|pool| pool.serves(to))
        {
            return wrong(
                path,
                format!("none of the rule's pools serves {to:?}; add it to a pool's models"),
            );
        }
    }
    Ok(Route {
        name: route.name.as_deref().map_or(Ok(String::new()), |text| {
            name(&format!("{path}.name"), text)
        })?,
        matches: matches(&format!("{path}.match"), &route.matches)?,
        alias: route.alias.0.clone(),
        pools: chosen,
        attempts: within(
            &format!("{path}.attempts"),
            route.attempts,
            ATTEMPTS,
            ATTEMPTS_DEFAULT,
        )?
        .into(),
        retry: retry(&format!("{path}.retry"), &route.retry)?,
        when_none_is_fit: route.when_none_is_fit,
    })
}

fn retry(path: &str, retry: &wire::Retry) -> Result<Retry> {
    let bound = |field: &str, text: &Option<String>| {
        text.as_deref()
            .map(|text| {
                duration(
                    &format!("{path}.{field}"),
                    Some(text),
                    PATIENCE,
                    Duration::ZERO,
                )
            })
            .transpose()
    };
    Ok(Retry {
        on: retry.on.clone().unwrap_or_else(|| RETRY_ON_DEFAULT.into()),
        first_byte: bound("first_byte", &retry.first_byte)?,
        answer: bound("answer", &retry.answer)?,
    })
}

fn matches(path: &str, matches: &wire::Match) -> Result<Match> {
    let input = match &matches.input_tokens {
        None => None,
        Some(range) => {
            let (min, max) = (range.min.unwrap_or(0), range.max.unwrap_or(u32::MAX));
            if min > max {
                return wrong(
                    format!("{path}.input_tokens"),
                    format!("min {min} is above max {max}; no request would match"),
                );
            }
            Some((Tokens(min), Tokens(max)))
        }
    };
    if matches.stream.is_some() && matches.realtime == Some(true) {
        return wrong(
            format!("{path}.stream"),
            "a Realtime session has no body that could ask for a stream; leave `stream` or `realtime` out",
        );
    }
    if matches.realtime == Some(true) && input.is_some() {
        return wrong(
            format!("{path}.input_tokens"),
            "a Realtime session's input is not known when it is routed; leave `input_tokens` or `realtime` out",
        );
    }
    Ok(Match {
        models: each(
            &format!("{path}.models"),
            0..=usize::MAX,
            &matches.models,
            &|path, model| model_pattern(path, model),
        )?,
        input,
        stream: matches.stream,
        realtime: matches.realtime,
        path: matches
            .path
            .as_ref()
            .map(|text| pattern(&format!("{path}.path"), &text.exact, &text.prefix))
            .transpose()?,
        headers: each(
            &format!("{path}.headers"),
            0..=usize::MAX,
            &matches.headers,
            &header,
        )?,
        tenants: matches.tenants.clone(),
    })
}

fn header(path: &str, header: &wire::HeaderMatch) -> Result<(String, HeaderPattern)> {
    let name = header_name(&format!("{path}.name"), &header.name)?;
    let pattern = match header.present {
        Some(_) if header.exact.is_some() || header.prefix.is_some() => {
            return wrong(path, "give one of `exact`, `prefix` and `present`");
        }
        Some(present) => HeaderPattern::Present(present),
        None => HeaderPattern::Value(pattern(path, &header.exact, &header.prefix)?),
    };
    Ok((name, pattern))
}

fn pattern(path: &str, exact: &Option<String>, prefix: &Option<String>) -> Result<Pattern> {
    match (exact, prefix) {
        (Some(exact), None) => Ok(Pattern::Exact(exact.clone())),
        (None, Some(prefix)) => Ok(Pattern::Prefix(prefix.clone())),
        _ => wrong(path, "give one of `exact` and `prefix`"),
    }
}
