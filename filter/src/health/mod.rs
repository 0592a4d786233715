//! What the whole process agrees on about one endpoint: its window of failures, its breaker, its rest
//! and its active checks, as a value that is stepped by pure functions.
//!
//! # Why a value
//!
//! A proxy has a VM for each worker thread. If each judged endpoints by its own requests, a dead one
//! would have to fail in every worker before it is left, and each would send a probe of its own. So
//! there is one [`State`] an endpoint, kept encoded in the proxy's shared data: a worker decodes it,
//! takes a step `(old, now, input) -> (new, outcome)`, and stores the result if nobody else has stored
//! one meanwhile; else it begins again with what they stored. Whatever has to happen once (the trip, the
//! probe) is what one such store did.
//!
//! # Where several things are known at once
//!
//! - *Breaker.* A trip is undone by nothing but a good probe: while tripped or probing, outcomes of
//!   ordinary requests change nothing, for those were placed before. A failed probe trips again.
//!   With the ramp the window begins afresh, and failures of requests placed before it are not
//!   counted: a server that hung and has been restarted would be tripped once more by the timeouts
//!   of those that still waited for its predecessor.
//! - *A probe that has shown nothing* (its caller left, or its request failed elsewhere, too) is
//!   followed by another after as long as it has waited: a caller who always leaves at once cannot
//!   keep an endpoint out, and one that hangs holds up a caller in half of the time at most.
//! - *Overload* ([`overload`]) is neither failure nor success: it bounds what the endpoint carries,
//!   and its window is not touched. A probe that meets it has found a server that lives and wants
//!   no traffic: the trip goes on until the rest is over, and then another probe is due. Ramping
//!   instead would send a tenth of the traffic to a server that has just asked for none.
//! - *Checks* are about the server, the breaker about its answers. Neither undoes the other: an
//!   endpoint that is back by its checks ramps, unless it is tripped, and then it still has to pass its probe.
//! - *Another configuration.* What is stored is read under the rules of today ([`State::under`]):
//!   without a breaker a trip means nothing, without checks neither does what they have found.
//!
//! # Clocks and counters
//!
//! Times are readings of one monotonic clock, taken by several threads: one that is older than what is
//! stored counts as that. `answered` is a counter of the endpoint's successes, which the workers raise
//! without looking at the state (see `window.rs` for why). It must be read *after* the state that it is handed to:
//! then it is never below what the state holds unless the counter began anew, and that is noticed.

mod breaker;
mod checks;
mod codec;
mod evidence;
mod overload;
mod retry_after;
mod rules;
mod standing;
mod window;

use std::time::Duration;

use crate::values::clock::Instant;

use breaker::Breaker;
use checks::Checks;
use evidence::Row;
use overload::Overload;
use rules::Witnesses;
use window::Window;

pub use breaker::{Cause, TripRule};
pub use checks::Check;
pub use evidence::{Caller, Callers, Failure, Proof};
pub use overload::Refusal;
pub use retry_after::retry_after;
pub use rules::{ErrorRate, FailTimeout, Rules, Trip};
pub use standing::{LEAST_SHARE, Standing, Why};

/// An endpoint that has served another caller so lately does not refuse all of them.
const LATELY: Duration = Duration::from_secs(15);
/// Two callers fail at once if not more than this lies between them: a failure that one has now and
/// then does not make another's its equal for the whole window.
const AT_ONCE: Duration = Duration::from_secs(60);

/// All that is agreed on about one endpoint. A fresh one is available, admitting and without a past.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    breaker: Breaker,
    window: Window,
    /// The callers whose requests were served.
    served: Callers,
    /// The callers whose requests failed after they had been looked at.
    failing: Callers,
    overload: Overload,
    checks: Checks,
}

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The new state is the old one: there is nothing to store.
    Unchanged,
    /// Counted; where the endpoint stands is as before.
    Counted,
    /// The breaker tripped at this very input.
    Tripped,
    /// The caller's request is the probe, with this token, once the new state has been stored.
    Probing(u32),
    /// The endpoint is back, and its share grows from now on.
    Ramping,
    /// The probe was given back: another will be due.
    GivenBack,
    /// The endpoint is overloaded: what it carries is bounded, or it rests.
    Overloaded,
    /// Active checks took the endpoint out.
    Unavailable,
    /// Active checks brought it back, but it is tripped still.
    Available,
}

/// How a probe ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeEnd {
    /// Answered well.
    Passed,
    /// Failed in any of the ways that count as failure, with this status; 0 without one.
    Failed(u16),
    /// Refused for overload, with this `Retry-After` if it had one.
    Overloaded(Option<Duration>),
    /// Showed nothing for so long: its caller left, or the request failed elsewhere, too.
    Abandoned(Duration),
}

impl State {
    /// The state as the rules of a new configuration have it: what it could not have come to under
    /// them is undone, and no trip lasts longer than they say.
    pub fn under(&self, rules: &Rules, now: Instant) -> State {
        let mut new = self.clone();
        if !rules.breaks {
            let probes = new.breaker.probes;
            new.breaker = Breaker {
                probes,
                ..Breaker::default()
            };
            new.window = Window::default();
        }
        if !rules.checks {
            new.checks = Checks::default();
        }
        new.breaker.clip(now.after(rules.trip.lasts()));
        new
    }

    /// Whether [`roll`](Self::roll) is due before a success is counted at `now`: at most once a
    /// bucket, and never while the breaker does not listen.
    pub fn needs_roll(&self, rules: &Rules, now: Instant) -> bool {
        rules.breaks && self.breaker.listens() && self.window.needs_roll(rules.trip.window(), now)
    }

    /// Begins the window's bucket of `now`, before a success of `caller` is counted into it.
    pub fn roll(
        &self,
        rules: &Rules,
        now: Instant,
        answered: u64,
        caller: Caller,
    ) -> (State, Outcome) {
        self.step(|new| {
            if new.breaker.listens() && new.window.roll(rules.trip.window(), now, answered) {
                new.served.meet(caller, now);
                Outcome::Counted
            } else {
                Outcome::Unchanged
            }
        })
    }

    /// Whether [`served`](Self::served) has something to store for `caller`.
    pub fn is_news_of(&self, caller: Caller, now: Instant) -> bool {
        self.served.wants(caller, now)
    }

    /// A request of `caller` was served.
    pub fn served(&self, caller: Caller, now: Instant) -> (State, Outcome) {
        self.step(|new| match new.served.wants(caller, now) {
            true => {
                new.served.meet(caller, now);
                Outcome::Counted
            }
            false => Outcome::Unchanged,
        })
    }

    /// A request failed.
    pub fn failed(
        &self,
        rules: &Rules,
        failure: &Failure,
        now: Instant,
        answered: u64,
    ) -> (State, Outcome) {
        self.step(|new| {
            let late = new.breaker.is_past(failure.placed);
            if !rules.breaks || !new.breaker.listens() || late {
                return Outcome::Unchanged;
            }
            let window = rules.trip.window();
            let counted = match new.is_lone(rules, failure.caller, now) {
                true if failure.proof == Proof::ServedElsewhere => Proof::Unopposed,
                _ => failure.proof,
            };
            let tally = new.window.fail(window, now, answered, failure, counted);
            if failure.proof != Proof::Unreached {
                new.failing.meet(failure.caller, now);
            }
            let others_within = |time| new.served.others(failure.caller, time, now);
            let witnesses = Witnesses {
                others_served: others_within(window),
                others_lately: others_within(window.min(AT_ONCE)),
            };
            let Some(rule) = rules.trip.reached(&tally, witnesses) else {
                return Outcome::Counted;
            };
            let status = failure.status;
            let until = now.after(rules.trip.lasts());
            new.breaker.trip(now, until, Cause { rule, status });
            Outcome::Tripped
        })
    }

    /// Whether `caller` is the only one whose requests fail here, while others' are served: then its
    /// failures are its own until another caller has them, too.
    pub fn is_lone(&self, rules: &Rules, caller: Caller, now: Instant) -> bool {
        let window = rules.trip.window();
        self.served.others(caller, window, now)
            && !self.failing.others(caller, window.min(AT_ONCE), now)
    }

    /// A request was refused for overload.
    pub fn overloaded(
        &self,
        rules: &Rules,
        refusal: &Refusal,
        now: Instant,
        answered: u64,
    ) -> (State, Outcome) {
        self.step(|new| {
            // A refusal that was seen explains the attempts that retries hid before it.
            if !refusal.hidden && new.window.row.unexplained > 0 {
                new.window.row = Row::default();
            }
            let others = new.served.others(refusal.caller, LATELY, now);
            let refusal = Refusal {
                may_be_callers: refusal.may_be_callers || others,
                ..*refusal
            };
            let overload = new.overload.refuse(rules, &refusal, now, answered);
            match overload {
                _ if *new == *self => Outcome::Unchanged,
                true if new.overload != self.overload => Outcome::Overloaded,
                _ => Outcome::Counted,
            }
        })
    }

    /// Whether one failure more may trip, if the attempts in a row that retries hid were failures.
    pub fn may_trip_next(&self, rules: &Rules) -> bool {
        let row = &self.window.row;
        let listens = rules.breaks && self.breaker.listens();
        listens && row.unexplained > 0 && rules.trip.is_next(row)
    }

    /// So many requests are in flight, as many as the endpoint's bound allows.
    pub fn reached(&self, in_flight: u32) -> (State, Outcome) {
        self.step(|new| match new.overload.reach(in_flight) {
            true => Outcome::Overloaded,
            false => Outcome::Unchanged,
        })
    }

    /// Asks to make a request of `caller` the probe; [`Outcome::Unchanged`] if none is due, or if
    /// it is other callers' turn. `others` tells whether the pool serves any.
    pub fn probe(
        &self,
        rules: &Rules,
        caller: Caller,
        others: bool,
        now: Instant,
    ) -> (State, Outcome) {
        self.step(|new| {
            let others = others || new.served.others(caller, rules.trip.window(), now);
            if new.standing(rules, now) != Standing::DueForProbe
                || (others && new.breaker.gives_way(caller, now))
            {
                return Outcome::Unchanged;
            }
            Outcome::Probing(new.breaker.probe(rules, caller, now))
        })
    }

    /// The probe with `token` ended. Nothing changes if it has been replaced.
    pub fn probed(
        &self,
        rules: &Rules,
        now: Instant,
        answered: u64,
        token: u32,
        end: ProbeEnd,
    ) -> (State, Outcome) {
        self.step(|new| {
            if !new.breaker.awaits(token) {
                return Outcome::Unchanged;
            }
            match end {
                ProbeEnd::Passed => new.ramp(now, answered),
                ProbeEnd::Failed(status) => {
                    let rule = TripRule::Probe;
                    let until = now.after(rules.trip.lasts());
                    new.breaker.trip(now, until, Cause { rule, status });
                    Outcome::Tripped
                }
                ProbeEnd::Overloaded(retry_after) => {
                    new.overload.rest(rules, now, retry_after);
                    new.breaker.postpone(new.overload.rests_until);
                    Outcome::Overloaded
                }
                ProbeEnd::Abandoned(waited) => {
                    new.breaker.give_back(waited, now);
                    Outcome::GivenBack
                }
            }
        })
    }

    /// An active check passed or failed.
    pub fn checked(
        &self,
        rules: &Rules,
        now: Instant,
        answered: u64,
        check: Check,
    ) -> (State, Outcome) {
        self.step(|new| {
            let turned = new.checks.check(rules, check);
            match (turned, check.passed) {
                (false, _) if new.checks == self.checks => Outcome::Unchanged,
                (false, _) => Outcome::Counted,
                (true, false) => Outcome::Unavailable,
                (true, true) if new.breaker.listens() => new.ramp(now, answered),
                (true, true) => Outcome::Available,
            }
        })
    }

    fn step(&self, take: impl FnOnce(&mut State) -> Outcome) -> (State, Outcome) {
        let mut new = self.clone();
        let outcome = take(&mut new);
        (new, outcome)
    }

    fn ramp(&mut self, now: Instant, answered: u64) -> Outcome {
        self.breaker.ramp(now);
        self.window = Window::begun(now, answered);
        self.failing = Callers::default();
        Outcome::Ramping
    }
}

#[cfg(test)]
mod tests;
