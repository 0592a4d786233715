//! What requests and checks have shown, taken into what is agreed on.

use crate::balance;
use crate::flow::caller;
use crate::health::{Caller, Check, Failure, ProbeEnd, Proof, Refusal};
use crate::ports::Host;
use crate::values::clock::Instant;

use super::doubt::Shown;
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
                Verdict::Nothing | Verdict::Bad(Proof::Alike, _) => {
                    ProbeEnd::Abandoned(now.since(seen.sent))
                }
                Verdict::Bad(_, status) => ProbeEnd::Failed(status),
                Verdict::Hidden => ProbeEnd::Failed(0),
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
            Verdict::Hidden => self.hidden(endpoint, seen, pool, now, host),
            Verdict::Overloaded(rest) | Verdict::Limited(rest) => {
                let is_limit = matches!(seen.verdict, Verdict::Limited(_));
                // A 429 explains hidden attempts only where these may have been one.
                if let Some(watched) = self.endpoints.get_mut(endpoint)
                    && (!is_limit || seen.hides.limits)
                {
                    watched.doubt.refuses(now);
                }
                let refusal = Refusal {
                    in_flight: pool.view().in_flight(endpoint).max(seen.in_flight),
                    retry_after: rest,
                    caller: caller::of(seen.caller, host),
                    may_be_callers: is_limit,
                    hidden: false,
                };
                self.refused(endpoint, &refusal, pool, now, host);
            }
            Verdict::Nothing => {}
        }
    }

    /// An attempt at `endpoint` was retried, and another endpoint served it.
    fn hidden(
        &mut self,
        endpoint: usize,
        seen: Seen,
        pool: &mut balance::Pool,
        now: Instant,
        host: &mut dyn Host,
    ) {
        let Some(watched) = self.endpoints.get_mut(endpoint) else {
            return;
        };
        let hides = seen.hides;
        let shown = if hides.nothing() {
            watched.doubt.fails(now);
            Some(Shown::Failure)
        } else if seen.alone && !hides.limits {
            // One that carries nothing else has not too much to do.
            Some(Shown::Failure)
        } else {
            watched.doubt.hidden(now)
        };
        match shown {
            Some(Shown::Failure) => {
                let verdict = Verdict::Bad(Proof::ServedElsewhere, 0);
                self.judge(endpoint, Seen { verdict, ..seen }, pool, now, host);
            }
            Some(Shown::Refusal) if hides.overload && seen.in_flight > 1 => {
                let refusal = Refusal {
                    in_flight: pool.view().in_flight(endpoint).max(seen.in_flight),
                    retry_after: None,
                    caller: caller::of(seen.caller, host),
                    may_be_callers: false,
                    hidden: true,
                };
                self.refused(endpoint, &refusal, pool, now, host);
            }
            Some(Shown::Refusal) => {}
            None => {
                let failure = Failure {
                    placed: seen.sent,
                    caller: caller::of(seen.caller, host),
                    proof: Proof::Unexplained,
                    status: 0,
                };
                self.step(endpoint, pool, now, host, &|state, rules, answered| {
                    state.failed(rules, &failure, now, answered)
                });
            }
        }
    }

    /// A request was refused for overload, or for its caller's limit.
    fn refused(
        &mut self,
        endpoint: usize,
        refusal: &Refusal,
        pool: &mut balance::Pool,
        now: Instant,
        host: &mut dyn Host,
    ) {
        self.step(endpoint, pool, now, host, &|state, rules, answered| {
            state.overloaded(rules, refusal, now, answered)
        });
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
        let carried = pool.view().in_flight(endpoint);
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
        let asks = rolls || !self.suspects.is_empty(now) || self.samples_anonymous();
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

    /// Whether the host is asked for the caller: of every 32nd success, as that is a call.
    fn samples_anonymous(&mut self) -> bool {
        self.anonymous = self.anonymous.wrapping_add(1);
        self.anonymous.is_multiple_of(32)
    }
}
