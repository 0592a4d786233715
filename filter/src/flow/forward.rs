//! The decision put into words for the proxy: request headers, and a body where the model is renamed.

use crate::config::{Retry, RetryOn};
use crate::request::Facts;
use crate::request::rewrite::{Changes, rewrite};

use super::Worker;
use super::place::Choice;
use super::verdict::{
    CLUSTER, DESTINATION, Forward, MAX_RETRIES, POOL, RETRIABLE_STATUS, RETRY_ON, TRY_TIMEOUT,
    WEIGHT,
};

/// What to tell the proxy, and whether usage is asked for on the caller's behalf. The headers `withheld` do not leave.
pub(super) fn forward(
    worker: &Worker,
    choice: &Choice,
    withheld: Vec<String>,
    body: &[u8],
    facts: Option<&Facts>,
) -> (Forward, bool) {
    let mut headers = Vec::with_capacity(8);
    let pool = worker
        .config
        .pool(choice.pool)
        .zip(worker.pools.get(choice.pool.0));
    if let Some((config, state)) = pool {
        let view = state.endpoints.view();
        let addresses = choice.order.iter().filter_map(|at| view.address(at));
        let weight = choice.order.first().map(|first| state.watch.weight(first));
        headers.push((DESTINATION, list(addresses)));
        headers.push((CLUSTER, config.cluster.clone()));
        headers.push((POOL, config.name.clone()));
        headers.push((WEIGHT, weight.unwrap_or_default().to_string()));
    }
    let route = worker.config.route(choice.route);
    if let Some(route) = route {
        let streams = facts.is_some_and(|facts| facts.stream);
        retries(&route.retry, choice, streams, &mut headers);
    }
    let changes = Changes {
        model: choice.alias.as_deref(),
        usage: route.is_some_and(|route| route.stream_usage),
    };
    let rewritten = facts
        .filter(|_| changes.any())
        .and_then(|facts| rewrite(body, facts, changes));
    let (body, asks) = rewritten.unzip();
    if let Some(body) = &body {
        headers.push(("content-length", body.len().to_string()));
    }
    let asks = asks.unwrap_or_default();
    if asks || choice.reserved.is_some() {
        // What is compressed cannot be read, and the answer must be.
        headers.push(("accept-encoding", "identity".to_owned()));
    }
    let forward = Forward {
        headers,
        removed: withheld,
        body,
    };
    (forward, asks)
}

/// Tells the proxy when to try the next endpoint of the order, and not to go on once it is used up.
fn retries(
    retry: &Retry,
    choice: &Choice,
    streams: bool,
    headers: &mut Vec<(&'static str, String)>,
) {
    let retried = retry.on.iter().filter(|on| match on {
        RetryOn::Overloaded => choice.hides.overload,
        RetryOn::TooManyRequests => choice.hides.limits,
        _ => true,
    });
    let statuses = list(retried.filter_map(|on| statuses(*on)));
    let listed = (!statuses.is_empty()).then_some("retriable-status-codes");
    // To Envoy a connection that fails and a stream that is refused are resets as well.
    let resets = retry.on.contains(&RetryOn::Reset);
    let on = retry
        .on
        .iter()
        .filter(|on| !resets || **on == RetryOn::Reset);
    let on = on.filter_map(|on| reason(*on));
    headers.push((RETRY_ON, list(on.chain(listed))));
    let others = choice.order.len().saturating_sub(1);
    headers.push((MAX_RETRIES, others.to_string()));
    if listed.is_some() {
        headers.push((RETRIABLE_STATUS, statuses));
    }
    let patience = if streams {
        retry.first_byte
    } else {
        retry.answer
    };
    if let Some(patience) = patience {
        headers.push((TRY_TIMEOUT, patience.as_millis().to_string()));
    }
}

/// `items` with commas between them, in one allocation as a rule.
fn list<'a>(items: impl Iterator<Item = &'a str>) -> String {
    let mut list = String::with_capacity(64);
    for item in items {
        if !list.is_empty() {
            list.push(',');
        }
        list.push_str(item);
    }
    list
}

/// Envoy's name for what brings no status.
fn reason(on: RetryOn) -> Option<&'static str> {
    match on {
        RetryOn::ConnectFailure => Some("connect-failure"),
        RetryOn::RefusedStream => Some("refused-stream"),
        RetryOn::Reset => Some("reset"),
        RetryOn::ServerError | RetryOn::Overloaded | RetryOn::TooManyRequests => None,
    }
}

/// Statuses by number: what Envoy calls `5xx` has 503 in it.
fn statuses(on: RetryOn) -> Option<&'static str> {
    match on {
        RetryOn::ServerError => Some("500,501,502,504"),
        RetryOn::Overloaded => Some("503,529"),
        RetryOn::TooManyRequests => Some("429"),
        RetryOn::ConnectFailure | RetryOn::RefusedStream | RetryOn::Reset => None,
    }
}
