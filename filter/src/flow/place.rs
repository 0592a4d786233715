//! The decision: from a complete request to an endpoint, or to a refusal.

use std::rc::Rc;

use crate::answer::UsageReader;
use crate::balance::Order;
use crate::config::{Config, ModelId, PoolId, Readers, RouteId};
use crate::health::Caller;
use crate::ports::Host;
use crate::request::{self, Api, Facts, Limits};
use crate::route;
use crate::values::clock::Instant;
use crate::values::units::Tokens;

use super::caller;
use super::forward::forward;
use super::pick::{Dropped, Found, Picking, pick};
use super::quota::{self, Reservation, Unreserved, Wanted};
use super::request::{Asked, Asking, Kind};
use super::retries::{self, Hides};
use super::stream::{Beginning, Learning, Placed};
use super::subject::Subject;
use super::unplaced::{Need, nowhere};
use super::verdict::{Refusal, Verdict};
use super::{Stream, Worker};

/// What was found for a request.
pub(super) struct Choice {
    pub(super) route: RouteId,
    pub(super) pool: PoolId,
    pub(super) order: Order,
    /// What a retry hides, beside failures.
    pub(super) hides: Hides,
    /// The probe's token, if the first endpoint is asked whether it is back.
    probe: Option<u32>,
    dropped: Vec<Dropped>,
    /// What the model is called upstream, where that differs.
    pub(super) alias: Option<String>,
    /// The model as asked for and as sent, where they are known.
    models: [Option<ModelId>; 2],
    input: Option<Tokens>,
    caller: Option<Caller>,
    /// What limits it has taken from.
    pub(super) reserved: Option<Box<Reservation>>,
    sent: Instant,
}

impl Stream {
    /// Decides a complete request.
    pub(super) fn decide(
        &mut self,
        worker: &mut Worker,
        mut asked: Asked,
        body: &[u8],
        host: &mut dyn Host,
    ) -> Verdict {
        if let Err(refusal) = caller::settle(&asked.caller, &worker.config.identity, body) {
            return worker.refuse(refusal, host);
        }
        let facts = match asked.kind {
            Kind::Body(api) => match facts(&worker.config, api, body) {
                Ok(facts) => Some(facts),
                Err(refusal) => return worker.refuse(refusal, host),
            },
            Kind::Realtime(_) | Kind::Plain => None,
        };
        let subject = Subject::new(&worker.config, &asked, facts.as_ref());
        self.shown = may_see_decisions(&worker.config, subject.tenant);
        match choose(worker, self.id, &subject, host) {
            Ok(choice) => {
                let withheld = caller::withheld(&asked.caller, &worker.config, &asked.headers);
                let (forward, asks) = forward(worker, &choice, withheld, body, facts.as_ref());
                let mut placed = placed(worker, choice, facts.as_ref(), asks, host);
                placed.connects = asked.connects;
                self.placed = Some(placed);
                Verdict::Forward(forward)
            }
            Err(Unreserved::Refused(refusal)) => worker.refuse(refusal, host),
            Err(Unreserved::Waits) => {
                let (questions, _) = asked.limits.so_far();
                asked.limits = Asking::Waits(questions.saturating_add(1));
                self.hold(asked, worker, host)
            }
        }
    }
}

fn facts(config: &Config, api: Api, body: &[u8]) -> Result<Facts, Refusal> {
    let limits = Limits {
        prefix_bytes: config.prompt_key_bytes,
    };
    request::read(api, body, &limits).map_err(|error| Refusal::body(&error))
}

fn may_see_decisions(config: &Config, tenant: Option<&str>) -> bool {
    match &config.decision_readers {
        Readers::Nobody => false,
        Readers::Everybody => true,
        Readers::Tenants(readers) => {
            tenant.is_some_and(|tenant| readers.iter().any(|reader| reader == tenant))
        }
    }
}

/// Rule, pools in their order, endpoint.
fn choose(
    worker: &mut Worker,
    stream: u32,
    subject: &Subject<'_>,
    host: &mut dyn Host,
) -> Result<Choice, Unreserved> {
    let config = Rc::clone(&worker.config);
    let estimate = |worker: &Worker, model: Option<ModelId>| {
        subject
            .facts
            .map(|facts| worker.estimator.tokens(model.map(|id| id.0), &facts.text))
    };
    let asked_model = subject.model.and_then(|model| config.model(model));
    let asked_input = estimate(worker, asked_model);
    let rule = route::rule(&config, &subject.query(asked_input));
    let (route_id, route) = rule.ok_or_else(|| {
        subject
            .model
            .map_or_else(Refusal::no_route, Refusal::no_model)
    })?;

    // A session names its model in its path, which no alias rewrites.
    let body_model = subject.facts.map(|facts| facts.model.as_str());
    let alias = body_model.and_then(|model| route.alias_of(model));
    let model = alias.or(subject.model);
    let sent_model = model.and_then(|model| config.model(model));
    let input = match sent_model == asked_model {
        true => asked_input,
        false => estimate(worker, sent_model),
    };
    let output = subject.facts.and_then(|facts| facts.max_output);
    let need = input.map(|input| input.saturating_add(output.unwrap_or_default()));

    let now = host.now();
    let caller = caller::known(subject.tenant, &config.identity, subject.headers);
    let reserved = match worker.quotas {
        None => None,
        Some(_) => {
            let (questions, answer) = subject.limits;
            let wanted = Wanted {
                stream,
                questions,
                answer,
                query: subject.query(asked_input),
                model,
                route: &route.name,
                facts: subject.facts,
                input,
            };
            quota::reserve(worker, &wanted, now, host)?
        }
    };
    let picking = Picking {
        config: &config,
        route,
        subject,
        model,
        need,
        caller,
        now,
    };
    let (found, dropped) = pick(worker, &picking, host);
    let Some(Found { pool, order, probe }) = found else {
        quota::abandon(worker, reserved, host);
        let need = Need {
            model,
            input,
            output,
            shown: may_see_decisions(&config, subject.tenant),
        };
        let refusal = nowhere(worker, &dropped, &need, now);
        return Err(refusal.into());
    };
    let chosen = worker.pools.get_mut(pool.0);
    let hides = chosen.map(|pool| retries::hides(pool, &order, probe.is_some(), &route.retry, now));
    Ok(Choice {
        route: route_id,
        pool,
        order,
        hides: hides.unwrap_or_default(),
        probe,
        dropped,
        alias: alias.map(str::to_owned),
        models: [asked_model, sent_model],
        input,
        caller,
        reserved,
        sent: now,
    })
}

/// What is kept of the decision until the response has ended; `asks` tells whether usage is asked for on the
/// caller's behalf.
fn placed(
    worker: &mut Worker,
    choice: Choice,
    facts: Option<&Facts>,
    asks: bool,
    host: &mut dyn Host,
) -> Placed {
    let carrier = choice.order.first().unwrap_or_default();
    let waiting = choice.input.map_or(0, |input| input.0);
    let (mut in_flight, mut alone) = (0, false);
    if let Some(pool) = worker.pools.get_mut(choice.pool.0) {
        pool.meters.input_tokens.add(waiting);
        pool.meters.enter(carrier, waiting, host);
        // Few requests need the exact count, and reading it is a call.
        let counts = pool.watch.is_doubted(carrier, choice.sent);
        if counts {
            pool.sync_endpoint(carrier, host);
        }
        in_flight = pool.in_flight(carrier);
        alone = counts && in_flight <= 1;
    }
    Placed {
        route: choice.route,
        pool: choice.pool,
        carrier,
        waiting,
        probe: choice.probe,
        judged: false,
        in_flight,
        alone,
        hides: choice.hides,
        caller: choice.caller,
        order: choice.order,
        sent: choice.sent,
        retried: false,
        input: choice.input,
        output: facts.and_then(|facts| facts.max_output),
        several: facts.is_some_and(|facts| facts.answers > 1),
        dropped: choice.dropped,
        reserved: choice.reserved,
        unasked_usage: asks,
        relay: None,
        connects: false,
        learning: facts.and_then(|facts| learning(worker, facts, choice.models)),
        status: None,
        beginning: Beginning::default(),
        complete: false,
    }
}

/// Whether this response's `usage` is read. A worker reads them all until it knows a model, then a
/// sixteenth: reading costs a copy of every chunk, and a model's tokenizer does not change.
fn learning(worker: &mut Worker, facts: &Facts, models: [Option<ModelId>; 2]) -> Option<Learning> {
    const KNOWN_AFTER: u32 = 64;
    const THEN_ONE_IN: usize = 16;
    // Token ids are counted, not estimated, and what an image is worth says nothing of text.
    // A stream of several answers may tell of one prompt among several.
    let partial = facts.stream && facts.answers > 1;
    if facts.text.ids > 0 || facts.text.images > 0 || partial {
        return None;
    }
    let sent = models[1]?;
    let known = worker.estimator.samples(sent.0) >= KNOWN_AFTER;
    (!known || worker.rng.below(THEN_ONE_IN) == 0).then(|| Learning {
        models: if models[0] == models[1] {
            [None, Some(sent)]
        } else {
            models
        },
        estimated: worker.estimator.tokens(None, &facts.text),
        usage: UsageReader::default(),
    })
}
