//! Rules: what they match and where they lead.

use std::time::Duration;

use super::checks::{duration, each, header_name, models, name, within};
use super::{At, Result, wrong};
use crate::config::wire;
use crate::config::{HeaderPattern, Match, Pattern, Pool, PoolId, Retry, RetryOn, Route};
use crate::values::units::Tokens;

const ATTEMPTS: std::ops::RangeInclusive<u8> = 1..=8;
const ATTEMPTS_DEFAULT: u8 = 3;
const PATIENCE: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(10)..=Duration::from_secs(3600);
/// Whatever has relayed nothing yet. A prompt may so run twice, which costs a GPU some seconds and no caller a
/// word. Not 429: it may be the caller who asked too often, and other endpoints would say the same.
const RETRY_ON_DEFAULT: [RetryOn; 5] = [
    RetryOn::ConnectFailure,
    RetryOn::RefusedStream,
    RetryOn::Reset,
    RetryOn::ServerError,
    RetryOn::Overloaded,
];

pub(super) fn route(route: &wire::Route, pools: &[Pool]) -> Result<Route> {
    let mut chosen = Vec::new();
    for (index, pool) in route.pools.iter().enumerate() {
        let Some(at) = pools.iter().position(|known| known.name == *pool) else {
            let known: Vec<&str> = pools.iter().map(|pool| pool.name.as_str()).collect();
            return wrong(format!(
                "there is no pool {pool:?}; the pools are {}",
                known.join(", ")
            ))
            .at_item(index)
            .at("pools");
        };
        if chosen.contains(&PoolId(at)) {
            return wrong(format!("{pool:?} is named twice; name it once"))
                .at_item(index)
                .at("pools");
        }
        chosen.push(PoolId(at));
    }
    if chosen.is_empty() {
        return wrong("is empty; name at least one pool").at("pools");
    }
    for (from, to) in &route.alias.0 {
        if to.is_empty() || from.is_empty() {
            return wrong("model names cannot be empty").at(from).at("alias");
        }
        if !chosen
            .iter()
            .filter_map(|id| pools.get(id.0))
            .any(|pool| pool.serves(to))
        {
            return wrong(format!(
                "none of the rule's pools serves {to:?}; add it to a pool's models"
            ))
            .at(from)
            .at("alias");
        }
    }
    Ok(Route {
        name: route
            .name
            .as_deref()
            .map_or(Ok(String::new()), name)
            .at("name")?,
        matches: matches(&route.matches).at("match")?,
        alias: route.alias.0.clone(),
        stream_usage: route.stream_usage.unwrap_or_default(),
        pools: chosen,
        attempts: within(route.attempts, ATTEMPTS, ATTEMPTS_DEFAULT)
            .at("attempts")?
            .into(),
        retry: retry(&route.retry).at("retry")?,
        when_none_is_fit: route.when_none_is_fit,
    })
}

fn retry(retry: &wire::Retry) -> Result<Retry> {
    let bound = |text: &Option<String>| {
        text.as_deref()
            .map(|text| duration(Some(text), PATIENCE, Duration::ZERO))
            .transpose()
    };
    Ok(Retry {
        on: retry.on.clone().unwrap_or_else(|| RETRY_ON_DEFAULT.into()),
        first_byte: bound(&retry.first_byte).at("first_byte")?,
        answer: bound(&retry.answer).at("answer")?,
    })
}

pub(super) fn matches(matches: &wire::Match) -> Result<Match> {
    let input = match &matches.input_tokens {
        None => None,
        Some(range) => {
            let (min, max) = (range.min.unwrap_or(0), range.max.unwrap_or(u32::MAX));
            if min > max {
                return wrong(format!(
                    "min {min} is above max {max}; no request would match"
                ))
                .at("input_tokens");
            }
            Some((Tokens(min), Tokens(max)))
        }
    };
    if matches.stream.is_some() && matches.realtime == Some(true) {
        return wrong(
            "a Realtime session has no body that could ask for a stream; leave `stream` or `realtime` out",
        )
        .at("stream");
    }
    if matches.realtime == Some(true) && input.is_some() {
        return wrong(
            "a Realtime session's input is not known when it is routed; leave `input_tokens` or `realtime` out",
        )
        .at("input_tokens");
    }
    Ok(Match {
        models: models(&matches.models).at("models")?,
        input,
        stream: matches.stream,
        realtime: matches.realtime,
        path: matches
            .path
            .as_ref()
            .map(|text| pattern(&text.exact, &text.prefix))
            .transpose()
            .at("path")?,
        headers: each(0..=usize::MAX, &matches.headers, &header).at("headers")?,
        tenants: matches.tenants.clone(),
    })
}

fn header(header: &wire::HeaderMatch) -> Result<(String, HeaderPattern)> {
    let name = header_name(&header.name).at("name")?;
    let pattern = match header.present {
        Some(_) if header.exact.is_some() || header.prefix.is_some() => {
            return wrong("give one of `exact`, `prefix` and `present`");
        }
        Some(present) => HeaderPattern::Present(present),
        None => HeaderPattern::Value(pattern(&header.exact, &header.prefix)?),
    };
    Ok((name, pattern))
}

fn pattern(exact: &Option<String>, prefix: &Option<String>) -> Result<Pattern> {
    match (exact, prefix) {
        (Some(exact), None) => Ok(Pattern::Exact(exact.clone())),
        (None, Some(prefix)) => Ok(Pattern::Prefix(prefix.clone())),
        _ => wrong("give one of `exact` and `prefix`"),
    }
}
