//! What a response says of the endpoints that were tried: how they stand, how loaded they are, who carried it.

use crate::health::{Proof, retry_after};
use crate::load::{orca, weight};
use crate::ports::Host;
use crate::values::headers::Headers;

use super::pool::PoolState;
use super::response::{Origin, ResponseStart};
use super::stream::Placed;
use super::watch::{Seen, Verdict};

/// What a response's beginning says of the endpoint; `None` where only its end can tell.
///
/// No connection is a failure at any attempt, as nothing was looked at.
pub(super) fn verdict(start: &ResponseStart<'_>, host: &mut dyn Host) -> Option<Verdict> {
    match (start.origin, start.status) {
        (Origin::Proxy, _) => None,
        (Origin::Unreached, _) => Some(Verdict::Bad(Proof::Unreached, 0)),
        (Origin::Endpoint, 429) => {
            Some(Verdict::Limited(retry_after(start.headers, || host.wall())))
        }
        (Origin::Endpoint, status) if is_overload(status) => {
            Some(Verdict::Overloaded(retry_after(start.headers, || {
                host.wall()
            })))
        }
        (Origin::Endpoint, ..500) => None,
        // A prompt that crashes servers resets its connection, too.
        (Origin::Endpoint | Origin::Reset | Origin::TimedOut, _) => Some(failed(start)),
    }
}

/// A failure that was answered or took place at the last endpoint that was tried: if there were
/// others, it may be the request that is at fault.
fn failed(start: &ResponseStart<'_>) -> Verdict {
    let proof = match start.attempts > 1 {
        true => Proof::Alike,
        false => Proof::Unopposed,
    };
    let status = match start.origin {
        Origin::Endpoint => start.status,
        _ => 0,
    };
    Verdict::Bad(proof, status)
}

/// What a response says of the endpoints that were tried before the one that it came from.
fn before_last(start: &ResponseStart<'_>) -> Verdict {
    match (start.origin, start.status) {
        (Origin::Endpoint, ..400) => Verdict::Hidden,
        (Origin::Endpoint, 400..500) => Verdict::Nothing,
        (Origin::Endpoint, status) if is_overload(status) => Verdict::Nothing,
        (Origin::Endpoint | Origin::Reset | Origin::TimedOut, _) => failed(start),
        // No connection to the last one: what the others did is not known.
        (Origin::Unreached | Origin::Proxy, _) => Verdict::Nothing,
    }
}

/// Whether an endpoint that answers so has, or may have, too much to do. 529 is what Anthropic's
/// API answers then.
pub(super) fn is_overload(status: u16) -> bool {
    matches!(status, 429 | 503 | 529)
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
    let now = match verdict {
        // The bucket of a success may be that of the last tick, which saves a call.
        Verdict::Good if placed.probe.is_none() => pool.synced.max(placed.sent),
        _ => host.now(),
    };
    if matches!(verdict, Verdict::Overloaded(_) | Verdict::Limited(_)) {
        // What it carries decides what it is trusted with.
        pool.sync_endpoint(placed.carrier, host);
    }
    let seen = placed.seen(verdict);
    pool.watch
        .judge(placed.carrier, seen, &mut pool.endpoints, now, host);
}

impl Placed {
    /// What it shows of an endpoint; the first of which was probed, if any was.
    fn seen(&mut self, verdict: Verdict) -> Seen {
        Seen {
            verdict,
            probe: self.probe.take(),
            sent: self.sent,
            caller: self.caller,
            in_flight: self.in_flight,
            alone: self.alone,
            hides: self.hides,
        }
    }
}

/// A probe passes when its answer begins: answers may take longer than a probe is waited for, and
/// an endpoint that gives no others would never be back. How the answer ends is judged like any
/// other's.
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

/// Moves the request in the in-flight counts to the endpoint that answered, and judges those that
/// were tried before it. The proxy tells how often it retried, and not why.
pub(super) fn follow_retries(
    placed: &mut Placed,
    pool: &mut PoolState,
    start: &ResponseStart<'_>,
    host: &mut dyn Host,
) {
    let retries = (start.attempts as usize).saturating_sub(1);
    if retries == 0 {
        return;
    }
    pool.meters.retries.add(start.attempts.saturating_sub(1));
    // What the first endpoints cost is not the last one's slowness, and how much it was nobody tells.
    placed.retried = true;
    let now = host.now();
    let order = placed.order;
    for (at, endpoint) in order.iter().take(retries).enumerate() {
        let verdict = match before_last(start) {
            // How much the later ones carried when they were tried is not known.
            Verdict::Hidden if at > 0 && !placed.hides.nothing() => Verdict::Nothing,
            verdict => verdict,
        };
        // The probe, if there is one, is the first.
        let seen = placed.seen(verdict);
        let endpoints = &mut pool.endpoints;
        pool.watch.judge(endpoint, seen, endpoints, now, host);
    }
    let answered = order.iter().nth(retries);
    match answered.filter(|carrier| *carrier != placed.carrier) {
        Some(carrier) => {
            pool.endpoints.view_mut().on_claim(carrier);
            pool.meters.claim(carrier, host);
            pool.meters.enter(carrier, placed.waiting, host);
            pool.endpoints.view_mut().on_release(placed.carrier);
            pool.meters.leave(placed.carrier, placed.waiting, host);
            placed.carrier = carrier;
            pool.sync_endpoint(carrier, host);
            placed.in_flight = pool.in_flight(carrier);
        }
        // The list was used up and the proxy went on by itself: whom it found nobody tells.
        None => placed.judged = true,
    }
}
