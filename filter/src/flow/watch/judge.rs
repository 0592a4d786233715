//! What requests and checks have shown, taken into what is agreed on.

use crate::balance;
use crate::flow::caller;
use crate::health::{Caller, Check, Failure, ProbeEnd, Proof, Refusal};
use crate::ports::Host;
use crate::values::clock::Instant;

use super::doubt::Shown;
use super::{Hides, Seen, Verdict, Watch};

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
                Verdict::Nothing | Verdict::Bad(Proof::Alike, _) => {
                    ProbeEnd::Abandoned(now.since(seen.sent))
                }
                Verdict::Bad(_, status) => ProbeEnd::Failed(status),
                Verdict::Hidden(_) => ProbeEnd::Failed(0),
                Verdict::Overloaded(rest) => ProbeEnd::Overloaded(rest),
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
                let shuns = match proof {
                    Proof::Unreached => true,
                    Proof::Alike => false,
                    _ => !self.is_lone(endpoint, caller, now),
                };
                if shuns {
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
            Verdict::Hidden(hides) => self.hidden(endpoint, hides, seen, pool, now, host),
            Verdict::Overloaded(rest) | Verdict::Limited(rest) => {
                if let Some(watched) = self.endpoints.get_mut(endpoint) {
                    watched.doubt.refuses(now);
                }
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

    /// An attempt at `endpoint` was retried, and another endpoint served it.
    fn hidden(
        &mut self,
        endpoint: usize,
        hides: Hides,
        seen: Seen,
        pool: &mut balance::Pool,
        now: Instant,
        host: &mut dyn Host,
    ) {
        let Some(watched) = self.endpoints.get_mut(endpoint) else {
            return;
        };
        if !hides.any() {
            watched.doubt.fails(now);
        }
        // One that carries nothing else has not too much to do.
        let alone = seen.alone && !hides.limits;
        let shown = match !hides.any() || alone {
            true => Some(Shown::Failure),
            false => watched.doubt.hidden(now),
        };
        let caller = caller::of(seen.caller, host);
        match shown {
            Some(Shown::Failure) => {
                let verdict = Verdict::Bad(Proof::ServedElsewhere, 0);
                self.judge(endpoint, Seen { verdict, ..seen }, pool, now, host);
            }
            Some(Shown::Refusal) if hides.overload && seen.in_flight > 1 => {
                let carried = u32::try_from(pool.view().in_flight(endpoint)).unwrap_or(u32::MAX);
                let refusal = Refusal {
                    in_flight: carried.max(seen.in_flight),
                    retry_after: None,
                    caller,
                    may_be_callers: false,
                };
                self.step(endpoint, pool, now, host, &|state, rules, answered| {
                    state.hidden_overload(rules, &refusal, now, answered)
                });
            }
            Some(Shown::Refusal) => {}
            None => {
                let failure = Failure {
                    placed: seen.sent,
                    caller,
                    proof: Proof::Unexplained,
                    status: 0,
                };
                self.step(endpoint, pool, now, host, &|state, rules, answered| {
                    state.failed(rules, &failure, now, answered)
                });
            }
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
        if carried >= bound.most && watched.is_some_and(|watched| watched.state.is_news(carried)) {
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
        let asks = rolls || !self.suspects.is_empty(now) || self.is_asked_after();
        if caller.is_some() || asks {
            let caller = caller::of(caller, host);
            self.suspects.served(caller, endpoint);
            self.served.meet(caller, now);
            if rolls {
                self.step(endpoint, pool, now, host, &|state, rules, answered| {
                    state.roll(rules, now, answered, caller)
                });
            }
            let watched = self.endpoints.get(endpoint);
            if watched.is_some_and(|watched| watched.state.is_news_of(caller, now)) {
                self.step(endpoint, pool, now, host, &|state, _, _| {
                    state.served(caller, now)
                });
            }
        }
        if let Some(answered) = answered {
            host.add(answered, 1);
        }
    }

    /// Whether the host is asked whose success this is: of every 32nd, as that is a call.
    fn is_asked_after(&mut self) -> bool {
        self.unasked = self.unasked.wrapping_add(1);
        self.unasked.is_multiple_of(32)
    }
}
