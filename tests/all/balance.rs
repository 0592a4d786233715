//! The balancers from outside: spread, stickiness, bounds and failure, over many decisions and in
//! simulated fleets of several workers.

mod workers;

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use junheng::balance::Algorithm::{
    self, ConsistentHash, LeastConnections, ResponseTime, RoundRobin, WeightedRoundRobin,
};
use junheng::balance::{Ask, Gauges, Pool};
use junheng::values::{clock::Instant, rng::Rng, units::Weight};

use workers::{Arrivals, Server, Workers, pool};

const ALL: [Algorithm; 5] = [
    RoundRobin,
    WeightedRoundRobin,
    LeastConnections,
    ResponseTime,
    ConsistentHash,
];

fn assert_spread(picks: &[u64], weights: &[u16], tolerance: f64) {
    let (picked, total): (u64, u64) = (
        picks.iter().sum(),
        weights.iter().map(|&weight| u64::from(weight)).sum(),
    );
    for (&picks, &weight) in picks.iter().zip(weights) {
        let expected = picked as f64 * f64::from(weight) / total as f64;
        let off = (picks as f64 - expected).abs();
        assert!(
            off <= tolerance * expected,
            "{picks} picks of weight {weight}, not {expected}"
        );
    }
}

const WEIGHTS: [u16; 7] = [10, 50, 100, 100, 0, 333, 1000];

#[test]
fn weighted_round_robin_gives_each_weight_its_share() {
    let mut workers = Workers::new(WeightedRoundRobin, &WEIGHTS, 1, 1);
    for _ in 0..100_000 {
        workers.pick(0, None, 1);
    }
    let total: f64 = WEIGHTS.into_iter().map(f64::from).sum();
    for (&picks, weight) in workers.picks.iter().zip(WEIGHTS) {
        let expected = 100_000.0 * f64::from(weight) / total;
        assert!(
            (picks as f64 - expected).abs() < 2.0,
            "{picks} picks, not {expected}"
        );
    }
}

#[test]
fn round_robin_gives_each_endpoint_the_same() {
    let mut workers = Workers::new(RoundRobin, &[100; 7], 1, 1);
    for _ in 0..100_000 {
        workers.pick(0, None, 1);
    }
    assert_spread(&workers.picks, &[100; 7], 0.001);
}

#[test]
fn requests_that_stay_are_held_in_proportion_to_the_weights() {
    for algorithm in [LeastConnections, ResponseTime] {
        let mut workers = Workers::new(algorithm, &WEIGHTS, 1, 1);
        for _ in 0..100_000 {
            workers.pick(0, None, 1);
        }
        assert_spread(&workers.counts.0, &WEIGHTS, 0.01);
    }
}

#[test]
fn a_saturated_fleet_whose_speeds_are_its_weights_is_used_in_proportion_to_them() {
    for (algorithm, workers) in [
        (LeastConnections, 1),
        (ResponseTime, 1),
        (LeastConnections, 4),
    ] {
        let weights = [50, 100, 100, 200, 400];
        let servers = weights.map(|weight| Server::working(10.0 / f64::from(weight), 0.0));
        let mut workers = Workers::new(algorithm, &weights, workers, 7);
        workers.run(&servers, Arrivals::Closed { in_flight: 170 }, 100_000);
        assert_spread(&workers.picks, &weights, 0.01);
    }
}

#[test]
fn one_more_endpoint_takes_its_share_of_keys_and_moves_no_others() {
    let keys = 20_000;
    let homes = |endpoints: usize| -> Vec<usize> {
        let mut workers = Workers::new(ConsistentHash, &vec![100; endpoints], 1, 1);
        (0..keys).map(|key| workers.visit(key)).collect()
    };
    let (before, after) = (homes(99), homes(100));
    let moved: Vec<_> = before
        .iter()
        .zip(&after)
        .filter(|(old, new)| old != new)
        .collect();
    assert!(
        moved.iter().all(|(_, new)| **new == 99),
        "a key moved between two that stayed"
    );
    assert!(
        moved.len() * 100 <= 2 * keys as usize,
        "{} of {keys} keys moved",
        moved.len()
    );
    // Read the other way round it is a removal: only the keys of the one that goes have moved.
    assert_eq!(
        moved.len(),
        after.iter().filter(|&&home| home == 99).count()
    );
}

#[test]
fn other_endpoints_weights_and_order_do_not_move_a_key() {
    let addresses: Vec<String> = (0..20).map(|n| format!("10.2.0.{n}:80")).collect();
    let homes = |order: &mut dyn Iterator<Item = usize>, heavy: usize| -> Vec<String> {
        let order: Vec<usize> = order.collect();
        let weight = |n| {
            if n == heavy {
                Weight::MAX
            } else {
                Weight::DEFAULT
            }
        };
        let endpoints = order.iter().map(|&n| (addresses[n].as_str(), weight(n)));
        let mut pool = Pool::new(ConsistentHash, endpoints, &mut Rng::new(1));
        let mut home = |key| {
            let ask = Ask {
                key: Some(key),
                now: Instant::default(),
                attempts: 1,
            };
            let mut gauges = workers::Counts(vec![0; 20]);
            let home = pool
                .pick(&ask, &mut gauges, &mut Rng::new(1))
                .first()
                .unwrap();
            pool.view_mut().on_release(home);
            pool.view().address(home).unwrap().to_owned()
        };
        (0..5_000).map(&mut home).collect()
    };
    let plain = homes(&mut (0..20), 99);
    assert_eq!(plain, homes(&mut (0..20).rev(), 99));
    let heavy = homes(&mut (0..20), 5);
    assert!(
        plain
            .iter()
            .zip(&heavy)
            .all(|(old, new)| old == new || *new == addresses[5])
    );
}

#[test]
fn eight_workers_never_exceed_the_bound_and_always_find_room() {
    for seed in 0..20 {
        let mut rng = Rng::new(seed);
        let mut weights: Vec<u16> = (0..12).map(|_| rng.below(11) as u16 * 100).collect();
        weights[0] = 100;
        let mut workers = Workers::new(ConsistentHash, &weights, 8, seed);
        let mut held = Vec::new();
        for _ in 0..10_000 {
            let worker = rng.below(8);
            // The load swings, so that views are too high as often as too low.
            let claim = rng.below(100) < if held.len() % 400 < 200 { 60 } else { 45 };
            if claim || held.is_empty() {
                // Every second request has one hot key.
                let key = if rng.below(2) == 0 { 7 } else { rng.bits() };
                let chosen = workers.pick(worker, Some(key), 2).first();
                let chosen = chosen.expect("somebody always has room");
                held.push((worker, chosen));
                let total: u64 = workers.counts.0.iter().sum();
                let sum: u64 = weights.iter().map(|&weight| u64::from(weight)).sum();
                let bound = (5 * total * u64::from(weights[chosen])).div_ceil(4 * sum);
                assert!(workers.counts.0[chosen] <= bound);
            } else {
                let (worker, endpoint) = held.swap_remove(rng.below(held.len()));
                workers.release(worker, endpoint);
            }
            if rng.below(200) == 0 {
                workers.sync(worker);
            }
        }
    }
}

#[test]
fn threads_that_race_for_the_last_places_all_find_one() {
    struct Shared<'a>(&'a [AtomicU64], &'a AtomicU64);
    impl Gauges for Shared<'_> {
        fn in_flight(&mut self, endpoint: usize) -> Option<u64> {
            Some(self.0[endpoint].load(SeqCst))
        }
        fn total(&mut self) -> Option<u64> {
            Some(self.1.load(SeqCst))
        }
        fn claim(&mut self, endpoint: usize, at_most: Option<u64>) -> bool {
            self.1.fetch_add(1, SeqCst);
            let room = self.0[endpoint].fetch_add(1, SeqCst) < at_most.unwrap_or(u64::MAX);
            if !room {
                self.release(endpoint);
            }
            room
        }
        fn release(&mut self, endpoint: usize) {
            self.0[endpoint].fetch_sub(1, SeqCst);
            self.1.fetch_sub(1, SeqCst);
        }
    }

    let (counts, total) = ([const { AtomicU64::new(0) }; 3], AtomicU64::new(0));
    std::thread::scope(|scope| {
        for seed in 0..8 {
            let (counts, total) = (&counts, &total);
            scope.spawn(move || {
                let mut gauges = Shared(counts, total);
                let mut rng = Rng::new(seed);
                let mut pool = pool(ConsistentHash, &[100; 3], &mut rng);
                for _ in 0..20_000 {
                    let ask = Ask {
                        key: Some(1),
                        now: Instant::default(),
                        attempts: 1,
                    };
                    let chosen = pool.pick(&ask, &mut gauges, &mut rng).first();
                    let chosen = chosen.expect("somebody always has room");
                    gauges.release(chosen);
                    pool.view_mut().on_release(chosen);
                }
            });
        }
    });
    assert!(counts.iter().all(|count| count.load(SeqCst) == 0));
}

#[test]
fn a_worker_knows_the_exact_counts_after_a_sync_and_its_own_steps_at_once() {
    for algorithm in ALL {
        let mut rng = Rng::new(3);
        let mut workers = Workers::new(algorithm, &[100; 9], 8, 3);
        let mut held = Vec::new();
        for _ in 0..5_000 {
            let worker = rng.below(8);
            let before = workers.in_flight(worker);
            if rng.below(5) < 3 || held.is_empty() {
                let chosen = workers.pick(worker, None, 3).first().unwrap();
                assert!(workers.in_flight(worker)[chosen] > 0);
                held.push((worker, chosen));
            } else {
                let (owner, endpoint) = held.swap_remove(rng.below(held.len()));
                workers.release(owner, endpoint);
                if owner == worker {
                    assert_eq!(
                        workers.in_flight(worker)[endpoint],
                        before[endpoint].max(1) - 1
                    );
                }
            }
            workers.sync(worker);
            assert_eq!(workers.in_flight(worker), workers.counts.0);
        }
        held.into_iter()
            .for_each(|(worker, endpoint)| workers.release(worker, endpoint));
        assert_eq!(workers.counts.0, [0; 9]);
    }
}

/// Six equal endpoints: 80 ms of prefill, one prompt at a time, then 1.5 s of decode. Sixty requests
/// a second are 80 % of what five of them can take.
fn six_endpoints() -> [Server; 6] {
    [Server::working(0.08, 1.5); 6]
}

#[test]
fn one_that_fails_everything_at_once_gets_next_to_nothing() {
    for algorithm in [LeastConnections, ResponseTime] {
        for count in [1, 4] {
            let mut servers = six_endpoints();
            servers[2] = Server::failing(Duration::from_millis(1));
            let mut workers = Workers::new(algorithm, &[100; 6], count, 11);
            workers.run(&servers, Arrivals::Open { per_second: 50.0 }, 10_000);
            let lost = workers.picks[2];
            assert!(
                (4..200).contains(&lost),
                "{algorithm:?}, {count} workers: {lost} of 10,000"
            );
        }
    }
}

#[test]
fn workers_that_see_each_other_only_on_the_tick_do_not_herd() {
    for algorithm in [LeastConnections, ResponseTime] {
        let mut workers = Workers::new(algorithm, &[100; 6], 4, 5);
        workers.run(
            &six_endpoints(),
            Arrivals::Open { per_second: 60.0 },
            20_000,
        );
        assert_spread(&workers.picks, &[100; 6], 0.05);
    }
}

#[test]
fn a_slow_endpoint_is_used_less_by_its_response_time() {
    let mut servers = six_endpoints();
    servers[4] = Server::working(0.32, 1.5);
    let mut workers = Workers::new(ResponseTime, &[100; 6], 4, 5);
    workers.run(&servers, Arrivals::Open { per_second: 40.0 }, 20_000);
    let share = workers.picks[4] as f64 / 20_000.0;
    assert!(
        share > 0.005 && share < 0.06,
        "a quarter as fast, and a share of {share}"
    );
}
