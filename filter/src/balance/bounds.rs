//! Bounds on what endpoints carry, kept whatever the algorithm chose.
//!
//! An endpoint that has refused requests for overload has a bound (see `health::overload`). One
//! place keeps it for all algorithms, after their choice: where the chosen endpoint is at its
//! bound, the request goes to the next ones of the order (a key's second choice comes before
//! others), then to the least busy with room. The claim decides, as another worker may take the
//! last place meanwhile.

use crate::values::rng::Rng;

use super::shortlist::{Shortlist, idle};
use super::{Ask, Gauges, Order, SCAN, View};

/// `order`, whose first endpoint is claimed, with an endpoint within its bound in the first place
/// and none after it that is at its bound; empty if all are at theirs, and nothing is claimed then.
pub(super) fn keep(
    view: &mut View,
    order: Order,
    ask: &Ask,
    gauges: &mut dyn Gauges,
    rng: &mut Rng,
) -> Order {
    let Some(chosen) = order.first() else {
        return order;
    };
    let first = match is_within(view, chosen, gauges) {
        true => Some(chosen),
        false => {
            gauges.release(chosen);
            view.on_release(chosen);
            claim_other(view, &order, ask, gauges, rng)
        }
    };
    let mut kept = Order::default();
    if let Some(first) = first {
        kept.push(first as u32, ask.attempts());
        for next in order.iter().filter(|next| view.has_room(*next)) {
            kept.push(next as u32, ask.attempts());
        }
    }
    kept
}

/// Whether the claim of `endpoint` has kept its bound.
fn is_within(view: &mut View, endpoint: usize, gauges: &mut dyn Gauges) -> bool {
    let Some(bound) = view.bound(endpoint) else {
        return true;
    };
    view.refresh(endpoint, gauges);
    view.in_flight(endpoint) <= bound.into()
}

fn claim_other(
    view: &mut View,
    order: &Order,
    ask: &Ask,
    gauges: &mut dyn Gauges,
    rng: &mut Rng,
) -> Option<usize> {
    if let Some(next) = order.iter().skip(1).find(|next| claim(view, *next, gauges)) {
        return Some(next);
    }
    let least_busy = Shortlist::new(view, SCAN, Order::LONGEST, rng, idle(ask.now));
    let least_busy = least_busy.endpoints().map(|endpoint| endpoint as usize);
    if let Some(next) = least_busy
        .into_iter()
        .find(|next| claim(view, *next, gauges))
    {
        return Some(next);
    }
    // The least busy for their weights may be at their bounds while others are not.
    let candidates = view.candidates().len();
    (0..candidates).find_map(|at| {
        let next = *view.candidates().get(at)? as usize;
        claim(view, next, gauges).then_some(next)
    })
}

/// Claims `endpoint` if that keeps its bound. The view saves a call for those known to be full.
fn claim(view: &mut View, endpoint: usize, gauges: &mut dyn Gauges) -> bool {
    if !view.has_room(endpoint) {
        return false;
    }
    let claimed = gauges.claim(endpoint, view.bound(endpoint).map(u64::from));
    match claimed {
        true => view.on_claim(endpoint),
        false => view.refresh(endpoint, gauges),
    }
    claimed
}

#[cfg(test)]
mod tests {
    use crate::balance::Algorithm;
    use crate::balance::world::World;

    const ALL: [Algorithm; 5] = [
        Algorithm::RoundRobin,
        Algorithm::WeightedRoundRobin,
        Algorithm::LeastConnections,
        Algorithm::ResponseTime,
        Algorithm::ConsistentHash,
    ];

    #[test]
    fn no_algorithm_passes_a_bound_and_every_place_is_found() {
        for algorithm in ALL {
            let mut world = World::new(algorithm, &[100, 50, 1000, 0, 100], 7);
            for (endpoint, bound) in [(0, 3), (1, 5), (2, 1), (4, 2)] {
                world.pool.view_mut().set_bound(endpoint, Some(bound));
            }
            for request in 0..11 {
                let order = world.pick(3);
                assert!(!order.is_empty(), "{algorithm:?} after {request}");
            }
            assert_eq!(world.counts.counts, [3, 5, 1, 0, 2], "{algorithm:?}");
            assert!(world.pick(3).is_empty());
            assert_eq!(world.counts.counts, [3, 5, 1, 0, 2], "nothing is claimed");
            world.release(1);
            let order = world.pick(3);
            assert_eq!(order.iter().collect::<Vec<_>>(), [1], "{algorithm:?}");
        }
    }

    #[test]
    fn the_exact_gauge_decides_where_other_workers_have_filled_an_endpoint() {
        for algorithm in ALL {
            let mut world = World::new(algorithm, &[100; 2], 7);
            world.pool.view_mut().set_bound(0, Some(4));
            world.counts.counts[0] = 4;
            for _ in 0..20 {
                let order = world.pick(2);
                assert_eq!(order.first(), Some(1), "{algorithm:?}");
            }
            assert_eq!(world.counts.counts, [4, 20]);
        }
    }

    #[test]
    fn a_bound_that_is_lifted_bounds_nothing() {
        let mut world = World::new(Algorithm::LeastConnections, &[100; 2], 7);
        for bound in [Some(1), Some(2), None] {
            world.pool.view_mut().set_bound(0, bound);
        }
        assert!(!world.pool.view().has_bounds());
        for _ in 0..20 {
            world.pick(2);
        }
        assert_eq!(world.counts.counts, [10, 10]);
    }
}
