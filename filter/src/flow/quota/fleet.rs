//! The limits that are the whole fleet's: asked for where too little is on loan, reported on the tick.
//!
//! A request whose limits have to be asked for is held, and decided anew when the answer is there. What is on loan of what it
//! needs is set aside, one question asks for all the rest, and all of that is granted or nothing: then it lies on loan. An engine that does not
//! answer is left alone for a second; then one request tries it again, and the others go by `on_error`
//! until that is answered.

use std::time::Duration;

use crate::config::{Config, EngineProtocol, QuotaEngine};
use crate::ports::Host;
use crate::quota::fleet::{Aside, Line, LoanId, Loans, Named, Shared, Told, redis, service};
use crate::quota::{BUDGETS, Costs, Refused};
use crate::report::metrics;
use crate::values::clock::Instant;
use crate::values::rng::Rng;

use super::{Limit, UNITS};
use crate::flow::counter::Counter;
use crate::flow::errand::{About, Errand, Reply};
use crate::flow::waiting::{GRACE, Room};

/// What a worker has of the fleet's limits, and what it asks.
pub(super) struct Fleet {
    pub(super) loans: Loans,
    pub(super) room: Room<Answer>,
    pub(super) errands: Vec<Errand>,
    questions: Vec<Question>,
    /// How many there have been.
    asked: u32,
    /// What their marks are counted from.
    marks: u64,
    /// The engine has failed: nobody asks it before.
    rests_until: Option<Instant>,
    /// Whether the configuration has been replaced.
    retired: bool,
    counters: [Counter; 2],
}

/// What is asked, and when.
struct Question {
    number: u32,
    lines: Vec<Line>,
    asides: Vec<Aside>,
    at: Instant,
}

/// What came of a question.
#[derive(Clone, Copy, Debug)]
pub(in crate::flow) enum Answer {
    /// All of it was granted.
    Granted,
    /// Nothing was: this budget has no room.
    Refused(LoanId, usize, Refused),
    /// There is no answer.
    Failed,
}

/// What a request needs of a limit.
pub(super) struct Need {
    /// Whether that is more than is on loan.
    pub(super) lacks: bool,
    pub(super) id: LoanId,
    pub(super) costs: Costs,
    pub(super) leases: Costs,
    pub(super) shared: Shared,
}

/// A worker has no more questions under way.
const MOST_UNDER_WAY: usize = 1024;
/// An engine that has failed is left alone for so long.
const REST: Duration = Duration::from_secs(1);

impl Fleet {
    pub(super) fn new(rng: &mut Rng, host: &mut dyn Host) -> Fleet {
        let names = [metrics::ENGINE_ASKED, metrics::ENGINE_FAILED];
        Fleet {
            loans: Loans::default(),
            room: Room::default(),
            errands: Vec::new(),
            questions: Vec::new(),
            asked: 0,
            marks: rng.bits(),
            rests_until: None,
            retired: false,
            counters: names.map(|name| Counter::define(host, name)),
        }
    }

    pub(super) fn counters(&mut self) -> impl Iterator<Item = &mut Counter> {
        self.counters.iter_mut()
    }

    /// Whether nobody asks the engine: it has failed, or this configuration is no longer in force.
    pub(super) fn rests(&self, now: Instant) -> bool {
        self.retired || self.rests_until.is_some_and(|until| now < until)
    }

    /// Whether no more requests can be held. Questions of clients who have left count, too.
    pub(super) fn is_full(&self) -> bool {
        self.room.is_full() || self.questions.len() >= MOST_UNDER_WAY
    }

    /// Sets aside what is on loan of what `stream` needs, asks for the rest, and holds it.
    pub(super) fn ask(
        &mut self,
        stream: u32,
        needs: &[Need],
        (config, limits): (&Config, &[Limit]),
        now: Instant,
    ) {
        if self.rests_until.is_some() {
            self.rests_until = Some(now.after(REST));
        }
        let (mut lines, mut asides) = (Vec::new(), Vec::new());
        for need in needs {
            let aside = self
                .loans
                .set_aside(need.id, &need.costs, &need.shared, now);
            for (budget, (cost, aside)) in need.costs.iter().zip(&aside.costs).enumerate() {
                let want = cost.saturating_sub(*aside);
                if want > 0 {
                    let lease = need.leases.get(budget).copied().unwrap_or_default();
                    let ahead = lease.saturating_sub(self.under_way(need.id, budget));
                    let want = (want, ahead);
                    lines.push(self.loans.line(need.id, budget, want, &need.shared));
                }
            }
            asides.push(aside);
        }
        let number = self.send((lines, asides), (config, limits), now);
        self.room.hold(stream, About::Limits(number));
    }

    /// What is asked for ahead already: however many ask at once, a worker takes one lease.
    fn under_way(&self, id: LoanId, budget: usize) -> u64 {
        let lines = self.questions.iter().flat_map(|asked| &asked.lines);
        let these = lines.filter(|line| line.id == id && line.budget == budget);
        these.fold(0, |all, line| all.saturating_add(line.ahead))
    }

    /// An errand has come to its end.
    pub(super) fn on_reply(
        &mut self,
        number: u32,
        reply: Option<&Reply>,
        engine: &QuotaEngine,
        now: Instant,
    ) {
        let place = self
            .questions
            .iter()
            .position(|asked| asked.number == number);
        let Some(question) = place.map(|place| self.questions.swap_remove(place)) else {
            return;
        };
        let body = reply.filter(|reply| reply.status == 200);
        let told = body.and_then(|reply| match &engine.protocol {
            EngineProtocol::Webdis { .. } => {
                redis::read(&reply.body, self.mark(number), &question.lines)
            }
            EngineProtocol::RateLimitService { .. } => service::read(&reply.body, &question.lines),
        });
        let answer = match told {
            Some(told) => {
                self.rests_until = None;
                self.put_back(&question, now);
                self.take_in(&question.lines, &told, now)
            }
            None => {
                self.fail(&question, now);
                Answer::Failed
            }
        };
        self.room.wake(About::Limits(number), &answer);
    }

    /// Reports what is due, and gives up on what is overdue.
    pub(super) fn on_tick(&mut self, (config, limits): (&Config, &[Limit]), now: Instant) {
        let Some(engine) = &config.quota_engine else {
            return;
        };
        let patience = engine.service.timeout.saturating_add(GRACE);
        let overdue = |asked: &Question| now.since(asked.at) >= patience;
        while let Some(place) = self.questions.iter().position(overdue) {
            let question = self.questions.swap_remove(place);
            self.fail(&question, now);
            self.room
                .wake(About::Limits(question.number), &Answer::Failed);
        }
        if self.rests_until.is_some_and(|until| now < until) {
            return;
        }
        let keeps = |limit: usize| limits.get(limit).map_or([0; BUDGETS], |limit| limit.keeps);
        let takes_back = matches!(engine.protocol, EngineProtocol::Webdis { .. });
        let mut lines = self.loans.due(&keeps, now);
        lines.retain(|line| takes_back || line.used > line.released);
        if !lines.is_empty() {
            self.send((lines, Vec::new()), (config, limits), now);
        }
    }

    /// No answer will come any more.
    pub(super) fn give_up(&mut self) {
        self.retired = true;
        self.room.wake_all(&Answer::Failed);
    }

    fn send(
        &mut self,
        (lines, asides): (Vec<Line>, Vec<Aside>),
        (config, limits): (&Config, &[Limit]),
        now: Instant,
    ) -> u32 {
        self.asked = self.asked.wrapping_add(1);
        let number = self.asked;
        if let Some(engine) = &config.quota_engine {
            let named = lines.iter().filter_map(|line| {
                let rates = &limits.get(line.id.limit)?.rates;
                let named = Named {
                    limit: &config.quotas.get(line.id.limit)?.name,
                    unit: UNITS.get(line.budget)?,
                    rate: rates.get(line.budget).copied().flatten()?,
                };
                Some((line, named))
            });
            let named: Vec<_> = named.collect();
            let body = match &engine.protocol {
                EngineProtocol::Webdis { prefix, .. } => {
                    redis::command(prefix, self.mark(number), &named)
                }
                EngineProtocol::RateLimitService { domain } => service::request(domain, &named),
            };
            self.errands
                .push(Errand::about_limits(number, engine, body));
        }
        self.count(0);
        self.questions.push(Question {
            number,
            lines,
            asides,
            at: now,
        });
        number
    }

    fn put_back(&mut self, question: &Question, now: Instant) {
        for aside in &question.asides {
            self.loans.put_back(aside, now);
        }
    }

    fn mark(&self, number: u32) -> u64 {
        self.marks.wrapping_add(number.into())
    }

    fn take_in(&mut self, lines: &[Line], told: &[Told], now: Instant) -> Answer {
        let mut refused: Option<(LoanId, usize, Refused)> = None;
        for (line, told) in lines.iter().zip(told) {
            let granted = match told.granted {
                Ok(granted) => granted,
                Err(why) => {
                    let longer = match (&refused, why) {
                        (Some((.., Refused::After(first))), Refused::After(wait)) => wait > *first,
                        _ => true,
                    };
                    if longer {
                        refused = Some((line.id, line.budget, why));
                    }
                    0
                }
            };
            if line.want > 0 {
                self.loans.grant(line, granted, told.left, now);
            }
        }
        refused.map_or(Answer::Granted, |(id, budget, why)| {
            Answer::Refused(id, budget, why)
        })
    }

    #[cold]
    fn fail(&mut self, question: &Question, now: Instant) {
        self.count(1);
        self.rests_until = Some(now.after(REST));
        self.put_back(question, now);
        for line in &question.lines {
            self.loans.on_unreported(line, now);
        }
    }

    fn count(&mut self, which: usize) {
        if let Some(counter) = self.counters.get_mut(which) {
            counter.add(1);
        }
    }
}
