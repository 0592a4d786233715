//! One worker and its gauges, for tests.

use crate::values::clock::Instant;
use crate::values::rng::Rng;
use crate::values::units::Weight;

use super::{Algorithm, Ask, Gauges, Order, Pool};

pub(super) struct World {
    pub pool: Pool,
    pub counts: Counts,
    pub rng: Rng,
    pub now: Instant,
}

impl World {
    pub fn new(algorithm: Algorithm, weights: &[u16], seed: u64) -> World {
        let addresses: Vec<String> = (0..weights.len())
            .map(|n| format!("10.0.{}.{}:80", n / 256, n % 256))
            .collect();
        let weights = weights.iter().map(|&weight| Weight::new(weight).unwrap());
        let mut rng = Rng::new(seed);
        let endpoints = addresses.iter().map(String::as_str).zip(weights);
        let pool = Pool::new(algorithm, endpoints, &mut rng);
        let counts = Counts {
            counts: vec![0; pool.view().len()],
            reads: 0,
        };
        World {
            pool,
            counts,
            rng,
            now: Instant::from_nanos(1_000_000_000_000),
        }
    }

    pub fn pick(&mut self, attempts: usize) -> Order {
        self.pick_by(None, attempts)
    }

    pub fn pick_by(&mut self, key: Option<u64>, attempts: usize) -> Order {
        let ask = Ask {
            key,
            now: self.now,
            attempts,
        };
        self.pool.pick(&ask, &mut self.counts, &mut self.rng)
    }

    pub fn release(&mut self, endpoint: usize) {
        self.counts.counts[endpoint] -= 1;
        self.pool.view_mut().on_release(endpoint);
    }

    /// Picks once and lets go: the endpoint.
    pub fn visit(&mut self, key: Option<u64>) -> usize {
        let endpoint = self.pick_by(key, 1).first().unwrap();
        self.release(endpoint);
        endpoint
    }
}

pub(super) struct Counts {
    pub counts: Vec<u64>,
    /// How often an exact count was read.
    pub reads: usize,
}

impl Gauges for Counts {
    fn in_flight(&mut self, endpoint: usize) -> Option<u64> {
        self.reads += 1;
        Some(self.counts[endpoint])
    }

    fn total(&mut self) -> Option<u64> {
        Some(self.counts.iter().sum())
    }

    fn claim(&mut self, endpoint: usize, at_most: Option<u64>) -> bool {
        let room = at_most.is_none_or(|bound| self.counts[endpoint] < bound);
        self.counts[endpoint] += u64::from(room);
        room
    }

    fn release(&mut self, endpoint: usize) {
        self.counts[endpoint] -= 1;
    }
}
