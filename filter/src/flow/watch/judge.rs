//! What requests and checks have shown, taken into what is agreed on.

use crate::balance;
use crate::flow::caller;
use crate::health::{Caller, Check, Failure, ProbeEnd, Proof, Refusal};
use crate::ports::Host;
use crate::values::clock::Instant;

use super::{Seen, Verdict, Watch};

impl Watch {
    /// A request has shown something of `endpoint`.
    pub fn judge(
        &mut self,
        endpoint: usize,
        seen: Seen,
        pool: &mut balance::Pool,
        now: Instant,
        host: &mut dyn Host,
    ) {
        if let Some(token) = seen.probe {
            let end = match seen.verdict {
                // A 429 is an answer: the server lives.
                Verdict::Good | Verdict::Limited(_) => ProbeEnd::Passed,
                Verdict::Bad(_, status) => ProbeEnd::Failed(status),
                Verdict::Overloaded(rest) => ProbeEnd::Overloaded(rest),
                Verdict::Nothing => ProbeEnd::Abandoned(now.since(seen.sent)),
            };
            self.step(endpoint, pool, now, host, &|state, rules, answered| {
                state.probed(rules, now, answered, token, end)
            });
            return;
        }
        match seen.verdict {
            Verdict::Good => self.good(endpoint, seen.caller, pool, now, host),
            Verdict::Bad(proof, status) => {
                let caller = caller::of(seen.caller, host);
                let unopposed = proof == Proof::Unopposed;
                if unopposed && self.is_excused(endpoint, caller, now, host) {
                    return;
                }
                if proof == Proof::Unreached || !self.is_lone(endpoint, caller, now) {
                    pool.view_mut().on_failure(endpoint, now);
                }
                let failure = Failure {
                    placed: seen.sent,
                    caller,
                    proof,
                    status,
                };
                self.step(endpoint, pool, now, host, &|state, rules, answered| {
                    state.failed(rules, &failure, now, answered)
                });
            }
            Verdict::Overloaded(rest) | Verdict::Limited(rest) => {
                let carried = u32::try_from(pool.view().in_flight(endpoint)).unwrap_or(u32::MAX);
                let refusal = Refusal {
                    in_flight: carried.max(seen.in_flight),
                    retry_after: rest,
                    caller: caller::of(seen.caller, host),
                    may_be_callers: matches!(seen.verdict, Verdict::Limited(_)),
                };
                self.step(endpoint, pool, now, host, &|state, rules, answered| {
                    state.overloaded(rules, &refusal, now, answered)
                });
            }
            Verdict::Nothing => {}
        }
    }

    /// Whether only the requests of `caller` fail at `endpoint`, as far as this worker knows.
    fn is_lone(&self, endpoint: usize, caller: Caller, now: Instant) -> bool {
        let watched = self.endpoints.get(endpoint);
        watched.is_some_and(|watched| watched.state.is_lone(&self.rules, caller, now))
    }

    /// Whether a request of `caller` that failed at `endpoint` tells nothing of it.
    fn is_excused(
        &mut self,
        endpoint: usize,
        caller: Caller,
        now: Instant,
        host: &mut dyn Host,
    ) -> bool {
        let answered = self.endpoints.get(endpoint).and_then(|it| it.answered);
        let served = answered.and_then(|answered| host.read(answered));
        let served = served.unwrap_or_default();
        self.suspects.failed(caller, endpoint, served, now)
    }

    /// A request was placed at `endpoint`: the bound on what it carries grows only if it is met.
    pub fn placed(
        &mut self,
        endpoint: usize,
        pool: &mut balance::Pool,
        now: Instant,
        host: &mut dyn Host,
    ) {
        let Some(bound) = pool.view().bound(endpoint) else {
            return;
        };
        let carried = u32::try_from(pool.view().in_flight(endpoint)).unwrap_or(u32::MAX);
        let watched = self.endpoints.get(endpoint);
        if carried >= bound && watched.is_some_and(|watched| watched.state.is_news(carried)) {
            self.step(endpoint, pool, now, host, &|state, _, _| {
                state.reached(carried)
            });
        }
    }

    /// An active check has passed or failed.
    pub fn checked(
        &mut self,
        endpoint: usize,
        check: Check,
        pool: &mut balance::Pool,
        now: Instant,
        host: &mut dyn Host,
    ) {
        self.step(endpoint, pool, now, host, &|state, rules, answered| {
            state.checked(rules, now, answered, check)
        });
    }

    /// Counts a success. It belongs to the bucket of its time, so where that has not begun it
    /// begins now.
    fn good(
        &mut self,
        endpoint: usize,
        caller: Option<Caller>,
        pool: &mut balance::Pool,
        now: Instant,
        host: &mut dyn Host,
    ) {
        let Some(watched) = self.endpoints.get(endpoint) else {
            return;
        };
        let answered = watched.answered;
        let rolls = watched.state.needs_roll(&self.rules, now);
        if rolls || !self.suspects.is_empty(now) {
            let caller = caller::of(caller, host);
            self.suspects.served(caller, endpoint);
            if rolls {
                self.step(endpoint, pool, now, host, &|state, rules, answered| {
                    state.roll(rules, now, answered, caller)
                });
            }
        }
        if let Some(answered) = answered {
            host.add(answered, 1);
        }
    }
}
