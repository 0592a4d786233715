//! The pools of a rule in their order, and the endpoint that takes the request.

use crate::balance::{Ask, Order};
use crate::config::{Config, PoolId, Route, WhenNoneIsFit};
use crate::health::Caller;
use crate::ports::Host;
use crate::report::decision::DroppedBy;
use crate::route::{self, Unfit};
use crate::values::clock::Instant;
use crate::values::units::Tokens;

use super::Worker;
use super::pool::PoolGauges;
use super::subject::Subject;

/// What an endpoint is picked by.
pub(super) struct Picking<'a> {
    pub(super) config: &'a Config,
    pub(super) route: &'a Route,
    pub(super) subject: &'a Subject<'a>,
    /// The model as it is sent.
    pub(super) model: Option<&'a str>,
    /// Tokens of prompt and answer.
    pub(super) need: Option<Tokens>,
    /// The caller, if the headers name one.
    pub(super) caller: Option<Caller>,
    pub(super) now: Instant,
}

/// Endpoints to try, the first of them claimed.
pub(super) struct Found {
    pub(super) pool: PoolId,
    pub(super) order: Order,
    /// The probe's token, if the first endpoint is asked whether it is back.
    pub(super) probe: Option<u32>,
}

/// A pool that does not take a request, and why.
pub(super) type Dropped = (PoolId, DroppedBy);

/// Where a request goes, if any pool takes it, and the pools that were passed over.
pub(super) fn pick(
    worker: &mut Worker,
    picking: &Picking<'_>,
    host: &mut dyn Host,
) -> (Option<Found>, Vec<Dropped>) {
    let mut dropped = Vec::new();
    for &pool in &picking.route.pools {
        match route::fit(picking.config, pool, picking.model, picking.need) {
            Err(Unfit::Model) => dropped.push((pool, DroppedBy::Model)),
            Err(Unfit::Window(_)) => dropped.push((pool, DroppedBy::Window)),
            Ok(()) => {
                // Endpoints that are tripped and spared serve where no other pool does; before that
                // they are probed, or the pool would never be back.
                let found = match is_spared_only(worker, pool) {
                    true => probe(worker, pool, picking, host),
                    false => balance(worker, pool, picking, host),
                };
                match found {
                    Some(found) => return (Some(found), dropped),
                    None => dropped.push((pool, DroppedBy::Endpoints)),
                }
            }
        }
    }
    let found = last_resort(worker, picking, &mut dropped, host);
    (found, dropped)
}

/// Where no pool takes the request: endpoints that are spared, else any in panic.
fn last_resort(
    worker: &mut Worker,
    picking: &Picking<'_>,
    dropped: &mut Vec<Dropped>,
    host: &mut dyn Host,
) -> Option<Found> {
    let is_unfit = |(_, by): &&Dropped| *by == DroppedBy::Endpoints;
    let unfit: Vec<PoolId> = dropped
        .iter()
        .filter(is_unfit)
        .map(|(pool, _)| *pool)
        .collect();
    let spared = unfit.iter().find(|pool| is_spared_only(worker, **pool));
    let found = spared.and_then(|pool| balance(worker, *pool, picking, host));
    let panics = picking.route.when_none_is_fit == WhenNoneIsFit::Panic;
    let found = found.or_else(|| match unfit.first() {
        Some(first) if panics => any(worker, *first, picking, host),
        _ => None,
    })?;
    dropped.retain(|(pool, _)| *pool != found.pool);
    Some(found)
}

/// Whether all that takes traffic in a pool is tripped.
fn is_spared_only(worker: &Worker, pool: PoolId) -> bool {
    let pool = worker.pools.get(pool.0);
    pool.is_some_and(|pool| pool.watch.is_spared_only())
}

/// By the pool's algorithm, or a probe if one is due; `None` where no endpoint takes traffic.
fn balance(
    worker: &mut Worker,
    id: PoolId,
    picking: &Picking<'_>,
    host: &mut dyn Host,
) -> Option<Found> {
    let key = picking.config.pool(id)?.balance.key.as_ref();
    let key = picking.subject.key(key);
    let &Picking { caller, now, .. } = picking;
    let attempts = picking.route.attempts;
    let pool = worker.pools.get_mut(id.0)?;
    let ask = Ask { key, now, attempts };
    let mut gauges = PoolGauges {
        reads: pool.reads_gauges(),
        meters: &pool.meters,
        host,
    };
    let mut order = pool.endpoints.pick(&ask, &mut gauges, &mut worker.rng);
    if let Some(first) = order.first() {
        pool.watch.placed(first, &mut pool.endpoints, now, host);
    }
    let endpoints = &mut pool.endpoints;
    let probed = pool.watch.claim_probe(caller, endpoints, now, host);
    if let Some((endpoint, _)) = probed {
        // If the probe fails, Envoy retries on the endpoint that the balancer chose, so the client
        // does not notice.
        if let Some(first) = order.first() {
            pool.endpoints.view_mut().on_release(first);
            pool.meters.release(first, host);
        }
        pool.claim(endpoint, host);
        order.put_first(endpoint, attempts);
    }
    (!order.is_empty()).then_some(Found {
        pool: id,
        order,
        probe: probed.map(|(_, token)| token),
    })
}

/// The endpoint of a pool that is due for a probe.
fn probe(
    worker: &mut Worker,
    id: PoolId,
    picking: &Picking<'_>,
    host: &mut dyn Host,
) -> Option<Found> {
    let &Picking { caller, now, .. } = picking;
    let pool = worker.pools.get_mut(id.0)?;
    let endpoints = &mut pool.endpoints;
    let (endpoint, token) = pool.watch.claim_probe(caller, endpoints, now, host)?;
    pool.claim(endpoint, host);
    let mut order = Order::default();
    order.push(u32::try_from(endpoint).ok()?, picking.route.attempts);
    Some(Found {
        pool: id,
        order,
        probe: Some(token),
    })
}

/// Endpoints of a pool in which none is fit: better one that may fail than none. `None` where the
/// configuration drains them all.
fn any(
    worker: &mut Worker,
    id: PoolId,
    picking: &Picking<'_>,
    host: &mut dyn Host,
) -> Option<Found> {
    let pool = worker.pools.get_mut(id.0)?;
    let order = pool.watch.any(picking.route.attempts, &mut worker.rng);
    pool.claim(order.first()?, host);
    Some(Found {
        pool: id,
        order,
        probe: None,
    })
}
