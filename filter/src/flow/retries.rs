//! Retries: upon what Envoy's router tries the next endpoint of an order, and what that hides.

use crate::balance::Order;
use crate::config::{Retry, RetryOn};
use crate::values::clock::Instant;

use super::forward::list;
use super::place::Choice;
use super::pool::PoolState;
use super::verdict::{MAX_RETRIES, RETRIABLE_STATUS, RETRY_ON, TRY_TIMEOUT};

/// What an attempt that was retried may have been, beside a failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Hides {
    /// 503 or 529.
    pub overload: bool,
    /// 429.
    pub limits: bool,
    /// Whether the request is a question: it is retried upon failures only.
    pub asks: bool,
}

impl Hides {
    /// Whether an attempt that was retried was a failure for certain.
    pub fn nothing(self) -> bool {
        self.asks || !(self.overload || self.limits)
    }
}

/// What a retry of the request that is placed by `order` hides of its first endpoint.
///
/// Overload is tried at the next endpoints only where these have room to spare. Near their bounds
/// they would refuse it as well. Envoy sends it there without a claim, so it would also show as a
/// refusal of fewer requests than they carry.
pub(super) fn hides(
    pool: &mut PoolState,
    order: &Order,
    is_probe: bool,
    retry: &Retry,
    now: Instant,
) -> Hides {
    let mut endpoints = order.iter();
    let Some(first) = endpoints.next().filter(|_| order.len() > 1) else {
        return Hides::default();
    };
    let view = pool.endpoints.view();
    let hides = Hides {
        overload: retry.on.contains(&RetryOn::Overloaded)
            && endpoints.all(|next| view.has_room_to_spare(next)),
        limits: retry.on.contains(&RetryOn::TooManyRequests),
        asks: false,
    };
    Hides {
        asks: !hides.nothing() && !is_probe && pool.watch.asks(first, now),
        ..hides
    }
}

/// Tells the proxy when to try the next endpoint of the order, and not to go on once it is used up.
pub(super) fn instruct(
    retry: &Retry,
    choice: &Choice,
    streams: bool,
    headers: &mut Vec<(&'static str, String)>,
) {
    let retried = retry.on.iter().filter(|on| match on {
        RetryOn::Overloaded => choice.hides.overload && !choice.hides.asks,
        RetryOn::TooManyRequests => choice.hides.limits && !choice.hides.asks,
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
