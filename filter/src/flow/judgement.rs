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
/// A request that has failed at more than one endpoint says nothing of any of them: it may be the
/// request that is at fault. No connection is a failure all the same, as nothing was looked at.
pub(super) fn verdict(start: &ResponseStart<'_>, host: &mut dyn Host) -> Option<Verdict> {
    let bad = |proof| Some(Verdict::Bad(proof, start.status));
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
        (_, _) if start.attempts > 1 => Some(Verdict::Nothing),
        (Origin::Endpoint, _) => bad(Proof::Unopposed),
        // A prompt that crashes servers resets its connection, too.
        (Origin::Reset | Origin::TimedOut, _) => Some(Verdict::Bad(Proof::Unopposed, 0)),
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
    let now = host.now();
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
/// were tried before it. A proxy retries behind the filter's back and tells only how often.
pub(super) fn follow_retries(
    placed: &mut Placed,
    pool: &mut PoolState,
    start: &ResponseStart<'_>,
    host: &mut dyn Host,
) {
    let failed = (start.attempts as usize).saturating_sub(1);
    if failed == 0 {
        return;
    }
    pool.meters.retries.add(start.attempts.saturating_sub(1));
    // What the first endpoints cost is not the last one's slowness, and how much it was nobody tells.
    placed.retried = true;
    let now = host.now();
    let order = placed.order;
    let served = start.origin == Origin::Endpoint && start.status < 400;
    for (at, endpoint) in order.iter().take(failed).enumerate() {
        let verdict = match served {
            // It failed at the next endpoint, too, or what the answer proves is not known.
            false => Verdict::Nothing,
            // How much the later ones carried when they were tried is not known.
            true if at > 0 && placed.hides.any() => Verdict::Nothing,
            true => Verdict::Hidden(placed.hides),
        };
        // The probe, if there is one, is the first.
        let seen = placed.seen(verdict);
        let endpoints = &mut pool.endpoints;
        pool.watch.judge(endpoint, seen, endpoints, now, host);
    }
    let answered = order.iter().nth(failed);
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
