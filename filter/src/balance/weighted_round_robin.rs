//! In proportion to the weights, as evenly as can be: earliest eligible virtual deadline first.
//!
//! An endpoint of weight w has a turn each 1/w of virtual time, and a turn may be taken only between
//! its start and its deadline, which is the next one's start. Of the turns that have started the one
//! with the earliest deadline is taken. After n picks an endpoint of share s then has n·s of them, give or take less
//! than one and the phase that it began with (Tijdeman, "The chairman assignment problem", 1980; Stoica and Abdel-Wahab,
//! "Earliest Eligible Virtual Deadline First", 1995).
//!
//! Why not nginx's smooth weighted round robin: it adds every endpoint's weight at each pick, O(n).
//! Why not plain stride scheduling (Waldspurger and Weihl, 1995), the same without the wait for a
//! turn's start: an endpoint of half the weight among two hundred small ones gets its
//! share, but the small ones come in clumps, and so do its own; the error grows with their number.
//!
//! Virtual time is the mean of all starts, weighted. It advances by 1/Σw with each pick of itself, it cannot run away
//! from the endpoints, and one of them is always eligible, as not all are above their mean. An
//! endpoint whose weight changes keeps its lag (what it is owed), so it has neither a burst nor
//! a gap; what one owes when it is drained is spread over the others, by their weights.

use crate::values::rng::Rng;

use super::shortlist::{Shortlist, idle};
use super::tournament::Tournament;
use super::{Ask, Balancer, Gauges, Order, View};

/// Virtual time at which all starts are moved back by it, so that their floats stay precise.
const REBASE: f64 = 65_536.0;

pub(super) struct WeightedRoundRobin {
    turns: Vec<Turn>,
    /// Those whose turn is to come, by its start.
    waiting: Tournament,
    /// Those whose turn it is, by its deadline.
    eligible: Tournament,
    /// Σ weight × start
    weighted_starts: f64,
    /// Σ weight
    weight: f64,
}

/// An endpoint's next turn. Its weight is 0 while it is drained.
#[derive(Clone, Copy, Default)]
struct Turn {
    start: f64,
    weight: f64,
}

impl Turn {
    fn deadline(&self) -> f64 {
        self.start + self.weight.recip()
    }
}

impl WeightedRoundRobin {
    /// Each endpoint begins up to half a turn early or late, so that workers have different orders.
    pub fn new(view: &View, rng: &mut Rng) -> WeightedRoundRobin {
        let mut balancer = WeightedRoundRobin {
            turns: vec![Turn::default(); view.len()],
            waiting: Tournament::new(view.len()),
            eligible: Tournament::new(view.len()),
            weighted_starts: 0.0,
            weight: 0.0,
        };
        let mut phases: Vec<f64> = view.candidates().iter().map(|_| rng.unit()).collect();
        // About their mean, or else what all are early by would come out of the heaviest's turns.
        let mean = phases.iter().sum::<f64>() / phases.len() as f64;
        phases.iter_mut().for_each(|phase| *phase -= mean);
        for (&candidate, phase) in view.candidates().iter().zip(phases) {
            let weight = f64::from(view.pull(candidate as usize)) / 1000.0;
            balancer.enter(
                candidate as usize,
                Turn {
                    start: phase / weight,
                    weight,
                },
            );
        }
        balancer
    }

    fn virtual_time(&self) -> f64 {
        if self.weight > 0.0 {
            self.weighted_starts / self.weight
        } else {
            0.0
        }
    }

    /// Whose turn it is; takes that turn.
    fn take_turn(&mut self) -> Option<usize> {
        let now = self.virtual_time();
        while let Some((number, start)) = self.waiting.least()
            && start <= now
        {
            self.waiting.remove(number);
            let deadline = self.turns.get(number)?.deadline();
            self.eligible.set(number, deadline);
        }
        // Only rounding can leave nobody eligible; whoever comes next is due within an ulp.
        let (number, _) = self.eligible.least().or_else(|| self.waiting.least())?;
        let turn = self.leave(number)?;
        self.enter(
            number,
            Turn {
                start: turn.deadline(),
                ..turn
            },
        );
        if now > REBASE {
            self.rebase(now);
        }
        Some(number)
    }

    fn enter(&mut self, number: usize, turn: Turn) {
        if let Some(slot) = self.turns.get_mut(number) {
            *slot = turn;
            self.weight += turn.weight;
            self.weighted_starts += turn.weight * turn.start;
            self.waiting.set(number, turn.start);
        }
    }

    fn leave(&mut self, number: usize) -> Option<Turn> {
        let turn = std::mem::take(self.turns.get_mut(number)?);
        self.weight -= turn.weight;
        self.weighted_starts -= turn.weight * turn.start;
        self.waiting.remove(number);
        self.eligible.remove(number);
        Some(turn)
    }

    fn rebase(&mut self, by: f64) {
        self.weight = 0.0;
        self.weighted_starts = 0.0;
        for number in 0..self.turns.len() {
            if let Some(&turn) = self.turns.get(number).filter(|turn| turn.weight > 0.0) {
                self.eligible.remove(number);
                self.enter(
                    number,
                    Turn {
                        start: turn.start - by,
                        ..turn
                    },
                );
            }
        }
    }
}

impl Balancer for WeightedRoundRobin {
    fn pick(
        &mut self,
        view: &mut View,
        ask: &Ask,
        gauges: &mut dyn Gauges,
        rng: &mut Rng,
    ) -> Order {
        let mut order = Order::default();
        let Some(first) = self.take_turn() else {
            return order;
        };
        gauges.claim(first, None);
        view.on_claim(first);
        order.push(first as u32, ask.attempts());
        // Not the next turns: with equal weights the same endpoint always comes next, and would
        // get all that a failing one sheds. A few at random, the least busy first.
        let retries = ask.attempts().saturating_sub(1);
        if retries > 0 {
            let sample = retries.saturating_mul(2).saturating_add(1);
            let among = Shortlist::new(view, sample, Order::LONGEST, rng, idle(ask.now));
            among
                .endpoints()
                .for_each(|endpoint| order.push(endpoint, ask.attempts()));
        }
        order
    }

    fn on_weight(&mut self, view: &View, endpoint: usize) {
        let weight = f64::from(view.pull(endpoint)) / 1000.0;
        let now = self.virtual_time();
        let Some(old) = self.leave(endpoint) else {
            return;
        };
        if weight == 0.0 {
            return;
        }
        // One that comes back waits for half a turn, on average what the others wait.
        let lag = if old.weight > 0.0 {
            (now - old.start) * old.weight
        } else {
            -0.5
        };
        self.enter(
            endpoint,
            Turn {
                start: now - lag / weight,
                weight,
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{REBASE, Rng, View, WeightedRoundRobin};
    use crate::balance::Algorithm;
    use crate::balance::world::World;
    use crate::values::units::{Share, Weight};

    /// Picks `n` times and returns the largest |k - n·s| on the way, and the widest gap × s.
    fn unevenness(world: &mut World, weights: &[u16], n: usize) -> (f64, f64) {
        let total: f64 = weights.iter().map(|&w| f64::from(w)).sum();
        let shares: Vec<f64> = weights.iter().map(|&w| f64::from(w) / total).collect();
        let mut picked = vec![0usize; weights.len()];
        let mut last = vec![None; weights.len()];
        let (mut error, mut gap) = (0f64, 0f64);
        for round in 1..=n {
            let endpoint = world.visit(None);
            picked[endpoint] += 1;
            if let Some(last) = last[endpoint].replace(round) {
                gap = gap.max((round - last) as f64 * shares[endpoint]);
            }
            for (count, share) in picked.iter().zip(&shares) {
                error = error.max((*count as f64 - round as f64 * share).abs());
            }
        }
        (error, gap)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_share_is_kept_at_every_moment(
            weights in prop::collection::vec(0..=1000u16, 1..40),
            seed: u64,
        ) {
            prop_assume!(weights.iter().any(|&weight| weight > 0));
            let mut world = World::new(Algorithm::WeightedRoundRobin, &weights, seed);
            let (error, gap) = unevenness(&mut world, &weights, 2_000);
            // One turn, and less than another one of phase.
            prop_assert!(error < 2.0, "off by {error} picks");
            // Two turns next to each other lie within two turns' time.
            prop_assert!(gap < 2.1, "a gap of {gap} turns");
        }

        #[test]
        fn whatever_happens_to_the_weights_nobody_bursts_or_starves(
            changes in prop::collection::vec((0..8usize, 0..=10u16), 1..40),
            seed: u64,
        ) {
            let mut weights = [100; 8];
            let mut world = World::new(Algorithm::WeightedRoundRobin, &weights, seed);
            for (endpoint, tenth) in changes {
                weights[endpoint] = tenth * 100;
                world.pool.set_weight(endpoint, Weight::new(tenth * 100).unwrap(), Share::WHOLE);
                if weights.iter().all(|&weight| weight == 0) {
                    prop_assert!(world.pick(1).is_empty());
                    continue;
                }
                let (error, _) = unevenness(&mut world, &weights, 50);
                prop_assert!(error < 3.0, "off by {error} picks");
            }
        }
    }

    #[test]
    fn a_weight_that_changes_with_every_pick_is_followed_exactly() {
        let mut world = World::new(Algorithm::WeightedRoundRobin, &[100; 5], 8);
        let mut rng = Rng::new(1);
        let (mut picked, mut due) = (0.0, 0.0f64);
        for _ in 0..20_000 {
            let weight = 1 + rng.below(1_000) as u16;
            world
                .pool
                .set_weight(2, Weight::new(weight).unwrap(), Share::WHOLE);
            due += f64::from(weight) / (400.0 + f64::from(weight));
            picked += f64::from(u8::from(world.visit(None) == 2));
            assert!(
                (picked - due).abs() < 2.0,
                "{picked} picks where {due} were due"
            );
        }
    }

    #[test]
    fn a_heavy_endpoint_among_many_light_ones_has_every_other_turn() {
        let mut weights = [5; 201];
        weights[0] = 1000;
        let mut world = World::new(Algorithm::WeightedRoundRobin, &weights, 3);
        let (error, gap) = unevenness(&mut world, &weights, 20_000);
        assert!(
            error < 1.5 && gap <= 1.5,
            "off by {error}, a gap of {gap} turns"
        );
    }

    #[test]
    fn equal_weights_are_round_robin_in_each_workers_own_order() {
        let cycle = |seed| {
            let mut world = World::new(Algorithm::WeightedRoundRobin, &[100; 6], seed);
            let cycle = [0; 6].map(|_| world.visit(None));
            for _ in 0..10 {
                assert_eq!([0; 6].map(|_| world.visit(None)), cycle);
            }
            cycle
        };
        assert_ne!(cycle(1), cycle(2));
    }

    #[test]
    fn a_rebase_changes_no_turn_and_comes_in_time() {
        let weights = [1, 2, 5, 1, 100].map(|weight| ("a", Weight::new(weight).unwrap()));
        let schedule = || WeightedRoundRobin::new(&View::new(weights), &mut Rng::new(6));
        let (mut plain, mut rebased) = (schedule(), schedule());
        for _ in 0..100 {
            for _ in 0..77 {
                assert_eq!(plain.take_turn(), rebased.take_turn());
            }
            rebased.rebase(rebased.virtual_time());
        }

        let mut fast = WeightedRoundRobin::new(&View::new([weights[0]]), &mut Rng::new(6));
        for _ in 0..200_000 {
            fast.take_turn();
            assert!(fast.virtual_time() <= REBASE + 1.0);
        }
    }

    #[test]
    fn retries_are_spread_over_the_others() {
        let mut world = World::new(Algorithm::WeightedRoundRobin, &[100; 5], 4);
        let mut seconds = [0; 5];
        for _ in 0..1_000 {
            let order: Vec<_> = world.pick(3).iter().collect();
            assert_eq!(order.len(), 3);
            world.release(order[0]);
            if order[0] == 0 {
                seconds[order[1]] += 1;
            }
        }
        assert!(seconds[1..].iter().all(|&n| n > 20), "{seconds:?}");
    }
}
