//! A response's way out: who answered, how soon, what it used, and the end.

use crate::config::Config;
use crate::ports::Host;
use crate::report::decision::Decision;
use crate::report::metrics::StatusClass;

use super::stream::Placed;
use super::worker::PoolState;
use super::{Stream, Worker};

/// What the proxy tells of a response's beginning.
#[derive(Clone, Copy, Debug)]
pub struct ResponseStart {
    /// The status.
    pub status: u16,
    /// How many endpoints were tried, this one included; 1 where the proxy does not tell.
    pub attempts: u32,
    /// Whether the proxy itself made the response, for reasons of its own: it says nothing of an endpoint.
    pub by_proxy: bool,
}

impl Stream {
    /// The response's headers are there. Returns the decision, for a caller who may see it.
    pub fn on_response_headers(
        &mut self,
        worker: &mut Worker,
        start: ResponseStart,
        host: &mut dyn Host,
    ) -> Option<String> {
        let placed = self.placed.as_mut()?;
        let pool = worker.pools.get_mut(placed.pool.0)?;
        placed.status = Some(start.status);
        placed.learning.take_if(|_| start.status >= 300);
        if !start.by_proxy {
            follow_retries(placed, pool, start.attempts, host);
            if start.status >= 500 {
                let now = host.now();
                pool.endpoints.view_mut().on_failure(placed.carrier, now);
            }
        }
        self.shown
            .then(|| decision(&worker.config, placed, start.attempts))
            .flatten()
    }

    /// Whether the request was sent to an endpoint, and has not ended.
    pub fn is_placed(&self) -> bool {
        self.placed.is_some()
    }

    /// Whether the next piece of the response's body is wanted, bytes and all.
    pub fn wants_response_body(&self) -> bool {
        self.placed
            .as_ref()
            .is_some_and(|placed| placed.learning.is_some())
    }

    /// Whether the next piece of the response's body is the first.
    pub fn awaits_first_byte(&self) -> bool {
        self.placed.as_ref().is_some_and(|placed| !placed.begun)
    }

    /// The first byte of the response's body has come.
    pub fn on_first_byte(&mut self, worker: &mut Worker, host: &mut dyn Host) {
        let Some(placed) = self.placed.as_mut() else {
            return;
        };
        placed.begun = true;
        let Some(pool) = worker.pools.get_mut(placed.pool.0) else {
            return;
        };
        let answered = placed.status.is_some_and(|status| status < 400);
        let Some(dispatched) = placed.dispatched.filter(|_| answered) else {
            return;
        };
        let now = host.now();
        let ttft = now.since(dispatched);
        pool.endpoints
            .view_mut()
            .on_first_byte(placed.carrier, ttft, now);
        if let Some(meter) = pool.meters.ttft {
            host.record(meter, u64::try_from(ttft.as_millis()).unwrap_or(u64::MAX));
        }
    }

    /// The response has come to its own end.
    pub fn on_response_complete(&mut self) {
        if let Some(placed) = self.placed.as_mut() {
            placed.complete = true;
        }
    }

    /// A piece of the response's body could not be read: what is left of it would mislead.
    pub fn on_unreadable_response(&mut self) {
        if let Some(placed) = self.placed.as_mut() {
            placed.learning = None;
        }
    }

    /// A piece of the response's body, in order, that [`Stream::wants_response_body`] asked for.
    pub fn on_response_body(&mut self, piece: &[u8]) {
        if let Some(learning) = self
            .placed
            .as_mut()
            .and_then(|placed| placed.learning.as_mut())
        {
            learning.usage.feed(piece);
        }
    }

    /// The stream is over, in whatever way. A second call does nothing.
    pub fn on_end(&mut self, worker: &mut Worker, host: &mut dyn Host) {
        self.asked = None;
        if let Some(placed) = self.placed.take() {
            settle(placed, worker, host);
        }
        worker.on_stream_end(host);
    }
}

/// Takes a request that was placed out of all counts, and learns what it has shown.
fn settle(placed: Placed, worker: &mut Worker, host: &mut dyn Host) {
    if let Some(pool) = worker.pools.get_mut(placed.pool.0) {
        pool.endpoints.view_mut().on_release(placed.carrier);
        pool.meters.release(placed.carrier, host);
        pool.meters
            .count_request(StatusClass::of(placed.status, placed.complete));
        if placed.complete && placed.status.is_some_and(|status| status < 500) {
            pool.endpoints.view_mut().on_answer(placed.carrier);
        }
    }
    let Some(learning) = placed.learning else {
        return;
    };
    if let Some(actual) = learning.usage.prompt_tokens() {
        for model in learning.models.into_iter().flatten() {
            worker.estimator.learn(model.0, learning.estimated, actual);
        }
    }
}

/// Moves the request in the in-flight counts to the endpoint that answered, and charges those that were
/// tried before it: a proxy retries behind the filter's back and tells only how often.
fn follow_retries(placed: &mut Placed, pool: &mut PoolState, attempts: u32, host: &mut dyn Host) {
    let failed = (attempts as usize).saturating_sub(1);
    if failed == 0 {
        return;
    }
    pool.meters.retries.add(attempts.saturating_sub(1));
    // What the first endpoints cost is not the last one's slowness, and how much it was nobody tells.
    placed.dispatched = None;
    let now = host.now();
    for endpoint in placed.order.iter().take(failed) {
        pool.endpoints.view_mut().on_failure(endpoint, now);
    }
    if let Some(carrier) = placed
        .order
        .iter()
        .nth(failed)
        .filter(|carrier| *carrier != placed.carrier)
    {
        pool.endpoints.view_mut().on_claim(carrier);
        pool.meters.claim(carrier, host);
        pool.endpoints.view_mut().on_release(placed.carrier);
        pool.meters.release(placed.carrier, host);
        placed.carrier = carrier;
    }
}

fn decision(config: &Config, placed: &Placed, attempts: u32) -> Option<String> {
    let pool = config.pool(placed.pool)?;
    let dropped: Vec<_> = placed
        .dropped
        .iter()
        .filter_map(|(id, by)| Some((config.pool(*id)?.name.as_str(), *by)))
        .collect();
    let endpoint = pool.endpoints.get(placed.carrier)?;
    let decision = Decision {
        rule: &config.route(placed.route)?.name,
        pool: &pool.name,
        endpoint: endpoint.address,
        zone: endpoint.zone.as_deref(),
        attempt: attempts,
        input: placed.input,
        output: placed.output,
        dropped: &dropped,
    };
    Some(decision.to_string())
}
