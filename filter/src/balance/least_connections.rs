//! The fewest requests in flight for its weight.
//!
//! The request that is to be placed is counted as well: (in flight + 1) / weight. Without it all idle
//! endpoints would look alike, and the lightest get as much of a calm pool's traffic as the heaviest.

use crate::values::rng::Rng;

use super::shortlist::pick_least;
use super::{Ask, Balancer, Gauges, Order, View};

/// Remembers nothing: the view does.
pub(super) struct LeastConnections;

impl Balancer for LeastConnections {
    fn pick(
        &mut self,
        view: &mut View,
        ask: &Ask,
        gauges: &mut dyn Gauges,
        rng: &mut Rng,
    ) -> Order {
        pick_least(view, ask, gauges, rng, |_, endpoint, in_flight| {
            endpoint.load(in_flight, ask.now) / endpoint.divisor()
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::balance::{Algorithm, SCAN, world::World};
    use crate::values::units::{Share, Weight};

    proptest! {
        #[test]
        fn the_least_busy_for_its_weight_is_taken_and_the_next_best_follow(
            endpoints in prop::collection::vec((0..=10u16, 0..50u64), 1..40),
            seed: u64,
        ) {
            let weights: Vec<u16> = endpoints.iter().map(|e| e.0 * 100).collect();
            let mut world = World::new(Algorithm::LeastConnections, &weights, seed);
            for (number, &(_, busy)) in endpoints.iter().enumerate() {
                world.counts.counts[number] = busy;
                world.pool.view_mut().sync_in_flight(number, busy);
            }
            let mut ratios: Vec<f64> = endpoints
                .iter()
                .filter(|e| e.0 > 0)
                .map(|e| (e.1 + 1) as f64 / f64::from(e.0))
                .collect();
            ratios.sort_by(f64::total_cmp);
            let order = world.pick(4);
            let chosen: Vec<f64> = order
                .iter()
                .map(|n| (endpoints[n].1 + 1) as f64 / f64::from(endpoints[n].0))
                .collect();
            prop_assert_eq!(&chosen[..], &ratios[..ratios.len().min(4)]);
        }
    }

    #[test]
    fn the_exact_gauges_of_two_finalists_decide() {
        let mut world = World::new(Algorithm::LeastConnections, &[100; 8], 1);
        for endpoint in 0..8 {
            world.counts.counts[endpoint] = 9;
            world.pool.view_mut().sync_in_flight(endpoint, 9);
        }
        // The view takes 3 and 5 for free; in truth the others' workers have found 3 already.
        world.pool.view_mut().sync_in_flight(3, 0);
        world.pool.view_mut().sync_in_flight(5, 1);
        world.counts.counts[3] = 7;
        world.counts.counts[5] = 2;
        assert_eq!(world.pick(2).iter().collect::<Vec<_>>(), [5, 3]);
        assert_eq!(world.counts.reads, 2);
        let view = world.pool.view();
        assert_eq!(
            (view.in_flight(3), view.in_flight(5)),
            (7, 3),
            "what was read is remembered"
        );
    }

    #[test]
    fn ties_are_broken_at_random() {
        let mut world = World::new(Algorithm::LeastConnections, &[100, 100, 0, 100], 1);
        let mut visits = [0; 4];
        for _ in 0..3_000 {
            visits[world.visit(None)] += 1;
        }
        assert_eq!(visits[2], 0);
        assert!(
            visits
                .iter()
                .enumerate()
                .all(|(n, v)| n == 2 || (900..1_100).contains(v))
        );
    }

    #[test]
    fn a_large_pool_is_sampled_evenly_and_never_named_twice() {
        let mut weights = [100; 1_000];
        weights[17] = 0;
        let mut world = World::new(Algorithm::LeastConnections, &weights, 1);
        let mut visits = [0u32; 1_000];
        for _ in 0..100_000 {
            let order = world.pick(8);
            assert_eq!(order.len(), 8, "{:?}", order);
            world.release(order.first().unwrap());
            order.iter().for_each(|n| visits[n] += 1);
        }
        assert_eq!(visits[17], 0);
        let (least, most) = (visits.iter().filter(|&&v| v > 0).min(), visits.iter().max());
        assert!(
            least > Some(&650) && most < Some(&950),
            "{least:?} to {most:?} of 800"
        );
    }

    #[test]
    fn a_large_pool_fills_as_evenly_as_if_all_were_scanned() {
        let mut world = World::new(Algorithm::LeastConnections, &[100; 10 * SCAN], 1);
        for _ in 0..100 * SCAN {
            world.pick(1);
        }
        let most = world.counts.counts.iter().max().unwrap();
        assert!(*most <= 11, "10 each would be perfect, {most} came to one");
    }

    #[test]
    fn a_sample_mixes_the_pool_and_finds_the_idle_half() {
        let mut world = World::new(Algorithm::LeastConnections, &[100; 2 * SCAN], 1);
        for busy in (1..2 * SCAN).step_by(2) {
            world.counts.counts[busy] = 10;
            world.pool.view_mut().sync_in_flight(busy, 10);
        }
        assert!((0..SCAN).all(|_| world.pick(1).first().unwrap().is_multiple_of(2)));
    }

    #[test]
    fn an_endpoint_that_failed_counts_as_busy_until_that_fades() {
        let mut world = World::new(Algorithm::LeastConnections, &[100, 100], 1);
        let now = world.now;
        world.pool.view_mut().on_failure(0, now);
        world.pool.view_mut().on_failure(0, now);
        let taken: Vec<_> = (0..2).map(|_| world.pick(1).first().unwrap()).collect();
        assert_eq!(taken, [1, 1]);
        world.now = now.after(std::time::Duration::from_secs(60));
        assert_eq!(world.pick(1).first(), Some(0));
        world.pool.set_weight(0, Weight::DRAINED, Share::WHOLE);
        world.pool.set_weight(1, Weight::DRAINED, Share::WHOLE);
        assert!(world.pick(1).is_empty());
    }
}
