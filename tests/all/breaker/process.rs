//! A proxy's process in miniature: shared data under compare-and-swap, a counter, and workers whose
//! reads and stores come in any order.

use std::time::Duration;

use junheng::health::{Caller, Check, Failure, Outcome, ProbeEnd, Refusal, Rules, State};
use junheng::values::{clock::Instant, rng::Rng};

/// One key of shared data.
pub struct Shared {
    bytes: Vec<u8>,
    version: u32,
}

impl Shared {
    pub fn new() -> Shared {
        Shared {
            bytes: State::default().encode(),
            version: 1,
        }
    }

    pub fn read(&self) -> (State, u32) {
        let state = State::decode(&self.bytes).expect("what was stored");
        (state, self.version)
    }

    /// Stores `state` if nobody has stored anything since `version`.
    pub fn store(&mut self, state: &State, version: u32) -> bool {
        let stored = version == self.version;
        if stored {
            self.bytes = state.encode();
            self.version += 1;
        }
        stored
    }
}

/// What a worker has to tell.
#[derive(Clone, Copy, Debug)]
pub enum Input {
    Roll(Caller),
    Failed(Failure),
    /// The only request in flight was refused.
    Overloaded(Option<u64>),
    Probe(Caller),
    Probed(u32, ProbeEnd),
    Checked(bool),
}

/// A step that a worker has taken and not yet stored.
#[derive(Debug)]
pub struct Step {
    pub input: Input,
    pub now: Instant,
    pub answered: u64,
    pub outcome: Outcome,
    version: u32,
    new: State,
}

impl Step {
    /// Reads the state, then the counter, and steps.
    pub fn take(input: Input, rules: &Rules, now: Instant, shared: &Shared, answered: u64) -> Step {
        let (old, version) = shared.read();
        let (new, outcome) = match input {
            Input::Roll(caller) => old.roll(rules, now, answered, caller),
            Input::Failed(failure) => old.failed(rules, &failure, now, answered),
            Input::Overloaded(asked) => {
                let refusal = Refusal {
                    in_flight: 1,
                    retry_after: asked.map(Duration::from_secs),
                    caller: Caller(1),
                    may_be_callers: false,
                    hidden: false,
                };
                old.overloaded(rules, &refusal, now, answered)
            }
            Input::Probe(caller) => old.probe(rules, caller, false, now),
            Input::Probed(token, end) => old.probed(rules, now, answered, token, end),
            Input::Checked(passed) => {
                old.checked(rules, now, answered, Check { passed, status: 0 })
            }
        };
        assert_eq!(
            outcome == Outcome::Unchanged,
            new == old,
            "{input:?} is {outcome:?}"
        );
        Step {
            input,
            now,
            answered,
            outcome,
            version,
            new,
        }
    }

    /// Whether the step is over: there was nothing to store, or it has been stored.
    pub fn store(&self, shared: &mut Shared) -> bool {
        self.outcome == Outcome::Unchanged || shared.store(&self.new, self.version)
    }

    /// The state that this worker knows of from now on.
    pub fn into_state(self) -> State {
        self.new
    }
}

/// Lets `workers` with as many `arrivals` each ask for the probe at the same moment, their reads and stores
/// in an order drawn from `rng`; the tokens that were given.
pub fn arrive(
    shared: &mut Shared,
    rules: &Rules,
    now: Instant,
    (workers, arrivals): (usize, usize),
    rng: &mut Rng,
) -> Vec<u32> {
    let mut left = vec![arrivals; workers];
    let mut steps: Vec<Option<Step>> = (0..workers).map(|_| None).collect();
    let mut tokens = Vec::new();
    while left.iter().any(|&left| left > 0) {
        let worker = rng.below(workers);
        match steps[worker].take() {
            None if left[worker] == 0 => {}
            None => {
                steps[worker] = Some(Step::take(Input::Probe(Caller(1)), rules, now, shared, 0))
            }
            Some(step) if step.store(shared) => {
                left[worker] -= 1;
                if let Outcome::Probing(token) = step.outcome {
                    tokens.push(token);
                }
            }
            Some(_) => {}
        }
    }
    tokens
}
