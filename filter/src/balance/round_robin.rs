//! One endpoint after the other.
//!
//! Each worker starts at an endpoint of its own: with sixteen workers and a first request each, all
//! sixteen would else meet at the first endpoint, at every restart of the proxy.

use crate::values::rng::Rng;
use crate::values::units::Share;

use super::{Ask, Balancer, Gauges, Order, View};

/// Remembers whose turn it is by number, so that drained endpoints come and go without a jump.
pub(super) struct RoundRobin {
    next: u32,
}

impl RoundRobin {
    pub fn new(view: &View, rng: &mut Rng) -> RoundRobin {
        RoundRobin {
            next: rng.below(view.len()) as u32,
        }
    }
}

impl Balancer for RoundRobin {
    fn pick(
        &mut self,
        view: &mut View,
        ask: &Ask,
        gauges: &mut dyn Gauges,
        rng: &mut Rng,
    ) -> Order {
        let candidates = view.candidates();
        let place = candidates.partition_point(|&candidate| candidate < self.next);
        // One that is ramped up is passed over as often as its share says, unless nobody else is there.
        let draw = Share::draw(rng);
        let turns = || candidates.iter().cycle().skip(place).take(candidates.len());
        let admitted = turns().find(|&&candidate| view.admits(candidate, draw));
        let mut order = Order::default();
        // One more than are wanted: the admitted one is among them, or comes before.
        let others = turns().take(ask.attempts().saturating_add(1));
        for &candidate in admitted.into_iter().chain(others) {
            order.push(candidate, ask.attempts());
        }
        if let Some(first) = order.first() {
            self.next = (first as u32).wrapping_add(1);
            gauges.claim(first, None);
            view.on_claim(first);
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use crate::balance::Algorithm;
    use crate::balance::world::World;
    use crate::values::units::{Share, Weight};

    #[test]
    fn every_endpoint_has_its_turn_and_retries_go_to_the_next_ones() {
        let mut world = World::new(Algorithm::RoundRobin, &[100, 1, 1000, 100], 1);
        let first = world.pick(3).first().unwrap();
        for turn in 1..40 {
            let order: Vec<_> = world.pick(3).iter().collect();
            let expected = [turn, turn + 1, turn + 2].map(|n| (first + n) % 4);
            assert_eq!(order, expected);
        }
    }

    #[test]
    fn a_drained_endpoint_is_passed_over_and_the_others_keep_their_turns() {
        let mut world = World::new(Algorithm::RoundRobin, &[100; 4], 1);
        assert!((0..4).any(|_| world.pick(1).first() == Some(0)));
        world.pool.set_weight(1, Weight::DRAINED, Share::WHOLE);
        assert_eq!([0; 4].map(|_| world.pick(1).first().unwrap()), [2, 3, 0, 2]);
        world.pool.set_weight(1, Weight::DEFAULT, Share::WHOLE);
        assert_eq!([0; 4].map(|_| world.pick(8).first().unwrap()), [3, 0, 1, 2]);
        assert_eq!(world.pick(8).len(), 4, "an order names nobody twice");
    }

    #[test]
    fn workers_start_apart() {
        let first = |seed| {
            World::new(Algorithm::RoundRobin, &[100; 8], seed)
                .pick(1)
                .first()
        };
        let mut firsts: Vec<_> = (0..100).map(first).collect();
        firsts.sort();
        firsts.dedup();
        assert_eq!(firsts.len(), 8);
    }

    #[test]
    fn a_drained_or_an_empty_pool_gives_no_order() {
        for weights in [&[][..], &[0, 0]] {
            assert!(
                World::new(Algorithm::RoundRobin, weights, 1)
                    .pick(3)
                    .is_empty()
            );
        }
    }
}
