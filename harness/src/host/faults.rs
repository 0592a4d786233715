//! Faults to order: a hostcall that answers a status of one's choice and does nothing else.
//!
//! A guest that survives every status at every call cannot be brought down by a proxy that behaves
//! differently from the one it was written on. Only the calls that answer a [`Status`] can fail so; the
//! WASI functions cannot, as a failing clock is nothing that a proxy ever showed.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::abi::Status;
use super::rng::Rng;

/// When a fault strikes, counted over the calls of one VM to one hostcall.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum When {
    /// At this call only, the first being 1.
    Nth(u64),
    /// At each call whose number is a multiple of this one; 1 is each.
    Every(u64),
    /// At each call with this probability, drawn from this seed.
    Probability(f64, u64),
}

/// Which hostcalls fail, when, and with what status.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    rules: Vec<Rule>,
}

/// A fault that was injected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The hostcall that failed on order.
    pub call: &'static str,
    /// Its number among the calls of this VM to the same hostcall, the first being 1.
    pub nth: u64,
    /// What it answered.
    pub status: Status,
}

#[derive(Clone, Debug)]
struct Rule {
    call: Option<String>,
    when: When,
    status: Option<Status>,
}

impl Faults {
    /// No fault at all.
    pub fn none() -> Self {
        Self::default()
    }

    /// The hostcall named `call` (such as `proxy_http_call`) answers `status` when `when` says so.
    pub fn on(call: impl Into<String>, when: When, status: Status) -> Self {
        Self {
            rules: vec![Rule {
                call: Some(call.into()),
                when,
                status: Some(status),
            }],
        }
    }

    /// Each hostcall fails with probability `p`, with any status but Ok, drawn from `seed`.
    pub fn random(seed: u64, p: f64) -> Self {
        Self {
            rules: vec![Rule {
                call: None,
                when: When::Probability(p, seed),
                status: None,
            }],
        }
    }

    /// These faults and those; where both strike at once, the first one ordered wins.
    #[must_use]
    pub fn and(mut self, more: Self) -> Self {
        self.rules.extend(more.rules);
        self
    }

    /// The state that one VM keeps of them. `vm` is its number, so that no two VMs draw the same.
    pub(super) fn arm(&self, vm: u64, calls: usize) -> Armed {
        let rules = self.rules.iter().map(|rule| {
            let seed = if let When::Probability(_, seed) = rule.when {
                seed
            } else {
                0
            };
            (
                rule.clone(),
                Rng::new(seed ^ vm.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
            )
        });
        Armed {
            rules: rules.collect(),
            seen: vec![0; calls],
        }
    }
}

/// A hostcall at which the next VM that makes it ends. Unlike [`Faults`] it is laid while VMs run, and catches one
/// of them: that a worker dies is nothing which a module could bring about by itself.
#[derive(Debug)]
pub(super) struct Snare(AtomicUsize);

/// No hostcall has this number.
const NOWHERE: usize = usize::MAX;

impl Default for Snare {
    fn default() -> Self {
        Self(AtomicUsize::new(NOWHERE))
    }
}

impl Snare {
    /// Lays it at the call with this number in the table of calls.
    pub(super) fn lay(&self, index: usize) {
        self.0.store(index, Ordering::SeqCst);
    }

    /// Whether the call that is about to happen is caught; true once.
    pub(super) fn springs(&self, index: usize) -> bool {
        // A load first: calls are many and snares are few.
        self.0.load(Ordering::Relaxed) == index
            && self
                .0
                .compare_exchange(index, NOWHERE, Ordering::SeqCst, Ordering::SeqCst)
                .is_ok()
    }
}

/// Faults with their counters and dice.
#[derive(Debug)]
pub(super) struct Armed {
    rules: Vec<(Rule, Rng)>,
    seen: Vec<u64>,
}

impl Armed {
    /// Whether the call that is about to happen fails. `index` is the call's number in the table of calls.
    pub(super) fn strike(&mut self, index: usize, call: &'static str) -> Option<Fault> {
        if self.rules.is_empty() {
            return None;
        }
        let seen = self.seen.get_mut(index)?;
        *seen += 1;
        let nth = *seen;
        for (rule, rng) in &mut self.rules {
            if rule.call.as_deref().is_some_and(|name| name != call) {
                continue;
            }
            let strikes = match rule.when {
                When::Nth(n) => n == nth,
                When::Every(n) => n != 0 && nth.is_multiple_of(n),
                When::Probability(p, _) => rng.chance(p),
            };
            if strikes {
                let status = rule.status.unwrap_or_else(|| rng.pick(&Status::FAILURES));
                return Some(Fault { call, nth, status });
            }
        }
        None
    }
}
