//! By a key, on a hash ring, and never more than 1.25 of its share on one endpoint.
//!
//! The bound is that of Mirrokni, Thorup and Zadimoghaddam ("Consistent Hashing with Bounded Loads",
//! 2016): with the request to be placed, an endpoint of weight w takes at most ⌈1.25 · total · w / Σw⌉. A key
//! whose endpoint is full goes to another place on the ring that depends on the key alone, so it finds the
//! same second choice each time. Not to the next one clockwise, as in the paper: what one hot key sheds
//! then runs over its neighbours one by one, and the walk past the full ones grows with the pool
//! (Chen, Coleman and Shrivastava, "Revisiting Consistent Hashing with Bounded Loads", 2021). Drained
//! endpoints are passed clockwise, as if they were not on the ring.
//!
//! The ring is made of the weights that the pool began with; a weight that changes later changes its
//! endpoint's bound only. A weight dips for a minute when a GPU is busy, and to move keys then would cost
//! the caches that they are sticky for.
//!
//! # Somebody always has room
//!
//! The bounds add up to at least 1.25 · (total + 1), so to more than the total: if all endpoints were at
//! theirs, more requests would be in flight than there are (rounding up only adds to that, and requests
//! at drained endpoints count in the total but fill nobody's bound). A view that shows everybody full is
//! therefore stale, and is read again. In the meantime other workers may fill what was free; the
//! total has then grown and the bounds with it. Each such round that is lost is several others' success,
//! all within a microsecond, so [`ROUNDS`] of them in a row do not happen; if they did, there would be
//! no order rather than one above the bound.

use crate::values::murmur3::murmur3_32;
use crate::values::rng::Rng;
use crate::values::units::Share;

use super::ring::Ring;
use super::{Ask, Balancer, Gauges, Order, View};

/// Times that the bounds are computed and all endpoints offered the request.
const ROUNDS: usize = 8;

/// Places on the ring that a key tries. A pool can be full in four of five endpoints, so that
/// one key in thirty-five finds nothing; the endpoints are then asked one by one.
const JUMPS: u32 = 16;

pub(super) struct ConsistentHash {
    ring: Ring,
}

impl ConsistentHash {
    pub fn new(view: &View) -> ConsistentHash {
        let endpoints = (0..view.len()).map(|number| {
            (
                view.address(number).unwrap_or_default(),
                view.weight(number),
            )
        });
        ConsistentHash {
            ring: Ring::new(endpoints),
        }
    }

    /// The candidates clockwise of the place to which `key` goes by its `jump`th jump.
    fn candidates(&self, view: &View, key: u64, jump: u32) -> impl Iterator<Item = u32> {
        self.ring
            .clockwise(murmur3_32(&key.to_le_bytes(), jump))
            .filter(|&owner| !view.weight(owner as usize).is_drained())
    }

    /// The endpoint that the `probe`th probe for `key` meets: by jumps first, then each in turn.
    fn probe(&self, view: &View, key: u64, probe: u32) -> Option<u32> {
        match probe.checked_sub(JUMPS) {
            None => self.candidates(view, key, probe).next(),
            Some(turn) => {
                let candidates = view.candidates();
                let from = key.checked_rem(candidates.len() as u64).unwrap_or_default();
                candidates
                    .iter()
                    .cycle()
                    .nth(from.saturating_add(u64::from(turn)) as usize)
                    .copied()
            }
        }
    }

    /// Claims the first endpoint on the key's way that has room.
    fn claim(&self, view: &mut View, key: u64, draw: u16, gauges: &mut dyn Gauges) -> Option<u32> {
        for round in 0..ROUNDS {
            // The pool's gauge may have been left behind, by streams that began under another algorithm,
            // which does not step it. From the second round on the view is exact, and shows it.
            let total = match gauges.total() {
                Some(total) if round == 0 => total,
                Some(total) => total.max(view.total_in_flight()),
                None => view.total_in_flight(),
            };
            let bound = Bound::new(total, view.total_pull());
            let probes = JUMPS.saturating_add(view.candidates().len() as u32);
            for probe in 0..probes {
                let number = self.probe(view, key, probe)?;
                let endpoint = number as usize;
                let at_most = bound.of(view.pull(endpoint));
                // An endpoint that is ramped up gets its share of its keys; the last round through takes anyone.
                let passed_over = probe < JUMPS && !view.admits(number, draw);
                // The view saves a call for those known to be full, which next to a hot key are most.
                if passed_over || u64::from(view.in_flight(endpoint)) >= at_most {
                    continue;
                }
                if gauges.claim(endpoint, Some(at_most)) {
                    view.on_claim(endpoint);
                    return Some(number);
                }
                view.refresh(endpoint, gauges);
            }
            for endpoint in 0..view.len() {
                view.refresh(endpoint, gauges);
            }
        }
        None
    }
}

impl Balancer for ConsistentHash {
    fn pick(
        &mut self,
        view: &mut View,
        ask: &Ask,
        gauges: &mut dyn Gauges,
        rng: &mut Rng,
    ) -> Order {
        let mut order = Order::default();
        let key = ask.key.unwrap_or_else(|| rng.bits());
        let Some(first) = self.claim(view, key, Share::draw(rng), gauges) else {
            return order;
        };
        order.push(first, ask.attempts());
        // Retries go where the key would be without the first.
        let wanted = ask.attempts().min(view.candidates().len());
        for candidate in self.candidates(view, key, 0) {
            if order.len() >= wanted {
                break;
            }
            order.push(candidate, wanted);
        }
        order
    }
}

/// How many requests endpoints may have in flight, as one more joins the pool.
struct Bound {
    /// 1.25 · (total + 1) / Σ pull, as a fraction.
    numerator: u64,
    denominator: u64,
}

impl Bound {
    fn new(total: u64, pulls: u64) -> Bound {
        Bound {
            numerator: total.saturating_add(1).saturating_mul(5),
            denominator: pulls.saturating_mul(4).max(1),
        }
    }

    fn of(&self, pull: u32) -> u64 {
        self.numerator
            .saturating_mul(pull.into())
            .div_ceil(self.denominator)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::balance::Algorithm;
    use crate::balance::world::World;
    use crate::values::units::Weight;

    fn bound(total: u64, weight: u16, weights: &[u16]) -> u64 {
        let sum: u64 = weights.iter().map(|&weight| u64::from(weight)).sum();
        (1.25 * total as f64 * f64::from(weight) / sum as f64 - 1e-9).ceil() as u64
    }

    proptest! {
        #[test]
        fn an_order_is_found_whatever_the_view_believes_and_keeps_the_bound(
            endpoints in prop::collection::vec((0..=10u16, 0..30u64, 0..30u64), 1..20),
            keys in prop::collection::vec(any::<u64>(), 1..20),
        ) {
            let weights: Vec<u16> = endpoints.iter().map(|e| e.0 * 100).collect();
            prop_assume!(weights.iter().any(|&weight| weight > 0));
            let mut world = World::new(Algorithm::ConsistentHash, &weights, 1);
            for (number, &(_, exact, believed)) in endpoints.iter().enumerate() {
                world.counts.counts[number] = exact;
                world.pool.view_mut().sync_in_flight(number, believed);
            }
            for key in keys {
                let first = world.pick_by(Some(key), 1).first();
                prop_assert!(first.is_some());
                let first = first.unwrap_or_default();
                let total = world.counts.counts.iter().sum();
                prop_assert!(world.counts.counts[first] <= bound(total, weights[first], &weights));
            }
        }
    }

    #[test]
    fn a_key_stays_until_its_endpoint_is_full_and_comes_back_after() {
        let mut world = World::new(Algorithm::ConsistentHash, &[100; 10], 1);
        for key in 0..100 {
            let home = world.visit(Some(key));
            assert_eq!(world.visit(Some(key)), home);
            // ⌈1.25 · 2 · 1/10⌉ is 1: the second of two at once goes elsewhere.
            assert_eq!(world.pick_by(Some(key), 1).first(), Some(home));
            let second = world.visit(Some(key));
            assert_ne!(second, home);
            assert_eq!(
                world.visit(Some(key)),
                second,
                "the second choice is the key's own, too"
            );
            world.release(home);
            assert_eq!(world.visit(Some(key)), home);
        }
    }

    #[test]
    fn keys_are_spread_by_weight() {
        let mut world = World::new(Algorithm::ConsistentHash, &[100, 100, 200, 400], 1);
        let mut visits = [0f64; 4];
        for _ in 0..20_000 {
            visits[world.visit(None)] += 1.0 / 20_000.0;
        }
        for (visits, share) in visits.iter().zip([0.125, 0.125, 0.25, 0.5]) {
            assert!((visits / share - 1.0).abs() < 0.25, "{visits} for {share}");
        }
    }

    #[test]
    fn one_hot_key_is_spread_over_the_pool_without_asking_everybody() {
        let mut world = World::new(Algorithm::ConsistentHash, &[100; 50], 1);
        for _ in 0..5_000 {
            assert!(world.pick_by(Some(42), 1).first().is_some());
        }
        assert!(world.counts.counts.iter().all(|&count| count <= 125));
        assert_eq!(world.counts.reads, 0, "a worker alone knows who is full");
    }

    #[test]
    fn a_drained_endpoint_gives_its_keys_away_moves_no_others_and_gets_them_back() {
        let mut world = World::new(Algorithm::ConsistentHash, &[100; 8], 1);
        let before: Vec<_> = (0..2_000).map(|key| world.visit(Some(key))).collect();
        world.pool.set_weight(3, Weight::DRAINED, Share::WHOLE);
        for (key, &home) in before.iter().enumerate() {
            let now = world.visit(Some(key as u64));
            assert!(now == home || home == 3 && now != 3);
        }
        world.pool.set_weight(3, Weight::DEFAULT, Share::WHOLE);
        assert!(
            before
                .iter()
                .enumerate()
                .all(|(key, &home)| world.visit(Some(key as u64)) == home)
        );
    }

    #[test]
    fn retries_go_where_the_key_would_be_without_the_first() {
        let mut world = World::new(Algorithm::ConsistentHash, &[100; 8], 1);
        for key in 0..200 {
            let order: Vec<_> = world.pick_by(Some(key), 3).iter().collect();
            world.release(order[0]);
            world
                .pool
                .set_weight(order[0], Weight::DRAINED, Share::WHOLE);
            assert_eq!(world.visit(Some(key)), order[1]);
            world
                .pool
                .set_weight(order[0], Weight::DEFAULT, Share::WHOLE);
        }
        assert_eq!(world.pick_by(Some(1), 8).len(), 8);
    }

    #[test]
    fn a_host_that_cannot_count_leaves_the_view_to_decide() {
        struct Mute;
        impl Gauges for Mute {
            fn in_flight(&mut self, _endpoint: usize) -> Option<u64> {
                None
            }
            fn total(&mut self) -> Option<u64> {
                None
            }
            fn claim(&mut self, _endpoint: usize, _at_most: Option<u64>) -> bool {
                true
            }

            fn release(&mut self, _: usize) {}
        }
        let mut world = World::new(Algorithm::ConsistentHash, &[100; 5], 1);
        let ask = Ask {
            key: Some(1),
            now: world.now,
            attempts: 1,
        };
        for _ in 0..100 {
            assert!(!world.pool.pick(&ask, &mut Mute, &mut world.rng).is_empty());
        }
        assert!((0..5).all(|endpoint| world.pool.view().in_flight(endpoint) <= 25));
    }

    #[test]
    fn nothing_is_chosen_of_nothing() {
        for weights in [&[][..], &[0, 0]] {
            assert!(
                World::new(Algorithm::ConsistentHash, weights, 1)
                    .pick(3)
                    .is_empty()
            );
        }
    }
}
