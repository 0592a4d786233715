//! What one decision costs, by algorithm and number of endpoints: the choice, its claim and, as the
//! pool is to stay as full as it is, the end of the oldest request.
//!
//! To watch: 1,000 endpoints at most three times 64, whatever the algorithm.

use std::collections::VecDeque;
use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use junheng::balance::{Algorithm, Ask, Gauges, Pool};
use junheng::values::{clock::Instant, rng::Rng, units::Weight};

const ALGORITHMS: [Algorithm; 5] = [
    Algorithm::RoundRobin,
    Algorithm::WeightedRoundRobin,
    Algorithm::LeastConnections,
    Algorithm::ResponseTime,
    Algorithm::ConsistentHash,
];

/// Requests in flight per endpoint.
const LOAD: usize = 4;

fn decision(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decision");
    for algorithm in ALGORITHMS {
        for endpoints in [8, 64, 1_000] {
            let mut busy = Busy::new(algorithm, endpoints);
            let id = BenchmarkId::new(format!("{algorithm:?}"), endpoints);
            group.bench_function(id, |bencher| bencher.iter(|| busy.step()));
        }
    }
    group.finish();
}

/// A pool at work: unlike weights, a time to first byte learned of each endpoint, one in eight failing.
struct Busy {
    pool: Pool,
    gauges: Counters,
    rng: Rng,
    now: Instant,
    in_flight: VecDeque<usize>,
}

impl Busy {
    fn new(algorithm: Algorithm, endpoints: usize) -> Busy {
        let mut rng = Rng::new(1);
        let addresses: Vec<String> = (0..endpoints)
            .map(|n| format!("10.0.{}.{}:8000", n / 250, n % 250))
            .collect();
        let weights = [50, 100, 200].map(|weight| Weight::new(weight).unwrap_or_default());
        let endpoints = addresses
            .iter()
            .map(String::as_str)
            .zip(weights.into_iter().cycle());
        let mut pool = Pool::new(algorithm, endpoints, &mut rng);
        let now = Instant::from_nanos(1_000_000_000_000);
        for endpoint in 0..pool.view().len() {
            for _ in 0..10 {
                let first_byte = Duration::from_secs_f64(0.05 + rng.unit());
                pool.view_mut().on_first_byte(endpoint, first_byte, now);
            }
            if endpoint % 8 == 0 {
                pool.view_mut().on_failure(endpoint, now);
            }
        }
        let gauges = Counters {
            endpoints: vec![0; pool.view().len()],
            total: 0,
        };
        let mut busy = Busy {
            pool,
            gauges,
            rng,
            now,
            in_flight: VecDeque::new(),
        };
        for _ in 0..LOAD * busy.gauges.endpoints.len() {
            busy.pick();
        }
        busy
    }

    fn step(&mut self) {
        self.pick();
        if let Some(endpoint) = self.in_flight.pop_front() {
            self.gauges.endpoints[endpoint] -= 1;
            self.gauges.total -= 1;
            self.pool.view_mut().on_release(endpoint);
        }
        self.now = self.now.after(Duration::from_millis(1));
    }

    fn pick(&mut self) {
        let ask = Ask {
            key: Some(self.rng.bits()),
            now: self.now,
            attempts: 3,
        };
        let order = self
            .pool
            .pick(black_box(&ask), &mut self.gauges, &mut self.rng);
        self.in_flight.extend(black_box(order).first());
    }
}

struct Counters {
    endpoints: Vec<u64>,
    total: u64,
}

impl Gauges for Counters {
    fn in_flight(&mut self, endpoint: usize) -> Option<u64> {
        Some(self.endpoints[endpoint])
    }

    fn total(&mut self) -> Option<u64> {
        Some(self.total)
    }

    fn claim(&mut self, endpoint: usize, at_most: Option<u64>) -> bool {
        let room = at_most.is_none_or(|bound| self.endpoints[endpoint] < bound);
        self.endpoints[endpoint] += u64::from(room);
        self.total += u64::from(room);
        room
    }

    fn release(&mut self, endpoint: usize) {
        self.endpoints[endpoint] -= 1;
        self.total -= 1;
    }
}

criterion_group!(benches, decision);
criterion_main!(benches);
