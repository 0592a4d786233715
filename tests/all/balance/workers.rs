//! Several workers of one proxy, each with its own view of a pool and all with the same gauges; and a
//! fleet behind them in virtual time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use junheng::balance::{Algorithm, Ask, Gauges, Order, Pool};
use junheng::values::{clock::Instant, rng::Rng, units::Weight};

/// What a worker waits between two looks at the exact gauges.
const TICK: Duration = Duration::from_millis(100);

/// Exact counts of requests in flight.
pub struct Counts(pub Vec<u64>);

impl Gauges for Counts {
    fn in_flight(&mut self, endpoint: usize) -> Option<u64> {
        Some(self.0[endpoint])
    }

    fn total(&mut self) -> Option<u64> {
        Some(self.0.iter().sum())
    }

    fn claim(&mut self, endpoint: usize, at_most: Option<u64>) -> bool {
        let room = at_most.is_none_or(|bound| self.0[endpoint] < bound);
        self.0[endpoint] += u64::from(room);
        room
    }

    fn release(&mut self, endpoint: usize) {
        self.0[endpoint] -= 1;
    }
}

/// A pool of endpoints of these weights.
pub fn pool(algorithm: Algorithm, weights: &[u16], rng: &mut Rng) -> Pool {
    let addresses: Vec<String> = (0..weights.len())
        .map(|n| format!("10.0.{}.{}:8000", n / 250, n % 250))
        .collect();
    let weights = weights
        .iter()
        .map(|&weight| Weight::new(weight).expect("at most 1000"));
    Pool::new(
        algorithm,
        addresses.iter().map(String::as_str).zip(weights),
        rng,
    )
}

pub struct Workers {
    pools: Vec<Pool>,
    pub counts: Counts,
    /// How often each endpoint was chosen.
    pub picks: Vec<u64>,
    rng: Rng,
    now: Instant,
}

impl Workers {
    pub fn new(algorithm: Algorithm, weights: &[u16], workers: usize, seed: u64) -> Workers {
        let mut rng = Rng::new(seed);
        Workers {
            pools: (0..workers)
                .map(|_| pool(algorithm, weights, &mut rng))
                .collect(),
            counts: Counts(vec![0; weights.len()]),
            picks: vec![0; weights.len()],
            rng,
            now: Instant::default(),
        }
    }

    pub fn pick(&mut self, worker: usize, key: Option<u64>, attempts: usize) -> Order {
        let ask = Ask {
            key,
            now: self.now,
            attempts,
        };
        let order = self.pools[worker].pick(&ask, &mut self.counts, &mut self.rng);
        if let Some(first) = order.first() {
            self.picks[first] += 1;
        }
        order
    }

    pub fn release(&mut self, worker: usize, endpoint: usize) {
        self.counts.0[endpoint] -= 1;
        self.pools[worker].view_mut().on_release(endpoint);
    }

    /// Where `key` goes in an idle pool.
    pub fn visit(&mut self, key: u64) -> usize {
        let home = self.pick(0, Some(key), 1).first().expect("an idle pool");
        self.release(0, home);
        home
    }

    pub fn sync(&mut self, worker: usize) {
        for (endpoint, &exact) in self.counts.0.iter().enumerate() {
            self.pools[worker]
                .view_mut()
                .sync_in_flight(endpoint, exact);
        }
    }

    pub fn in_flight(&self, worker: usize) -> Vec<u64> {
        let view = self.pools[worker].view();
        (0..view.len())
            .map(|endpoint| view.in_flight(endpoint).into())
            .collect()
    }

    /// Sends `requests` through the workers, in turn, to `servers`.
    pub fn run(&mut self, servers: &[Server], arrivals: Arrivals, requests: u64) {
        let mut servers = servers.to_vec();
        let mut agenda = Agenda::default();
        agenda.at(self.now.after(TICK), Event::Tick);
        match arrivals {
            Arrivals::Open { .. } => agenda.at(self.now, Event::Arrival { worker: 0 }),
            Arrivals::Closed { in_flight } => (0..in_flight).for_each(|n| {
                agenda.at(
                    self.now,
                    Event::Arrival {
                        worker: n % self.pools.len(),
                    },
                );
            }),
        }
        let mut sent = 0;
        while sent < requests {
            let (now, event) = agenda.next();
            self.now = now;
            match event {
                Event::Tick => {
                    (0..self.pools.len()).for_each(|worker| self.sync(worker));
                    agenda.at(now.after(TICK), Event::Tick);
                }
                Event::Arrival { worker } => {
                    sent += 1;
                    let endpoint = self.pick(worker, None, 3).first().expect("a candidate");
                    servers[endpoint].serve(now, &mut self.rng, &mut agenda, worker, endpoint);
                    if let Arrivals::Open { per_second } = arrivals {
                        let gap = exponential(1.0 / per_second, &mut self.rng);
                        let worker = (worker + 1) % self.pools.len();
                        agenda.at(now.after(gap), Event::Arrival { worker });
                    }
                }
                Event::FirstByte {
                    worker,
                    endpoint,
                    after,
                } => {
                    self.pools[worker]
                        .view_mut()
                        .on_first_byte(endpoint, after, now);
                }
                Event::End {
                    worker,
                    endpoint,
                    good,
                } => {
                    self.release(worker, endpoint);
                    match good {
                        true => self.pools[worker].view_mut().on_answer(endpoint),
                        false => self.pools[worker].view_mut().on_failure(endpoint, now),
                    }
                    if let Arrivals::Closed { .. } = arrivals {
                        agenda.at(now, Event::Arrival { worker });
                    }
                }
            }
        }
    }
}

/// How requests come.
#[derive(Clone, Copy)]
pub enum Arrivals {
    /// At random, whatever becomes of them.
    Open { per_second: f64 },
    /// A new one whenever one ends.
    Closed { in_flight: usize },
}

/// A model server: prompts are prefilled one after the other, answers decoded side by side.
#[derive(Clone, Copy)]
pub struct Server {
    /// Seconds.
    prefill: f64,
    /// Seconds, in the mean.
    decode: f64,
    fails_after: Option<Duration>,
    free_at: Instant,
}

impl Server {
    pub fn working(prefill: f64, decode: f64) -> Server {
        Server {
            prefill,
            decode,
            fails_after: None,
            free_at: Instant::default(),
        }
    }

    pub fn failing(after: Duration) -> Server {
        Server {
            fails_after: Some(after),
            ..Server::working(0.0, 0.0)
        }
    }

    fn serve(
        &mut self,
        now: Instant,
        rng: &mut Rng,
        agenda: &mut Agenda,
        worker: usize,
        endpoint: usize,
    ) {
        if let Some(after) = self.fails_after {
            return agenda.at(
                now.after(after),
                Event::End {
                    worker,
                    endpoint,
                    good: false,
                },
            );
        }
        self.free_at = self
            .free_at
            .max(now)
            .after(Duration::from_secs_f64(self.prefill));
        let after = self.free_at.since(now);
        agenda.at(
            self.free_at,
            Event::FirstByte {
                worker,
                endpoint,
                after,
            },
        );
        let end = self.free_at.after(exponential(self.decode, rng));
        agenda.at(
            end,
            Event::End {
                worker,
                endpoint,
                good: true,
            },
        );
    }
}

fn exponential(mean: f64, rng: &mut Rng) -> Duration {
    Duration::from_secs_f64(-mean * (1.0 - rng.unit()).ln())
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Tick,
    FirstByte {
        worker: usize,
        endpoint: usize,
        after: Duration,
    },
    End {
        worker: usize,
        endpoint: usize,
        good: bool,
    },
    Arrival {
        worker: usize,
    },
}

/// What is to happen, in order of time and, at the same time, of planning.
#[derive(Default)]
struct Agenda {
    events: BinaryHeap<Reverse<(Instant, u64, Event)>>,
    planned: u64,
}

impl Agenda {
    fn at(&mut self, time: Instant, event: Event) {
        self.planned += 1;
        self.events.push(Reverse((time, self.planned, event)));
    }

    fn next(&mut self) -> (Instant, Event) {
        let Reverse((time, _, event)) = self.events.pop().expect("a tick is always planned");
        (time, event)
    }
}
