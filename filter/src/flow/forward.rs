//! The decision put into words for the proxy: request headers, and a body where the model is renamed.

use crate::request::Facts;
use crate::request::rewrite::{Changes, rewrite};

use super::Worker;
use super::place::Choice;
use super::retries;
use super::verdict::{CLUSTER, DESTINATION, Forward, POOL, WEIGHT};

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
        retries::instruct(&route.retry, choice, streams, &mut headers);
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

/// `items` with commas between them, in one allocation as a rule.
pub(super) fn list<'a>(items: impl Iterator<Item = &'a str>) -> String {
    let mut list = String::with_capacity(64);
    for item in items {
        if !list.is_empty() {
            list.push(',');
        }
        list.push_str(item);
    }
    list
}
