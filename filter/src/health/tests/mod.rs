//! One endpoint in a world of one worker; several of them are met in the suite's `breaker`.

mod callers;
mod extremes;
mod reloads;
mod rests;
mod returns;
mod trips;

use super::*;

/// One endpoint, its counter of successes and a clock.
struct World {
    rules: Rules,
    state: State,
    answered: u64,
    seconds: f64,
    /// Who sends the next request.
    caller: Caller,
    /// What the next failure proves.
    proof: Proof,
}

impl World {
    fn new() -> World {
        World::under(Rules::default())
    }

    fn under(rules: Rules) -> World {
        World {
            rules,
            state: State::default(),
            answered: 1_000,
            seconds: 1_000.0,
            caller: Caller(1),
            proof: Proof::ServedElsewhere,
        }
    }

    fn tripped() -> World {
        let mut world = World::new();
        assert_eq!(world.fail(5), Outcome::Tripped);
        world
    }

    /// Tripped, thirty seconds later, and probed.
    fn probing() -> (World, u32) {
        let mut world = World::tripped();
        world.wait(30.0);
        let token = world.probe().unwrap();
        (world, token)
    }

    fn ramping() -> World {
        let (mut world, token) = World::probing();
        assert_eq!(world.probed(token, ProbeEnd::Passed), Outcome::Ramping);
        world
    }

    fn now(&self) -> Instant {
        at(self.seconds)
    }

    fn wait(&mut self, seconds: f64) {
        self.seconds += seconds;
    }

    fn store(&mut self, (new, outcome): (State, Outcome)) -> Outcome {
        assert_eq!(new == self.state, outcome == Outcome::Unchanged);
        self.state = new;
        outcome
    }

    /// That many failures; what the last came to, all others having changed nothing.
    fn fail(&mut self, failures: u32) -> Outcome {
        for nth in 1..=failures {
            let outcome = self.fail_placed(self.seconds);
            if nth == failures {
                return outcome;
            }
            assert_ne!(outcome, Outcome::Tripped, "failure {nth} of {failures}");
        }
        Outcome::Unchanged
    }

    fn fail_placed(&mut self, placed: f64) -> Outcome {
        let (now, answered) = (self.now(), self.answered);
        let failure = Failure {
            placed: at(placed),
            caller: self.caller,
            proof: self.proof,
            status: 500,
        };
        let step = self.state.failed(&self.rules, &failure, now, answered);
        self.store(step)
    }

    fn succeed(&mut self, successes: u64) {
        if self.state.needs_roll(&self.rules, self.now()) {
            let (now, answered) = (self.now(), self.answered);
            let step = self.state.roll(&self.rules, now, answered, self.caller);
            self.store(step);
        }
        self.answered += successes;
    }

    /// As many successes as failures, one after the other, so that none is in a row.
    fn alternate(&mut self, failures: u32) -> Outcome {
        let mut outcome = Outcome::Unchanged;
        for _ in 0..failures {
            self.succeed(1);
            outcome = self.fail(1);
        }
        outcome
    }

    /// A request is refused while it is the only one in flight.
    fn overload(&mut self, retry_after: Option<u64>) -> Outcome {
        self.refuse(1, retry_after)
    }

    /// The last of so many requests in flight is refused.
    fn refuse(&mut self, in_flight: u32, retry_after: Option<u64>) -> Outcome {
        let refusal = Refusal {
            in_flight,
            retry_after: retry_after.map(Duration::from_secs),
            caller: self.caller,
            may_be_callers: false,
            hidden: false,
        };
        let (now, answered) = (self.now(), self.answered);
        let step = self.state.overloaded(&self.rules, &refusal, now, answered);
        self.store(step)
    }

    fn bound(&self) -> Option<u32> {
        let bound = self.state.bound(self.now(), self.answered);
        bound.map(|bound| bound.most)
    }

    fn probe(&mut self) -> Option<u32> {
        let step = self
            .state
            .probe(&self.rules, self.caller, false, self.now());
        match self.store(step) {
            Outcome::Probing(token) => Some(token),
            _ => None,
        }
    }

    fn probed(&mut self, token: u32, end: ProbeEnd) -> Outcome {
        let (now, answered) = (self.now(), self.answered);
        let step = self.state.probed(&self.rules, now, answered, token, end);
        self.store(step)
    }

    /// Active checks: `p` passed, `f` failed; what the last came to.
    fn check(&mut self, checks: &str) -> Outcome {
        let mut outcome = Outcome::Unchanged;
        for check in checks.chars() {
            let (now, answered) = (self.now(), self.answered);
            let passed = check == 'p';
            let status = if passed { 200 } else { 404 };
            let check = Check { passed, status };
            let step = self.state.checked(&self.rules, now, answered, check);
            outcome = self.store(step);
        }
        outcome
    }

    fn standing(&self) -> Standing {
        self.state.standing(&self.rules, self.now())
    }
}

fn at(seconds: f64) -> Instant {
    Instant::from_nanos((seconds * 1e9) as u64)
}

fn out(why: Why, until: f64) -> Standing {
    let until = Some(at(until));
    Standing::Out { why, until }
}
