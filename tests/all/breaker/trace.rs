//! A random history of one endpoint: several workers, clocks that differ, stores that are lost, a counter that
//! restarts; each step is compared with the reference.

use std::time::Duration;

use junheng::health::{
    Caller, ErrorRate, FailTimeout, Failure, Outcome, ProbeEnd, Proof, Rules, Standing, State, Trip,
};
use junheng::values::{clock::Instant, rng::Rng};

use super::process::{Input, Shared, Step};
use super::reference::Reference;

/// How often each thing happened, so that what a test never met cannot pass for tested.
#[derive(Clone, Copy, Debug, Default)]
pub struct Coverage {
    pub steps: u64,
    pub stores_lost: u64,
    pub tripped: u64,
    pub ramping: u64,
    pub overloaded: u64,
    pub unavailable: u64,
    pub available: u64,
    pub probes_replaced: u64,
    pub probes_too_late: u64,
    pub probes_given_back: u64,
    pub counter_restarts: u64,
}

pub struct Trace {
    seed: u64,
    rng: Rng,
    rules: Rules,
    shared: Shared,
    reference: Reference,
    answered: u64,
    /// Milliseconds.
    clock: u64,
    workers: Vec<Worker>,
    probes: Vec<u32>,
    /// Of a hundred requests.
    failing: usize,
}

#[derive(Default)]
struct Worker {
    /// The state as this worker last saw it.
    known: State,
    /// A step that is not stored yet, and the successes to count when it is.
    step: Option<(Step, u64)>,
}

impl Trace {
    pub fn new(seed: u64) -> Trace {
        let mut rng = Rng::new(seed);
        let rules = rules(&mut rng);
        let workers = 1 + rng.below(4);
        Trace {
            seed,
            rules,
            shared: Shared::new(),
            reference: Reference::new(rules),
            answered: 1_000_000,
            clock: 1_000_000 + rng.below(20_000) as u64,
            workers: (0..workers).map(|_| Worker::default()).collect(),
            probes: Vec::new(),
            failing: [10, 25, 60, 90][rng.below(4)],
            rng,
        }
    }

    pub fn run(mut self, seen: &mut Coverage) {
        for _ in 0..20 + self.rng.below(60) {
            self.pass_time();
            if self.rng.below(100) == 0 {
                self.restart_counter(seen);
            }
            let worker = self.rng.below(self.workers.len());
            match self.workers[worker].step.take() {
                None => self.begin(worker, seen),
                Some((step, successes)) => self.store(worker, step, successes, seen),
            }
            self.compare_standings();
            seen.steps += 1;
        }
    }

    fn pass_time(&mut self) {
        const LEAPS: [u64; 16] = [
            0, 0, 0, 0, 0, 1, 1, 50, 300, 1_000, 3_000, 9_999, 10_000, 29_999, 30_000, 60_000,
        ];
        self.clock += match self.rng.below(40) {
            0 => [299_999, 300_000, 1_000_000][self.rng.below(3)],
            _ => LEAPS[self.rng.below(LEAPS.len())],
        };
    }

    /// A worker's clock may be behind the others'.
    fn now(&mut self) -> Instant {
        let behind = [0, 0, 0, 1, 400, 2_000][self.rng.below(6)];
        millis(self.clock - behind)
    }

    fn begin(&mut self, worker: usize, seen: &mut Coverage) {
        let now = self.now();
        let (input, successes) = match self.rng.below(20) {
            0 => (Input::Overloaded(self.retry_after()), 0),
            1 | 2 => (Input::Checked(self.rng.below(100) >= self.failing), 0),
            3..=6 => (Input::Probe(self.caller()), 0),
            7..=9 if !self.probes.is_empty() => {
                let token = self.probes[self.rng.below(self.probes.len())];
                (Input::Probed(token, self.probe_end()), 0)
            }
            _ if self.rng.below(100) < self.failing => {
                let waited = [0, 0, 1, 1_000, 60_000][self.rng.below(5)];
                let failure = Failure {
                    placed: millis(now.as_nanos() / 1_000_000 - waited),
                    caller: self.caller(),
                    proof: PROOFS[self.rng.below(PROOFS.len())],
                    status: 500,
                };
                (Input::Failed(failure), 0)
            }
            _ => {
                let successes = 1 + self.rng.below(12) as u64;
                if !self.workers[worker].known.needs_roll(&self.rules, now) {
                    return self.succeed(successes);
                }
                (Input::Roll(self.caller()), successes)
            }
        };
        let step = Step::take(input, &self.rules, now, &self.shared, self.answered);
        if step.outcome == Outcome::Unchanged {
            self.store(worker, step, successes, seen);
        } else {
            self.workers[worker].step = Some((step, successes));
        }
    }

    fn store(&mut self, worker: usize, step: Step, successes: u64, seen: &mut Coverage) {
        // A host may refuse a store for no reason that the worker can see.
        let refused = step.outcome != Outcome::Unchanged && self.rng.below(10) == 0;
        if refused || !step.store(&mut self.shared) {
            seen.stores_lost += 1;
            let (input, now) = (step.input, step.now);
            let again = Step::take(input, &self.rules, now, &self.shared, self.answered);
            if again.outcome != Outcome::Unchanged {
                self.workers[worker].step = Some((again, successes));
                return;
            }
            return self.stored(worker, again, successes, seen);
        }
        self.stored(worker, step, successes, seen);
    }

    fn stored(&mut self, worker: usize, step: Step, successes: u64, seen: &mut Coverage) {
        let (now, answered) = (step.now, step.answered);
        let lost = self.reference.awaits_a_probe();
        let late =
            matches!(step.input, Input::Probed(token, _) if Some(&token) != self.probes.last());
        let expected = match step.input {
            Input::Roll(caller) => self.reference.rolled(now, answered, caller),
            Input::Failed(failure) => self.reference.failed(&failure, now, answered),
            Input::Overloaded(asked) => self.reference.overloaded(now, answered, asked),
            Input::Probe(caller) => self.reference.probe(caller, now),
            Input::Probed(token, end) => self.reference.probed(now, answered, token, end),
            Input::Checked(passed) => self.reference.checked(now, answered, passed),
        };
        let told = Some(step.outcome)
            .filter(|outcome| !matches!(outcome, Outcome::Unchanged | Outcome::Counted));
        assert_eq!(
            told, expected,
            "{:?} at {now:?}, {answered} answered, {:?}: trace {}",
            step.input, self.rules, self.seed
        );
        match step.outcome {
            Outcome::Tripped => seen.tripped += 1,
            Outcome::GivenBack => seen.probes_given_back += 1,
            Outcome::Ramping => seen.ramping += 1,
            Outcome::Overloaded => seen.overloaded += 1,
            Outcome::Unavailable => seen.unavailable += 1,
            Outcome::Available => seen.available += 1,
            Outcome::Probing(token) => {
                seen.probes_replaced += u64::from(lost);
                self.probes.push(token);
            }
            Outcome::Unchanged => seen.probes_too_late += u64::from(late),
            Outcome::Counted => {}
        }
        self.workers[worker].known = step.into_state();
        self.succeed(successes);
    }

    fn succeed(&mut self, successes: u64) {
        for _ in 0..successes {
            self.answered += 1;
            self.reference.succeeded(self.answered);
        }
    }

    /// Not between a worker's reading of the counter and its store: that is the host's own order.
    fn restart_counter(&mut self, seen: &mut Coverage) {
        let idle = self.workers.iter().all(|worker| worker.step.is_none());
        if idle && self.answered >= 1_000_000 {
            self.answered = self.rng.below(50) as u64;
            self.reference.counter_restarted();
            seen.counter_restarts += 1;
        }
    }

    fn compare_standings(&mut self) {
        let (state, _) = self.shared.read();
        for now in [millis(self.clock), self.now()] {
            let standing = state.standing(&self.rules, now);
            let (until, share) = match standing {
                Standing::In(share) => (None, f64::from(share.thousandths()) / 1000.0),
                Standing::DueForProbe => (None, 0.0),
                Standing::Out { until, .. } => (until.map(Instant::as_nanos), 0.0),
            };
            let (code, expected_until, expected_share) = self.reference.standing(now);
            assert!(
                (standing.code(), until) == (code, expected_until)
                    && (share - expected_share).abs() < 0.001_1,
                "{standing:?} at {now:?}, not {:?}, {:?}: trace {}",
                (code, expected_until, expected_share),
                self.rules,
                self.seed
            );
        }
    }

    /// One caller has most of the traffic.
    fn caller(&mut self) -> Caller {
        Caller([1, 1, 1, 1, 2, 3][self.rng.below(6)])
    }

    fn retry_after(&mut self) -> Option<u64> {
        [None, Some(0), Some(1), Some(5), Some(59), Some(3_600)][self.rng.below(6)]
    }

    fn probe_end(&mut self) -> ProbeEnd {
        match self.rng.below(5) {
            0 => ProbeEnd::Failed(500),
            1 => ProbeEnd::Overloaded(self.retry_after().map(Duration::from_secs)),
            2 => ProbeEnd::Abandoned(Duration::from_secs([0, 2, 20, 100][self.rng.below(4)])),
            _ => ProbeEnd::Passed,
        }
    }
}

const PROOFS: [Proof; 5] = [
    Proof::Alike,
    Proof::Unreached,
    Proof::ServedElsewhere,
    Proof::Unopposed,
    Proof::Unexplained,
];

fn rules(rng: &mut Rng) -> Rules {
    let mut seconds = |choices: [u64; 3]| Duration::from_secs(choices[rng.below(3)]);
    let (window, tripped, fail_timeout) = (
        seconds([300, 30, 60]),
        seconds([30, 10, 1]),
        seconds([10, 1, 30]),
    );
    let trip = match rng.below(4) {
        0 => Trip::ErrorRate(ErrorRate::default()),
        1 => Trip::FailTimeout(FailTimeout {
            max_fails: [0, 1, 3, 5][rng.below(4)],
            fail_timeout,
        }),
        _ => Trip::ErrorRate(ErrorRate {
            window,
            above_percent: [0, 10, 20, 50, 99][rng.below(5)],
            least_requests: [1, 5, 10, 20][rng.below(4)],
            in_a_row: [0, 2, 3, 5][rng.below(4)],
            tripped,
        }),
    };
    Rules {
        trip,
        check_failures: 1 + rng.below(3) as u8,
        check_passes: 1 + rng.below(3) as u8,
        ..Rules::default()
    }
}

fn millis(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}
