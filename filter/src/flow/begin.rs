//! Where an answer begins, and what hangs on it: waiting tokens, times to first byte, probes.
//!
//! An answer begins with the first byte of its body. A stream begins with its first event that
//! carries data ([`crate::answer::OpeningReader`]), as what comes before shows nothing of the
//! endpoint. If that event is an error, the stream counts as an answer of the error's status from
//! there on: its 200 was sent before there was anything to tell.

use crate::answer::{Form, Opening, OpeningReader};
use crate::health::Proof;
use crate::ports::Host;
use crate::values::headers::Headers;

use super::judgement::{judge, pass_probe, verdict};
use super::pool::PoolState;
use super::response::{Origin, ResponseStart};
use super::stream::Placed;
use super::watch::Verdict;
use super::{Stream, Worker};

impl Stream {
    /// Whether [`Stream::on_first_byte`] is due as soon as there is a byte: the answer has not
    /// begun, and is no stream whose opening is still unknown.
    pub fn awaits_first_byte(&self) -> bool {
        self.placed
            .as_ref()
            .is_some_and(|placed| !placed.beginning.begun && placed.beginning.opening.is_none())
    }

    /// The answer has begun, or its stream has failed before it did.
    pub fn on_first_byte(&mut self, worker: &mut Worker, host: &mut dyn Host) {
        let Some(placed) = self.placed.as_mut() else {
            return;
        };
        if std::mem::replace(&mut placed.beginning.begun, true) {
            return;
        }
        placed.beginning.opening = None;
        if std::mem::take(&mut placed.beginning.timed) {
            worker.overdue.leave(self.id);
        }
        let Some(pool) = worker.pools.get_mut(placed.pool.0) else {
            return;
        };
        let waited = std::mem::take(&mut placed.waiting);
        pool.meters.begin(placed.carrier, waited);
        if worker.retired {
            // No tick follows.
            pool.meters.flush_begun(host);
        }
        if let Some(fault) = placed.beginning.fault {
            return fail(placed, pool, fault.status(), host);
        }
        let answered = placed.status.is_some_and(|status| status < 400);
        if answered {
            pass_probe(placed, pool, host);
        }
        if placed.retried || !answered {
            return;
        }
        let now = host.now();
        let ttft = now.since(placed.sent);
        pool.endpoints
            .view_mut()
            .on_first_byte(placed.carrier, ttft, now);
        pool.loads.on_first_byte(placed.carrier, ttft);
        if let Some(meter) = pool.meters.ttft {
            host.record(meter, u64::try_from(ttft.as_millis()).unwrap_or(u64::MAX));
        }
    }

    /// The response's headers have come. The first event of a stream has the rest of the route's
    /// `retry.first_byte`. How long the attempts before the last one took is not known, so after a
    /// retry it has the whole bound.
    pub(super) fn await_opening(&mut self, worker: &mut Worker, host: &mut dyn Host) {
        let placed = self.placed.as_mut();
        let Some(placed) = placed.filter(|placed| placed.beginning.opening.is_some()) else {
            return;
        };
        let route = worker.config.route(placed.route);
        if let Some(bound) = route.and_then(|route| route.retry.first_byte) {
            let since = match placed.retried {
                true => host.now(),
                false => placed.sent,
            };
            placed.beginning.timed = worker.overdue.enter(self.id, since.after(bound));
        }
    }

    /// The stream has not begun within its route's `retry.first_byte`. The request goes on; the
    /// proxy's own time-out ended with the response's headers.
    pub fn on_overdue(&mut self, worker: &mut Worker, host: &mut dyn Host) {
        if let Some(placed) = self.placed.as_mut()
            && let Some(pool) = worker.pools.get_mut(placed.pool.0)
        {
            let verdict = match placed.retried {
                // It may be the request that is at fault.
                true => Verdict::Nothing,
                false => Verdict::Bad(Proof::Unopposed, 0),
            };
            judge(placed, pool, verdict, host);
        }
    }
}

/// The stream's first data is an error, which is an answer of this status.
#[cold]
fn fail(placed: &mut Placed, pool: &mut PoolState, status: u16, host: &mut dyn Host) {
    placed.status = Some(status);
    let start = ResponseStart {
        status,
        attempts: if placed.retried { 2 } else { 1 },
        origin: Origin::Endpoint,
        headers: &Headers::default(),
    };
    if let Some(verdict) = verdict(&start, host) {
        judge(placed, pool, verdict, host);
    }
}

/// What reads the opening of the response that starts so; `None` if it is no stream that can be
/// read.
pub(super) fn opening(start: &ResponseStart<'_>) -> Option<Box<OpeningReader>> {
    let reads = (200..300).contains(&start.status)
        && start.is_readable()
        && start.form() == Some(Form::Events);
    reads.then(Box::default)
}

/// Feeds `piece` of the body to what reads the opening.
pub(super) fn read_opening(placed: &mut Placed, piece: &[u8], end: bool) {
    let Some(reader) = placed.beginning.opening.as_mut() else {
        return;
    };
    let opening = reader.read(piece, end);
    if opening != Opening::Waiting {
        placed.beginning.opening = None;
    }
    if let Opening::Failed(fault) = opening {
        placed.beginning.fault = Some(fault);
    }
}
