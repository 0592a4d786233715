//! Why a request finds no endpoint, and what its caller is told.

use std::time::Duration;

use crate::config::PoolId;
use crate::report::decision::DroppedBy;
use crate::values::clock::Instant;
use crate::values::units::Tokens;

use super::Worker;
use super::verdict::Refusal;
use super::watch::Absent;

/// Seconds until one of the endpoints may be fit that kept the request out.
fn next_chance(worker: &Worker, dropped: &[(PoolId, DroppedBy)], now: Instant) -> Option<u32> {
    let without = dropped.iter().filter(|(_, by)| *by == DroppedBy::Endpoints);
    let pools = without.filter_map(|(id, _)| worker.pools.get(id.0));
    let next = pools.filter_map(|pool| pool.watch.next_chance()).min()?;
    // Whole seconds, rounded up: who comes sooner comes in vain.
    let wait = next
        .since(now)
        .saturating_add(Duration::from_nanos(999_999_999));
    Some(u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).max(1))
}

/// What no pool could take, and whether its caller may see why.
pub(super) struct Need<'a> {
    pub model: Option<&'a str>,
    pub input: Option<Tokens>,
    pub output: Option<Tokens>,
    pub shown: bool,
}

/// Why none of the rule's pools could take the request: the cure decides which reason is told.
pub(super) fn nowhere(
    worker: &Worker,
    dropped: &[(PoolId, DroppedBy)],
    need: &Need<'_>,
    now: Instant,
) -> Refusal {
    let config = &worker.config;
    let Need {
        model,
        input,
        output,
        shown,
    } = *need;
    if dropped.iter().any(|(_, by)| *by == DroppedBy::Endpoints) {
        let without = dropped.iter().filter(|(_, by)| *by == DroppedBy::Endpoints);
        let pools = without.filter_map(|(id, _)| worker.pools.get(id.0));
        let absent = pools
            .map(|pool| pool.watch.absent(&pool.endpoints))
            .fold(Absent::default(), Absent::plus);
        return Refusal::no_endpoint(next_chance(worker, dropped, now), &absent, shown);
    }
    let too_small = dropped.iter().filter(|(_, by)| *by == DroppedBy::Window);
    let largest = too_small
        .filter_map(|(id, _)| config.pool(*id)?.context_window)
        .max();
    match (largest, input, model) {
        (Some(largest), Some(input), _) => Refusal::too_long(input, output, largest),
        (_, _, Some(model)) => Refusal::no_model(model),
        // Not met: a request without a model, and so without a prompt, fits every pool.
        (_, _, None) => Refusal::no_route(),
    }
}
