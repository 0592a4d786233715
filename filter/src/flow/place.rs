//! The decision: from a complete request to an endpoint, or to a refusal.

use std::rc::Rc;

use crate::answer::UsageReader;
use crate::balance::{Ask, Order};
use crate::config::{Config, HashKey, ModelId, PoolId, Readers, RouteId, WhenNoneIsFit};
use crate::health::Caller;
use crate::identity;
use crate::ports::Host;
use crate::report::decision::DroppedBy;
use crate::request::{self, Api, Facts, Limits};
use crate::route::{self, Query, Unfit};
use crate::values::clock::Instant;
use crate::values::headers::Headers;
use crate::values::murmur3::murmur3_32;
use crate::values::units::Tokens;

use super::caller;
use super::forward::forward;
use super::pool::PoolGauges;
use super::quota::{self, EngineAnswer, Reservation, Unreserved, Wanted};
use super::request::{Asked, Asking, Kind};
use super::stream::{Beginning, Learning, Placed};
use super::unplaced::{Need, nowhere};
use super::verdict::{Refusal, Verdict};
use super::{Stream, Worker};

/// A request as rules and balancers look at it.
struct Subject<'a> {
    headers: &'a Headers,
    facts: Option<&'a Facts>,
    /// The model asked for.
    model: Option<&'a str>,
    realtime: bool,
    tenant: Option<&'a str>,
    /// How often the engine was asked for its limits, and what it says.
    limits: (u8, Option<EngineAnswer>),
}

/// What was found for a request.
pub(super) struct Choice {
    pub(super) route: RouteId,
    pub(super) pool: PoolId,
    pub(super) order: Order,
    /// The probe's token, if the first endpoint is asked whether it is back.
    probe: Option<u32>,
    dropped: Vec<(PoolId, DroppedBy)>,
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

impl<'a> Subject<'a> {
    fn new(config: &Config, asked: &'a Asked, facts: Option<&'a Facts>) -> Subject<'a> {
        let (model, realtime) = match &asked.kind {
            Kind::Body(_) => (facts.map(|facts| facts.model.as_str()), false),
            Kind::Realtime(model) => (model.as_deref(), true),
            Kind::Plain => (None, false),
        };
        Subject {
            headers: &asked.headers,
            facts,
            model,
            realtime,
            limits: asked.limits.so_far(),
            tenant: match &asked.caller.tenant {
                Some(proven) => Some(proven),
                None => identity::believed(config, &asked.headers),
            },
        }
    }

    fn query(&self, input: Option<Tokens>) -> Query<'a> {
        let path = self.headers.first(":path").unwrap_or_default();
        Query {
            model: self.model,
            input,
            stream: self.facts.map(|facts| facts.stream),
            realtime: self.realtime,
            path: path.split(|&byte| byte == b'?').next().unwrap_or_default(),
            headers: self.headers,
            tenant: self.tenant,
        }
    }

    /// The key that `consistent_hash` is to hash.
    fn key(&self, from: Option<&HashKey>) -> Option<u64> {
        match from? {
            HashKey::Header(name) => self.headers.first(name).map(key),
            HashKey::Tenant => self.tenant.map(|tenant| key(tenant.as_bytes())),
            HashKey::Prompt => self.facts.map(|facts| facts.prompt_key),
        }
    }
}

fn key(bytes: &[u8]) -> u64 {
    murmur3_32(bytes, 0).into()
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
    let (mut dropped, mut chosen) = (Vec::new(), None);
    for &pool in &route.pools {
        match route::fit(&config, pool, model, need) {
            Err(Unfit::Model) => dropped.push((pool, DroppedBy::Model)),
            Err(Unfit::Window(_)) => dropped.push((pool, DroppedBy::Window)),
            // Endpoints that are tripped and spared serve where no other pool does; here they are
            // probed, or the pool would never be back.
            Ok(()) if is_spared_only(worker, pool) => {
                match pick_probe(worker, pool, route.attempts, now, host) {
                    None => dropped.push((pool, DroppedBy::Endpoints)),
                    Some(found) => {
                        chosen = Some((pool, found));
                        break;
                    }
                }
            }
            Ok(()) => match pick(worker, &config, pool, subject, (route.attempts, now), host) {
                None => dropped.push((pool, DroppedBy::Endpoints)),
                Some(found) => {
                    chosen = Some((pool, found));
                    break;
                }
            },
        }
    }
    if chosen.is_none() {
        let spared = |(pool, by): &(PoolId, DroppedBy)| {
            *by == DroppedBy::Endpoints && is_spared_only(worker, *pool)
        };
        let spared = dropped.iter().position(spared);
        if let Some((at, pool)) = spared.and_then(|at| Some((at, dropped.get(at)?.0))) {
            let found = pick(worker, &config, pool, subject, (route.attempts, now), host);
            chosen = found.map(|found| (pool, found));
            if chosen.is_some() {
                dropped.remove(at);
            }
        }
    }
    if chosen.is_none() && route.when_none_is_fit == WhenNoneIsFit::Panic {
        let unfit = dropped
            .iter()
            .position(|(_, by)| *by == DroppedBy::Endpoints);
        if let Some((pool, _)) = unfit.map(|at| dropped.remove(at)) {
            let order = any(worker, pool, route.attempts, host);
            chosen = order.map(|order| (pool, (order, None)));
        }
    }
    let Some((pool, (order, probe))) = chosen else {
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
    Ok(Choice {
        route: route_id,
        pool,
        order,
        probe,
        dropped,
        alias: alias.map(str::to_owned),
        models: [asked_model, sent_model],
        input,
        caller: caller::known(subject.tenant, &config.identity, subject.headers),
        reserved,
        sent: now,
    })
}

/// Whether all that takes traffic in a pool is tripped.
fn is_spared_only(worker: &Worker, pool: PoolId) -> bool {
    let pool = worker.pools.get(pool.0);
    pool.is_some_and(|pool| pool.watch.is_spared_only())
}

/// The endpoints of `pool` to try, the first of them claimed, and the probe's token if it is one; `None`
/// where none takes traffic.
fn pick(
    worker: &mut Worker,
    config: &Config,
    id: PoolId,
    subject: &Subject<'_>,
    (attempts, now): (usize, Instant),
    host: &mut dyn Host,
) -> Option<(Order, Option<u32>)> {
    let key = subject.key(config.pool(id)?.balance.key.as_ref());
    let pool = worker.pools.get_mut(id.0)?;
    let ask = Ask { key, now, attempts };
    let mut gauges = PoolGauges {
        meters: &pool.meters,
        host,
    };
    let mut order = pool.endpoints.pick(&ask, &mut gauges, &mut worker.rng);
    if let Some(first) = order.first() {
        pool.watch.placed(first, &mut pool.endpoints, now, host);
    }
    let probed = pool.watch.claim_probe(&mut pool.endpoints, now, host);
    if let Some((endpoint, _)) = probed {
        // Whom the balancer chose is tried next if the probe fails, so that its caller need not know.
        if let Some(first) = order.first() {
            pool.endpoints.view_mut().on_release(first);
            pool.meters.release(first, host);
        }
        pool.meters.claim(endpoint, host);
        pool.endpoints.view_mut().on_claim(endpoint);
        order.put_first(endpoint, attempts);
    }
    (!order.is_empty()).then_some((order, probed.map(|(_, token)| token)))
}

/// The endpoint of `pool` that is due for a probe, claimed, and the probe's token.
fn pick_probe(
    worker: &mut Worker,
    id: PoolId,
    attempts: usize,
    now: Instant,
    host: &mut dyn Host,
) -> Option<(Order, Option<u32>)> {
    let pool = worker.pools.get_mut(id.0)?;
    let (endpoint, token) = pool.watch.claim_probe(&mut pool.endpoints, now, host)?;
    pool.meters.claim(endpoint, host);
    pool.endpoints.view_mut().on_claim(endpoint);
    let mut order = Order::default();
    order.push(u32::try_from(endpoint).ok()?, attempts);
    Some((order, Some(token)))
}

/// Endpoints of a pool in which none is fit, the first of them claimed: better one that may fail than none.
/// `None` where the configuration drains them all.
fn any(worker: &mut Worker, id: PoolId, attempts: usize, host: &mut dyn Host) -> Option<Order> {
    let pool = worker.pools.get_mut(id.0)?;
    let order = pool.watch.any(attempts, &mut worker.rng);
    let first = order.first()?;
    pool.meters.claim(first, host);
    pool.endpoints.view_mut().on_claim(first);
    Some(order)
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
    if let Some(pool) = worker.pools.get_mut(choice.pool.0) {
        pool.meters.input_tokens.add(waiting);
        pool.meters.enter(carrier, waiting, host);
    }
    Placed {
        route: choice.route,
        pool: choice.pool,
        carrier,
        waiting,
        probe: choice.probe,
        judged: false,
        in_flight: worker
            .pools
            .get(choice.pool.0)
            .map_or(0, |pool| pool.in_flight(carrier)),
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
