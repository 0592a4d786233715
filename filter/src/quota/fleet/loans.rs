//! What a worker has on loan of the fleet's budgets: taken from the engine, and not reported as used.
//!
//! A loan is one worker's, in its memory: what it takes ahead and gives back needs no step that others could be faster in.
//! So a proxy holds up to a lease for each of its workers. Their number is bounded, as keys come from callers: the one
//! that was touched least lately makes room, and goes back to the engine. One that goes lost with its worker
//! counts as used.

use std::time::Duration;

use super::{HALF_TERM, Line, Shared};
use crate::quota::{BUDGETS, Costs, Key, Left};
use crate::values::clock::Instant;

/// A budget's owner: of which limit, and who.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LoanId {
    /// The limit's place.
    pub limit: usize,
    /// By what the limit goes; the same in all proxies.
    pub key: Key,
}

/// All loans of a worker.
#[derive(Debug, Default)]
pub struct Loans {
    /// In the order of their ids.
    loans: Vec<Loan>,
    /// What made room, until it is reported.
    ousted: Vec<Line>,
}

#[derive(Debug)]
struct Loan {
    id: LoanId,
    free: Costs,
    /// Taken, and used by requests that have ended.
    released: Costs,
    /// What they used, which may be more.
    used: Costs,
    left: [Option<Left>; BUDGETS],
    shared: Shared,
    touched: Instant,
    /// When the oldest of it was taken.
    since: Instant,
}

/// What is set aside of a loan for a request that waits for the rest of what it costs.
#[derive(Debug)]
pub struct Aside {
    id: LoanId,
    /// So much of each budget.
    pub costs: Costs,
    shared: Shared,
    since: Instant,
}

/// A worker has no more loans than this, of some 200 bytes each.
const MOST: usize = 4096;
/// No more are reported at once.
const MOST_LINES: usize = 128;
/// What nobody has touched for so long goes back; and all of it at half its term, so that no unit of it is older.
const IDLE: Duration = Duration::from_secs(5);

impl Loans {
    /// Whether `costs` are on loan and free.
    pub fn covers(&self, id: LoanId, costs: &Costs) -> bool {
        let free = self.find(id).map_or([0; BUDGETS], |loan| loan.free);
        free.iter().zip(costs).all(|(free, cost)| free >= cost)
    }

    /// Takes `costs` for a request, if they are covered. Returns what is left then ([`Loans::left`]).
    pub fn take(
        &mut self,
        id: LoanId,
        costs: &Costs,
        now: Instant,
    ) -> Option<[Option<Left>; BUDGETS]> {
        if !self.covers(id, costs) {
            return None;
        }
        if let Some(loan) = self.find_mut(id) {
            loan.touched = now;
            for (free, cost) in loan.free.iter_mut().zip(costs) {
                *free = free.saturating_sub(*cost);
            }
        }
        Some(self.left(id))
    }

    /// Takes what is free of `costs`, until it is put back: what a request waits with, no other can use up meanwhile.
    pub fn set_aside(&mut self, id: LoanId, costs: &Costs, shared: &Shared, now: Instant) -> Aside {
        let mut aside = Aside {
            id,
            costs: [0; BUDGETS],
            shared: Shared::clone(shared),
            since: now,
        };
        if let Some(loan) = self.find_mut(id) {
            aside.since = loan.since;
            for ((free, cost), aside) in loan.free.iter_mut().zip(costs).zip(&mut aside.costs) {
                *aside = (*cost).min(*free);
                *free = free.saturating_sub(*aside);
            }
        }
        aside
    }

    /// Puts back what was set aside.
    pub fn put_back(&mut self, aside: &Aside, now: Instant) {
        if aside.costs == [0; BUDGETS] {
            return;
        }
        if let Some(loan) = self.make(aside.id, &aside.shared, now) {
            loan.since = loan.since.min(aside.since);
            for (budget, units) in aside.costs.iter().enumerate() {
                add(&mut loan.free, budget, *units);
            }
        }
    }

    /// What is left for this worker, as far as it knows: what the fleet had when it was last asked, and what is on loan.
    pub fn left(&self, id: LoanId) -> [Option<Left>; BUDGETS] {
        let Some(loan) = self.find(id) else {
            return [None; BUDGETS];
        };
        let mut left = loan.left;
        for (left, free) in left.iter_mut().zip(&loan.free) {
            if let Some(left) = left {
                left.units = left.units.saturating_add(*free);
            }
        }
        left
    }

    /// A request has ended for which `costs` were taken at `taken`: so much of each it `used`. Of what it leaves, the next one
    /// has what fits in the `lease`. The rest goes back, for only the engine knows what has drained of it meanwhile, and cannot
    /// be had twice; so does all of it where its loan has gone back.
    pub fn settle(
        &mut self,
        id: LoanId,
        (costs, used): (&Costs, &Costs),
        lease: &Costs,
        shared: &Shared,
        (taken, now): (Instant, Instant),
    ) {
        let Some(loan) = self.make(id, shared, now) else {
            return;
        };
        for budget in 0..BUDGETS {
            let (Some(cost), Some(used), Some(lease)) =
                (costs.get(budget), used.get(budget), lease.get(budget))
            else {
                continue;
            };
            // What it used beyond what it had taken comes from what is free, as far as that goes.
            let beyond = used.saturating_sub(*cost);
            if loan.since > taken && beyond == 0 {
                add(&mut loan.released, budget, *cost);
                add(&mut loan.used, budget, *used);
            } else if let Some(free) = loan.free.get_mut(budget) {
                let covered = beyond.min(*free);
                *free = free.saturating_sub(covered);
                let unused = cost.saturating_sub(*used);
                let kept = unused.min(lease.saturating_sub(*free));
                *free = free.saturating_add(kept);
                add(&mut loan.released, budget, cost.saturating_sub(kept));
                add(&mut loan.released, budget, covered);
                add(&mut loan.used, budget, *used);
            }
        }
    }

    /// The engine has granted so much of a budget, and told what is left of it.
    pub fn grant(&mut self, line: &Line, granted: u64, left: Option<Left>, now: Instant) {
        if let Some(loan) = self.make(line.id, &line.shared, now) {
            add(&mut loan.free, line.budget, granted);
            if let Some(known) = loan.left.get_mut(line.budget) {
                *known = left;
            }
        }
    }

    /// What to ask the engine for `want` of a budget: with it goes the report of what was used since the last one.
    pub fn line(&mut self, id: LoanId, budget: usize, want: (u64, u64), shared: &Shared) -> Line {
        let (released, used) = self
            .find_mut(id)
            .map_or((0, 0), |loan| loan.reported(budget));
        let (want, ahead) = want;
        Line {
            id,
            budget,
            want,
            ahead,
            released,
            used,
            shared: Shared::clone(shared),
        }
    }

    /// The engine has not answered: what was used beyond what had been taken is to be reported again. The
    /// rest counts as used there.
    pub fn on_unreported(&mut self, line: &Line, now: Instant) {
        let beyond = line.used.saturating_sub(line.released);
        if beyond > 0
            && let Some(loan) = self.make(line.id, &line.shared, now)
        {
            add(&mut loan.used, line.budget, beyond);
        }
    }

    /// What goes back now: what is idle, what is more than `lease` tells for a limit; and what was used beyond what had been
    /// taken.
    pub fn due(&mut self, lease: &dyn Fn(usize) -> Costs, now: Instant) -> Vec<Line> {
        let mut lines = std::mem::take(&mut self.ousted);
        let ousted: Vec<LoanId> = lines.iter().map(|line| line.id).collect();
        let mut kept = Vec::with_capacity(self.loans.len());
        for mut loan in std::mem::take(&mut self.loans) {
            // An engine is told of no budget twice at once.
            if lines.len() >= MOST_LINES || ousted.contains(&loan.id) {
                kept.push(loan);
                continue;
            }
            let idle = now.since(loan.touched) >= IDLE || now.since(loan.since) >= HALF_TERM;
            let most = if idle {
                [0; BUDGETS]
            } else {
                lease(loan.id.limit)
            };
            for (budget, most) in most.into_iter().enumerate() {
                lines.extend(loan.surplus(budget, most, idle));
            }
            if !idle {
                kept.push(loan);
            }
        }
        self.loans = kept;
        lines
    }

    fn find(&self, id: LoanId) -> Option<&Loan> {
        let place = self.loans.binary_search_by_key(&id, |loan| loan.id).ok()?;
        self.loans.get(place)
    }

    fn find_mut(&mut self, id: LoanId) -> Option<&mut Loan> {
        let place = self.loans.binary_search_by_key(&id, |loan| loan.id).ok()?;
        self.loans.get_mut(place)
    }

    fn make(&mut self, id: LoanId, shared: &Shared, now: Instant) -> Option<&mut Loan> {
        let place = self.loans.binary_search_by_key(&id, |loan| loan.id);
        if place.is_err() {
            if self.loans.len() >= MOST {
                self.oust();
            }
            let place = self.loans.partition_point(|loan| loan.id < id);
            let loan = Loan {
                id,
                free: [0; BUDGETS],
                released: [0; BUDGETS],
                used: [0; BUDGETS],
                left: [None; BUDGETS],
                shared: Shared::clone(shared),
                touched: now,
                since: now,
            };
            self.loans.insert(place, loan);
        }
        let loan = self.find_mut(id)?;
        loan.touched = now;
        Some(loan)
    }

    /// Makes room.
    #[cold]
    fn oust(&mut self) {
        let by_age = self.loans.iter().enumerate();
        let oldest = by_age.min_by_key(|(_, loan)| loan.touched);
        let Some((place, _)) = oldest else {
            return;
        };
        let mut loan = self.loans.remove(place);
        for budget in 0..BUDGETS {
            if self.ousted.len() < MOST_LINES {
                self.ousted.extend(loan.surplus(budget, 0, true));
            }
        }
    }
}

impl Loan {
    /// Takes out what was used since the last report.
    fn reported(&mut self, budget: usize) -> (u64, u64) {
        let take = |costs: &mut Costs| costs.get_mut(budget).map_or(0, std::mem::take);
        (take(&mut self.released), take(&mut self.used))
    }

    /// The report of what is free beyond `most`, if there is any, or of what was not used just as it had been taken; of
    /// anything, if `all`.
    fn surplus(&mut self, budget: usize, most: u64, all: bool) -> Option<Line> {
        let at = |costs: &Costs| costs.get(budget).copied().unwrap_or_default();
        let surplus = at(&self.free).saturating_sub(most);
        let uneven = at(&self.used) != at(&self.released);
        let used = all && at(&self.used) > 0;
        if surplus == 0 && !uneven && !used {
            return None;
        }
        if let Some(free) = self.free.get_mut(budget) {
            *free = free.saturating_sub(surplus);
        }
        let (released, used) = self.reported(budget);
        Some(Line {
            id: self.id,
            budget,
            want: 0,
            ahead: 0,
            released: released.saturating_add(surplus),
            used,
            shared: Shared::clone(&self.shared),
        })
    }
}

fn add(costs: &mut Costs, budget: usize, more: u64) {
    if let Some(cost) = costs.get_mut(budget) {
        *cost = cost.saturating_add(more);
    }
}

#[cfg(test)]
#[path = "loans_tests.rs"]
mod tests;
