//! Bounds on what endpoints carry, kept whatever the algorithm chose.
//!
//! An endpoint that has refused requests for overload has a bound (see `health::overload`). One
//! place keeps it for all algorithms, after their choice: where the chosen endpoint carries as much
//! as is proven, the request goes to the next ones of the order that carry less (a key's second
//! choice comes before others), then to the least busy of those. Only where all carry as much as is
//! proven may one be tried with more: a trial may end in a refusal, so none is made without need.
//! The claim decides, as another worker may take the last place meanwhile.

use crate::values::rng::Rng;
use crate::values::units::Bound;

use super::shortlist::{Shortlist, idle};
use super::{Ask, Gauges, Order, SCAN, View};

/// What of a bound is kept.
#[derive(Clone, Copy)]
enum Level {
    Proven,
    Most,
}

impl Level {
    fn of(self, bound: Bound) -> u32 {
        match self {
            Level::Proven => bound.proven,
            Level::Most => bound.most,
        }
    }
}

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
    let mut kept = Order::default();
    if let Some(first) = first(view, chosen, &order, ask, gauges, rng) {
        kept.push(first as u32, ask.attempts());
        for next in order.iter().filter(|next| view.has_room(*next)) {
            kept.push(next as u32, ask.attempts());
        }
    }
    kept
}

/// The endpoint to try first, claimed; `chosen`, which is claimed, if it may be.
fn first(
    view: &mut View,
    chosen: usize,
    order: &Order,
    ask: &Ask,
    gauges: &mut dyn Gauges,
    rng: &mut Rng,
) -> Option<usize> {
    if view.bound(chosen).is_some() {
        view.refresh(chosen, gauges);
    }
    if is_within(view, chosen, Level::Proven) {
        return Some(chosen);
    }
    let other = claim_other(view, order, Level::Proven, ask, gauges, rng);
    if other.is_none() && is_within(view, chosen, Level::Most) {
        return Some(chosen);
    }
    gauges.release(chosen);
    view.on_release(chosen);
    other.or_else(|| claim_other(view, order, Level::Most, ask, gauges, rng))
}

/// Whether what `endpoint` carries, the request that has claimed it included, is within its bound.
fn is_within(view: &View, endpoint: usize, level: Level) -> bool {
    let bound = view.bound(endpoint);
    bound.is_none_or(|bound| view.in_flight(endpoint) <= level.of(bound))
}

fn claim_other(
    view: &mut View,
    order: &Order,
    level: Level,
    ask: &Ask,
    gauges: &mut dyn Gauges,
    rng: &mut Rng,
) -> Option<usize> {
    let mut next = order.iter().skip(1);
    if let Some(next) = next.find(|next| claim(view, *next, level, gauges)) {
        return Some(next);
    }
    let least_busy = Shortlist::new(view, SCAN, Order::LONGEST, rng, idle(ask.now));
    let least_busy = least_busy.endpoints().map(|endpoint| endpoint as usize);
    if let Some(next) = least_busy
        .into_iter()
        .find(|next| claim(view, *next, level, gauges))
    {
        return Some(next);
    }
    // The least busy for their weights may be at their bounds while others are not.
    let candidates = view.candidates().len();
    (0..candidates).find_map(|at| {
        let next = *view.candidates().get(at)? as usize;
        claim(view, next, level, gauges).then_some(next)
    })
}

/// Claims `endpoint` if that keeps its bound. The view saves a call for those known to be full.
fn claim(view: &mut View, endpoint: usize, level: Level, gauges: &mut dyn Gauges) -> bool {
    let most = view.bound(endpoint).map(|bound| level.of(bound));
    if !view.is_below(endpoint, most) {
        return false;
    }
    let claimed = gauges.claim(endpoint, most.map(u64::from));
    match claimed {
        true => view.on_claim(endpoint),
        false => view.refresh(endpoint, gauges),
    }
    claimed
}

#[cfg(test)]
mod tests {
    use super::Bound;
    use crate::balance::Algorithm;
    use crate::balance::world::World;

    const ALL: [Algorithm; 5] = [
        Algorithm::RoundRobin,
        Algorithm::WeightedRoundRobin,
        Algorithm::LeastConnections,
        Algorithm::ResponseTime,
        Algorithm::ConsistentHash,
    ];

    fn exactly(bound: u32) -> Option<Bound> {
        Some(Bound {
            proven: bound,
            most: bound,
        })
    }

    #[test]
    fn no_algorithm_passes_a_bound_and_every_place_is_found() {
        for algorithm in ALL {
            let mut world = World::new(algorithm, &[100, 50, 1000, 0, 100], 7);
            for (endpoint, bound) in [(0, 3), (1, 5), (2, 1), (4, 2)] {
                world.pool.view_mut().set_bound(endpoint, exactly(bound));
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
            world.pool.view_mut().set_bound(0, exactly(4));
            world.counts.counts[0] = 4;
            for _ in 0..20 {
                let order = world.pick(2);
                assert_eq!(order.first(), Some(1), "{algorithm:?}");
            }
            assert_eq!(world.counts.counts, [4, 20]);
        }
    }

    #[test]
    fn an_endpoint_is_tried_with_more_only_where_all_carry_what_is_proven() {
        for algorithm in ALL {
            let mut world = World::new(algorithm, &[100; 3], 7);
            for endpoint in 0..3 {
                let bound = Bound { proven: 4, most: 5 };
                world.pool.view_mut().set_bound(endpoint, Some(bound));
            }
            for _ in 0..12 {
                world.pick(2);
            }
            assert_eq!(world.counts.counts, [4; 3], "{algorithm:?}");
            for _ in 0..3 {
                assert!(!world.pick(2).is_empty());
            }
            assert_eq!(world.counts.counts, [5; 3], "{algorithm:?}");
            assert!(world.pick(2).is_empty());
            world.release(2);
            world.release(2);
            assert_eq!(world.pick(2).first(), Some(2), "{algorithm:?}");
            assert_eq!(world.counts.counts, [5, 5, 4], "{algorithm:?}");
        }
    }

    #[test]
    fn a_bound_that_is_lifted_bounds_nothing() {
        let mut world = World::new(Algorithm::LeastConnections, &[100; 2], 7);
        for bound in [exactly(1), exactly(2), None] {
            world.pool.view_mut().set_bound(0, bound);
        }
        assert!(!world.pool.view().has_bounds());
        for _ in 0..20 {
            world.pick(2);
        }
        assert_eq!(world.counts.counts, [10, 10]);
    }
}
