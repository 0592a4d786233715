//! The breaker: whether traffic is let through, and the one probe that may undo a trip.
//!
//! `Admitting -> Tripped -> Probing -> Ramping -> Admitting`. What is only a matter of time is never
//! written: a trip that is over, a lost probe and a finished ramp are read off the clock, so no
//! worker has to notice them first, and none can notice them differently.
//!
//! Not "open" and "half-open": those name a circuit's states and everybody reads one of them the
//! wrong way round.

use std::time::Duration;

use crate::values::clock::Instant;
use crate::values::units::Share;

use super::evidence::Caller;
use super::rules::Rules;
use super::standing::ramped;

/// So long a probe that is due waits for other callers than that of the last one.
const OTHERS_TURN: Duration = Duration::from_secs(1);

/// The breaker of one endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Breaker {
    pub phase: Phase,
    /// When it tripped, however often its probes have failed since.
    pub since: Instant,
    /// Why it tripped last.
    pub cause: Cause,
    /// Probes sent so far; its value is the token of the last. Never set back, so the late answer of a lost
    /// probe is never taken for another's.
    pub probes: u32,
    /// Who sent the last one.
    pub prober: Option<Caller>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    #[default]
    Admitting,
    /// Left alone; a probe is due at `until`.
    Tripped { until: Instant },
    /// One request is out to see; if it is not back at `until`, another is due.
    Probing { until: Instant },
    /// As admitting, with a share that has grown since `since`.
    Ramping { since: Instant },
}

/// Why a breaker tripped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cause {
    /// By which rule.
    pub rule: TripRule,
    /// The status of the last failure; 0 where there was none.
    pub status: u16,
}

/// The rule by which a breaker trips.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TripRule {
    /// Failures in a row.
    #[default]
    Row,
    /// The share of failures.
    Share,
    /// `max_fails`.
    Count,
    /// A probe failed.
    Probe,
}

impl Breaker {
    pub fn trip(&mut self, now: Instant, until: Instant, cause: Cause) {
        if self.listens() {
            self.since = now;
        }
        self.cause = cause;
        self.phase = Phase::Tripped { until };
    }

    /// Another probe is due at `until`: the last one has proven nothing.
    pub fn postpone(&mut self, until: Instant) {
        self.phase = Phase::Tripped { until };
    }

    /// Ends a trip at `latest`: its configuration may have left an endpoint alone for longer.
    pub fn clip(&mut self, latest: Instant) {
        if let Phase::Tripped { until } = &mut self.phase {
            *until = latest.min(*until);
        }
    }

    pub fn ramp(&mut self, now: Instant) {
        self.prober = None;
        self.phase = Phase::Ramping { since: now };
    }

    /// Whether `caller` leaves a probe that is due to others: it has sent the last one, and they
    /// have had no time to send this one. Else one caller whose requests fail could send them all.
    pub fn gives_way(&self, caller: Caller, now: Instant) -> bool {
        let since_due = match self.phase {
            Phase::Tripped { until } | Phase::Probing { until } => now.since(until),
            Phase::Admitting | Phase::Ramping { .. } => return false,
        };
        self.prober == Some(caller) && since_due < OTHERS_TURN
    }

    /// Sends a probe of `caller`'s; its token.
    pub fn probe(&mut self, rules: &Rules, caller: Caller, now: Instant) -> u32 {
        let until = now.after(rules.probe_lost);
        self.phase = Phase::Probing { until };
        self.prober = Some(caller);
        self.probes = self.probes.wrapping_add(1);
        self.probes
    }

    /// Takes a probe back that has shown nothing for as long as `waited`: another is due after as long again, and
    /// not later than if it had been lost.
    pub fn give_back(&mut self, waited: Duration, now: Instant) {
        if let Phase::Probing { until } = self.phase {
            self.postpone(now.after(waited).min(until));
        }
    }

    /// Whether the outcome of the probe with this token is still wanted: it is until its
    /// replacement has been sent, for one that comes late is no less true.
    pub fn awaits(&self, token: u32) -> bool {
        matches!(self.phase, Phase::Probing { .. }) && token == self.probes
    }

    /// Whether the outcomes of ordinary requests count. Not while tripped or probing: those that
    /// arrive then were placed before the trip and tell of nothing since.
    pub fn listens(&self) -> bool {
        matches!(self.phase, Phase::Admitting | Phase::Ramping { .. })
    }

    /// Whether a request placed then tells of the time before the endpoint came back.
    pub fn is_past(&self, placed: Instant) -> bool {
        matches!(self.phase, Phase::Ramping { since } if placed < since)
    }

    /// The share of its traffic that a breaker lets through which [`listens`](Self::listens).
    pub fn share(&self, rules: &Rules, now: Instant) -> Share {
        match self.phase {
            Phase::Ramping { since } => ramped(now.since(since), rules.ramp),
            _ => Share::WHOLE,
        }
    }
}
