//! The smallest mean time to first byte × requests in flight, for its weight.
//!
//! The mean says how fast an endpoint has been, the requests in flight how long one waits behind them:
//! their product is the wait that a request sent now would meet, if requests were alike. They are not,
//! which is why the mean is a plain one over many (see [`Mean`](super::endpoint::Mean)): peak EWMA
//! fares worse on model traffic than to ignore the times altogether.

use crate::values::rng::Rng;

use super::shortlist::pick_least;
use super::{Ask, Balancer, Gauges, Order, View};

/// Remembers nothing: the view does.
pub(super) struct ResponseTime;

impl Balancer for ResponseTime {
    fn pick(
        &mut self,
        view: &mut View,
        ask: &Ask,
        gauges: &mut dyn Gauges,
        rng: &mut Rng,
    ) -> Order {
        pick_least(view, ask, gauges, rng, |view, endpoint, in_flight| {
            let mean = endpoint.first_byte.against(view.first_byte(), ask.now);
            mean * endpoint.load(in_flight, ask.now) / endpoint.divisor()
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::balance::{Algorithm, world::World};

    /// A world whose endpoints have answered two hundred times in so many milliseconds each, or never.
    fn learned(millis: &[u64]) -> World {
        let mut world = World::new(Algorithm::ResponseTime, &vec![100; millis.len()], 1);
        for _ in 0..200 {
            for (endpoint, &millis) in millis.iter().enumerate().filter(|(_, millis)| **millis > 0)
            {
                let label = Duration::from_millis(millis);
                world
                    .pool
                    .view_mut()
                    .on_first_byte(endpoint, label, world.now);
            }
        }
        world
    }

    fn fill(world: &mut World, n: usize) -> Vec<u64> {
        for _ in 0..n {
            world.pick(1);
        }
        world.counts.counts.clone()
    }

    #[test]
    fn requests_in_flight_are_inverse_to_the_means() {
        let in_flight = fill(&mut learned(&[100, 200, 400]), 700);
        for (&count, expected) in in_flight.iter().zip([400u64, 200, 100]) {
            assert!(count.abs_diff(expected) <= 8, "{in_flight:?}");
        }
    }

    #[test]
    fn without_labels_it_is_least_connections() {
        assert_eq!(fill(&mut learned(&[0, 0, 0, 0]), 40), [10; 4]);
    }

    #[test]
    fn an_endpoint_without_labels_is_treated_as_an_average_one() {
        let in_flight = fill(&mut learned(&[100, 300, 0]), 1_100);
        // The pool's mean is 200 ms: shares as 1/100 to 1/300 to 1/200.
        for (&count, expected) in in_flight.iter().zip([600u64, 200, 300]) {
            assert!(count.abs_diff(expected) <= 20, "{in_flight:?}");
        }
    }

    #[test]
    fn an_endpoint_that_was_slow_long_ago_is_tried_again() {
        let mut world = learned(&[100, 60_000]);
        let later = world.now.after(Duration::from_secs(300));
        assert_eq!(fill(&mut world, 20), [20, 0]);
        world.now = later;
        world
            .pool
            .view_mut()
            .on_first_byte(0, Duration::from_millis(100), later);
        assert!(
            fill(&mut world, 20)[1] == 0,
            "the pool's mean still remembers"
        );
        for _ in 0..3_000 {
            world
                .pool
                .view_mut()
                .on_first_byte(0, Duration::from_millis(100), later);
        }
        assert!(fill(&mut world, 20)[1] > 0);
    }

    #[test]
    fn one_that_fails_at_once_does_not_look_fast() {
        let mut world = learned(&[100, 100]);
        world.pool.view_mut().on_failure(0, world.now);
        assert_eq!(world.visit(None), 1);
    }
}
