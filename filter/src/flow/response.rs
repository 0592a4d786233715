//! A response's way out: who answered, how soon, what it used, and the end.

use crate::answer::{Form, Relay};
use crate::config::Config;
use crate::health::Proof;
use crate::ports::Host;
use crate::report::decision::Decision;
use crate::report::metrics::StatusClass;
use crate::values::headers::Headers;

use super::begin;
use super::judgement::{follow_retries, judge, read_load, verdict};
use super::quota::{self, Answer};
use super::stream::Placed;
use super::verdict::DECISION;
use super::watch::Verdict;
use super::{Stream, Worker};

/// What the proxy tells of a response's beginning.
#[derive(Clone, Copy, Debug)]
pub struct ResponseStart<'a> {
    /// The status.
    pub status: u16,
    /// How many endpoints were tried, this one included; 1 where the proxy does not tell.
    pub attempts: u32,
    /// Who made it.
    pub origin: Origin,
    /// Its headers.
    pub headers: &'a Headers,
}

impl ResponseStart<'_> {
    /// Whether its body comes from the endpoint as it was written there.
    pub(super) fn is_readable(&self) -> bool {
        self.origin == Origin::Endpoint && self.headers.first("content-encoding").is_none()
    }

    /// What its body is, by its `content-type`.
    pub(super) fn form(&self) -> Option<Form> {
        Form::of(self.headers.first("content-type").unwrap_or_default())
    }

    /// Whether it opens a tunnel for a request that asked for one: 101, or 2xx to `CONNECT`.
    fn opens_tunnel(&self, connects: bool) -> bool {
        let opens = match self.status {
            101 => true,
            200..300 => connects,
            _ => false,
        };
        opens && self.origin == Origin::Endpoint
    }
}

/// Who made a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The endpoint.
    Endpoint,
    /// The proxy, as it got no connection to the last endpoint that it tried.
    Unreached,
    /// The proxy, as the last endpoint that it tried reset the request.
    Reset,
    /// The proxy, as the last endpoint that it tried took too long.
    TimedOut,
    /// The proxy, for reasons of its own: it says nothing of an endpoint.
    Proxy,
}

/// Who ended a stream whose response had begun and was not complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedBy {
    /// The client left, or nobody can tell.
    Client,
    /// The endpoint, or the way to it.
    Endpoint,
}

impl Stream {
    /// The response's headers are there. Returns what the client gets beside them: what is left of its limits, and the
    /// decision if it may see it.
    pub fn on_response_headers(
        &mut self,
        worker: &mut Worker,
        start: ResponseStart<'_>,
        host: &mut dyn Host,
    ) -> Vec<(&'static str, String)> {
        let Some(placed) = self.placed.as_mut() else {
            return Vec::new();
        };
        let told = quota::on_response(worker, placed, &start, host);
        let Some(pool) = worker.pools.get_mut(placed.pool.0) else {
            return told;
        };
        placed.status = Some(start.status);
        placed.learning.take_if(|_| start.status >= 300);
        let counts = placed
            .reserved
            .as_ref()
            .is_some_and(|reserved| reserved.counts());
        if placed.unasked_usage || counts {
            placed.relay = relay(&start, placed);
        }
        placed.beginning.opening = begin::opening(&start);
        let tunnel = start.opens_tunnel(placed.connects);
        if start.origin != Origin::Proxy {
            follow_retries(placed, pool, &start, host);
            if let Some(verdict) = verdict(&start, host) {
                judge(placed, pool, verdict, host);
            }
        }
        if tunnel {
            // Its end says nothing: Envoy tells of none, and a session may be closed by either
            // side.
            placed.complete = true;
            judge(placed, pool, Verdict::Good, host);
        }
        if start.origin == Origin::Endpoint {
            read_load(placed.carrier, pool, start.headers, host);
        }
        let decision = self
            .shown
            .then(|| decision(&worker.config, placed, start.attempts))
            .flatten();
        let decision = decision.map(|decision| (DECISION, decision));
        match tunnel {
            true => self.on_first_byte(worker, host),
            false => self.await_opening(worker, host),
        }
        told.into_iter().chain(decision).collect()
    }

    /// Whether the request was sent to an endpoint, and has not ended.
    pub fn is_placed(&self) -> bool {
        self.placed.is_some()
    }

    /// Whether the next piece of the response's body is wanted, bytes and all.
    pub fn wants_response_body(&self) -> bool {
        self.placed.as_ref().is_some_and(Placed::reads_response)
    }

    /// Whether the response's body may be changed on its way: then its length is not what its headers say.
    pub fn changes_response_body(&self) -> bool {
        let relay = self
            .placed
            .as_ref()
            .and_then(|placed| placed.relay.as_ref());
        relay.is_some_and(|relay| relay.changes())
    }

    /// The response has come to its own end.
    pub fn on_response_complete(&mut self) {
        if let Some(placed) = self.placed.as_mut() {
            placed.complete = true;
        }
    }

    /// A piece of the response's body could not be read: what is left of it would mislead. Returns what was held
    /// back of the pieces before, which belongs before this one.
    pub fn on_unreadable_response(&mut self) -> Option<Vec<u8>> {
        let placed = self.placed.as_mut()?;
        placed.learning = None;
        placed.beginning.opening = None;
        let held = placed.relay.take()?.give_up();
        (!held.is_empty()).then_some(held)
    }

    /// A piece of the response's body, in order, that [`Stream::wants_response_body`] asked for; the last one, which may
    /// be empty, if it is the `end`. Returns what the client gets in its place, if that is something else.
    pub fn on_response_body(&mut self, piece: &[u8], end: bool) -> Option<Vec<u8>> {
        let placed = self.placed.as_mut()?;
        begin::read_opening(placed, piece, end);
        if let Some(relay) = placed.relay.as_mut() {
            let instead = relay.pass(piece, end);
            if let Some(reserved) = placed.reserved.as_mut() {
                reserved.on_piece();
            }
            return instead;
        }
        if let Some(learning) = placed.learning.as_mut() {
            learning.usage.feed(piece);
        }
        None
    }

    /// Whether [`Stream::on_due`] is wanted, for what the last piece of the body brought.
    pub fn is_due(&self) -> bool {
        let Some(placed) = &self.placed else {
            return false;
        };
        let both = placed.reserved.as_ref().zip(placed.relay.as_ref());
        both.is_some_and(|(reserved, relay)| reserved.is_due(&relay.relayed()))
    }

    /// Charges limits for what was relayed beyond what was reserved, and keeps what is reserved from being given up
    /// for lost.
    pub fn on_due(&mut self, worker: &mut Worker, host: &mut dyn Host) {
        if let Some(placed) = self.placed.as_mut()
            && let Some((reserved, relay)) = placed.reserved.as_mut().zip(placed.relay.as_ref())
        {
            quota::charge(worker, reserved, &relay.relayed(), host);
        }
    }

    /// Whether the response has begun and not come to its end: then [`Stream::on_end`] wants to know by whom.
    pub fn is_cut(&self) -> bool {
        self.placed
            .as_ref()
            .is_some_and(|placed| placed.status.is_some() && !placed.complete)
    }

    /// The stream is over, in whatever way. A second call does nothing.
    pub fn on_end(&mut self, worker: &mut Worker, by: EndedBy, host: &mut dyn Host) {
        self.asked = None;
        if let Some(bearers) = &mut worker.bearers {
            bearers.leave(self.id);
        }
        if let Some(quotas) = &mut worker.quotas {
            quotas.leave(self.id);
        }
        if let Some(placed) = self.placed.take() {
            if placed.beginning.timed {
                worker.overdue.leave(self.id);
            }
            settle(placed, worker, by, host);
        }
        worker.on_stream_end(host);
    }
}

/// Takes a request that was placed out of all counts, and learns what it has shown.
fn settle(mut placed: Placed, worker: &mut Worker, by: EndedBy, host: &mut dyn Host) {
    if let Some(pool) = worker.pools.get_mut(placed.pool.0) {
        pool.endpoints.view_mut().on_release(placed.carrier);
        pool.meters.leave(placed.carrier, placed.waiting, host);
        pool.meters
            .count_request(StatusClass::of(placed.status, placed.complete));
        match placed.status {
            Some(..400) if placed.complete => judge(&mut placed, pool, Verdict::Good, host),
            Some(..400) if by == EndedBy::Endpoint => {
                judge(&mut placed, pool, Verdict::Bad(Proof::Unopposed, 0), host);
            }
            // What a client got wrong shows that the endpoint lives, which is all that a probe asks.
            Some(400..500) if placed.probe.is_some() => {
                judge(&mut placed, pool, Verdict::Good, host);
            }
            _ if placed.probe.is_some() => judge(&mut placed, pool, Verdict::Nothing, host),
            _ => {}
        }
        if placed.complete && placed.status.is_some_and(|status| status < 500) {
            pool.endpoints.view_mut().on_answer(placed.carrier);
        }
    }
    if placed.reserved.is_some() {
        let answer = match (placed.status, &placed.relay) {
            (None, _) => Answer::None,
            (Some(_), None) => Answer::Unread,
            (Some(_), Some(relay)) => Answer::Relayed(relay.relayed()),
        };
        quota::settle(worker, placed.reserved, answer, host);
    }
    // What the end would have corrected teaches nothing: anybody could leave before it.
    let Some(learning) = placed.learning.filter(|_| placed.complete) else {
        return;
    };
    let relayed = placed.relay.and_then(|relay| relay.relayed().usage);
    let metered = relayed.and_then(|usage| usage.input);
    if let Some(actual) = metered.or(learning.usage.prompt_tokens()) {
        for model in learning.models.into_iter().flatten() {
            worker.estimator.learn(model.0, learning.estimated, actual);
        }
    }
}

/// What counts a response for its limits, and takes the usage out of a stream that was not asked for.
#[cold]
#[inline(never)]
fn relay(start: &ResponseStart<'_>, placed: &Placed) -> Option<Box<Relay>> {
    let counting = placed
        .reserved
        .as_ref()
        .filter(|reserved| reserved.counts());
    let form = start
        .form()
        .filter(|form| *form == Form::Events || counting.is_some())?;
    if start.status >= 300 || !start.is_readable() {
        return None;
    }
    let mut relay = Relay::new(form);
    if placed.several {
        relay = relay.of_several();
    }
    if placed.unasked_usage {
        relay = relay.without_usage();
    }
    if let Some(budget) = counting.and_then(|reserved| reserved.budget()) {
        relay = relay.within(budget);
    }
    Some(Box::new(relay))
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
