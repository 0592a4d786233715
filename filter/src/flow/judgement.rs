//! What a response says of the endpoints that were tried: how they stand, how loaded they are, who carried it.

use std::time::Duration;

use crate::load::{orca, weight};
use crate::ports::Host;
use crate::values::headers::Headers;

use super::pool::PoolState;
use super::response::{Origin, ResponseStart};
use super::stream::Placed;
use super::watch::{Seen, Verdict};

/// What a response's beginning says of the endpoint; `None` where only its end can tell.
pub(super) fn verdict(start: &ResponseStart<'_>) -> Option<Verdict> {
    match (start.origin, start.status) {
        (Origin::Endpoint, 429 | 503) => Some(Verdict::Overloaded(retry_after(start.headers))),
        (Origin::Endpoint, ..500) | (Origin::Proxy, _) => None,
        (Origin::Endpoint | Origin::ForEndpoint, _) => Some(Verdict::Bad),
    }
}

/// `Retry-After` in seconds. One that names a date is as good as none: it would take the wall clock to read it.
fn retry_after(headers: &Headers) -> Option<Duration> {
    let seconds = headers.first_str("retry-after")?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// Lets the endpoint that carries a request be judged by it, once.
pub(super) fn judge(
    placed: &mut Placed,
    pool: &mut PoolState,
    verdict: Verdict,
    host: &mut dyn Host,
) {
    if std::mem::replace(&mut placed.judged, true) {
        return;
    }
    let now = host.now();
    if verdict == Verdict::Bad {
        pool.endpoints.view_mut().on_failure(placed.carrier, now);
    }
    let seen = Seen {
        verdict,
        probe: placed.probe.take(),
        sent: placed.sent,
    };
    pool.watch
        .judge(placed.carrier, seen, &mut pool.endpoints, now, host);
}

/// A probe passes when its answer begins: answers may take longer than a probe is waited for, and an
/// endpoint that gives no others would never be back. How the answer ends is judged like any other's.
pub(super) fn pass_probe(placed: &mut Placed, pool: &mut PoolState, host: &mut dyn Host) {
    if placed.probe.is_some() {
        judge(placed, pool, Verdict::Good, host);
        placed.judged = false;
    }
}

/// Takes in what the endpoint says of its load.
pub(super) fn read_load(
    endpoint: usize,
    pool: &mut PoolState,
    headers: &Headers,
    host: &mut dyn Host,
) {
    let metrics = headers.first(orca::HEADER);
    let binary = headers.first(orca::HEADER_BIN);
    let named = headers.first(weight::HEADER).and_then(weight::reported);
    if metrics.is_none() && binary.is_none() && named.is_none() {
        return;
    }
    let now = host.now();
    if !pool.loads.wants_report(endpoint, now) {
        return;
    }
    match orca::read(metrics, binary) {
        Some(Ok(report)) => pool.loads.on_report(endpoint, &report, now),
        Some(Err(_)) => pool.meters.refused_reports.add(1),
        None => {}
    }
    if let Some(named) = named {
        pool.loads.on_weight(endpoint, named, now);
    }
}

/// Moves the request in the in-flight counts to the endpoint that answered, and charges those that were
/// tried before it: a proxy retries behind the filter's back and tells only how often.
pub(super) fn follow_retries(
    placed: &mut Placed,
    pool: &mut PoolState,
    attempts: u32,
    host: &mut dyn Host,
) {
    let failed = (attempts as usize).saturating_sub(1);
    if failed == 0 {
        return;
    }
    pool.meters.retries.add(attempts.saturating_sub(1));
    // What the first endpoints cost is not the last one's slowness, and how much it was nobody tells.
    placed.retried = true;
    let now = host.now();
    for endpoint in placed.order.iter().take(failed) {
        // The probe, if there is one, is the first.
        let probe = placed.probe.take();
        pool.endpoints.view_mut().on_failure(endpoint, now);
        let endpoints = &mut pool.endpoints;
        let seen = Seen {
            verdict: Verdict::Bad,
            probe,
            sent: placed.sent,
        };
        pool.watch.judge(endpoint, seen, endpoints, now, host);
    }
    let answered = placed.order.iter().nth(failed);
    match answered.filter(|carrier| *carrier != placed.carrier) {
        Some(carrier) => {
            pool.endpoints.view_mut().on_claim(carrier);
            pool.meters.claim(carrier, host);
            pool.meters.enter(carrier, placed.waiting, host);
            pool.endpoints.view_mut().on_release(placed.carrier);
            pool.meters.leave(placed.carrier, placed.waiting, host);
            placed.carrier = carrier;
        }
        // The list was used up and the proxy went on by itself: whom it found nobody tells.
        None => placed.judged = true,
    }
}
