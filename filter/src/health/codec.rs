//! A state as bytes, for the proxy's shared data.
//!
//! Fixed in size and little endian, with a version before and a checksum after: the keys of shared data are
//! common to every module under one `vm_id` and outlive a module that is replaced by its next version.
//! A value misread could keep an endpoint out until the end of the clock; one refused costs it its past.

use crate::values::clock::Instant;
use crate::values::murmur3::murmur3_32;

use super::State;
use super::breaker::{Breaker, Cause, Phase, TripRule};
use super::checks::Checks;
use super::evidence::{Caller, Callers, Pairs, Row};
use super::overload::Overload;
use super::window::{BUCKETS, Bucket, Window};

/// To be raised with any change of the layout, or of what a field means.
const VERSION: u8 = 3;
/// Two callers, each with its time.
const CALLERS: usize = 2 * (1 + 4 + 8);
/// Version; phase, its time, since, cause, probes, prober; overload; availability, checks, status;
/// window; row; callers served and failing; buckets; checksum.
const SIZE: usize = 1
    + (1 + 8 + 8 + 3 + 4 + (1 + 4))
    + (8 + 4 + 8 + 8 + 4 + 1 + (1 + 4 + 8))
    + (1 + 1 + 2)
    + (1 + 8 + 8)
    + (4 + 4 + 4 + 4 + 4 + (4 + 4))
    + 2 * CALLERS
    + BUCKETS * (4 + (4 + 4 + 4) + 4 + 8)
    + 4;

impl State {
    /// How many bytes every encoded state has.
    pub const ENCODED: usize = SIZE;

    /// The state as [`Self::ENCODED`] bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SIZE);
        let (phase, time) = match self.breaker.phase {
            Phase::Admitting => (0, Instant::default()),
            Phase::Tripped { until } => (1, until),
            Phase::Probing { until } => (2, until),
            Phase::Ramping { since } => (3, since),
        };
        bytes.extend([VERSION, phase]);
        bytes.extend(time.as_nanos().to_le_bytes());
        bytes.extend(self.breaker.since.as_nanos().to_le_bytes());
        bytes.push(self.breaker.cause.rule as u8);
        bytes.extend(self.breaker.cause.status.to_le_bytes());
        bytes.extend(self.breaker.probes.to_le_bytes());
        bytes.push(u8::from(self.breaker.prober.is_some()));
        bytes.extend(self.breaker.prober.unwrap_or_default().0.to_le_bytes());
        let overload = &self.overload;
        bytes.extend(overload.rests_until.as_nanos().to_le_bytes());
        bytes.extend(overload.bound.to_le_bytes());
        bytes.extend(overload.since.as_nanos().to_le_bytes());
        bytes.extend(overload.base.to_le_bytes());
        bytes.extend(overload.reached.to_le_bytes());
        bytes.push(overload.rounds);
        write_met(overload.limited, &mut bytes);
        bytes.extend([u8::from(self.checks.unavailable), self.checks.against]);
        bytes.extend(self.checks.status.to_le_bytes());
        let newest = self.window.newest.unwrap_or_default();
        bytes.push(u8::from(self.window.newest.is_some()));
        bytes.extend(newest.as_nanos().to_le_bytes());
        bytes.extend(self.window.answered_at_failure.to_le_bytes());
        let row = &self.window.row;
        write_pairs(row.pairs, &mut bytes);
        for word in [row.unreached, row.unopposed, row.unexplained, row.alike] {
            bytes.extend(word.to_le_bytes());
        }
        for callers in [&self.served, &self.failing] {
            write_met(callers.latest, &mut bytes);
            write_met(callers.other, &mut bytes);
        }
        for bucket in &self.window.buckets {
            bytes.extend(bucket.failures.to_le_bytes());
            write_pairs(bucket.unopposed, &mut bytes);
            bytes.extend(bucket.alike.to_le_bytes());
            bytes.extend(bucket.base.to_le_bytes());
        }
        bytes.extend(murmur3_32(&bytes, 0).to_le_bytes());
        bytes
    }

    /// The state that `bytes` encode; `None` if they are damaged or of another version.
    pub fn decode(bytes: &[u8]) -> Option<State> {
        let (body, sum) = bytes.split_last_chunk()?;
        if bytes.len() != SIZE || murmur3_32(body, 0) != u32::from_le_bytes(*sum) {
            return None;
        }
        let mut rest = Reader(body);
        if rest.byte()? != VERSION {
            return None;
        }
        let (phase, time) = (rest.byte()?, rest.time()?);
        let phase = match phase {
            0 => Phase::Admitting,
            1 => Phase::Tripped { until: time },
            2 => Phase::Probing { until: time },
            3 => Phase::Ramping { since: time },
            _ => return None,
        };
        let since = rest.time()?;
        let rule = match rest.byte()? {
            0 => TripRule::Row,
            1 => TripRule::Share,
            2 => TripRule::Count,
            3 => TripRule::Probe,
            _ => return None,
        };
        let status = rest.half()?;
        let breaker = Breaker {
            phase,
            since,
            cause: Cause { rule, status },
            probes: rest.word()?,
            prober: rest.caller()?,
        };
        let overload = Overload {
            rests_until: rest.time()?,
            bound: rest.word()?,
            since: rest.time()?,
            base: rest.long()?,
            reached: rest.word()?,
            rounds: rest.byte()?,
            limited: rest.met()?,
        };
        let checks = Checks {
            unavailable: rest.flag()?,
            against: rest.byte()?,
            status: rest.half()?,
        };
        let (begun, newest) = (rest.flag()?, rest.time()?);
        let mut window = Window {
            newest: begun.then_some(newest),
            answered_at_failure: rest.long()?,
            row: Row {
                pairs: rest.pairs()?,
                unreached: rest.word()?,
                unopposed: rest.word()?,
                unexplained: rest.word()?,
                alike: rest.word()?,
            },
            ..Window::default()
        };
        let (served, failing) = (rest.callers()?, rest.callers()?);
        for bucket in &mut window.buckets {
            *bucket = Bucket {
                failures: rest.word()?,
                unopposed: rest.pairs()?,
                alike: rest.word()?,
                base: rest.long()?,
            };
        }
        Some(State {
            breaker,
            window,
            served,
            failing,
            overload,
            checks,
        })
    }
}

fn write_pairs(pairs: Pairs, bytes: &mut Vec<u8>) {
    for word in [pairs.failures, pairs.unpaired, pairs.caller.0] {
        bytes.extend(word.to_le_bytes());
    }
}

/// A caller and a time, or neither.
fn write_met(met: Option<(Caller, Instant)>, bytes: &mut Vec<u8>) {
    let (caller, at) = met.unwrap_or_default();
    bytes.push(u8::from(met.is_some()));
    bytes.extend(caller.0.to_le_bytes());
    bytes.extend(at.as_nanos().to_le_bytes());
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take().map(u8::from_le_bytes)
    }

    fn half(&mut self) -> Option<u16> {
        self.take().map(u16::from_le_bytes)
    }

    fn word(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn long(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn time(&mut self) -> Option<Instant> {
        self.long().map(Instant::from_nanos)
    }

    fn flag(&mut self) -> Option<bool> {
        match self.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn pairs(&mut self) -> Option<Pairs> {
        Some(Pairs {
            failures: self.word()?,
            unpaired: self.word()?,
            caller: Caller(self.word()?),
        })
    }

    fn caller(&mut self) -> Option<Option<Caller>> {
        let (known, caller) = (self.flag()?, self.word()?);
        Some(known.then_some(Caller(caller)))
    }

    fn met(&mut self) -> Option<Option<(Caller, Instant)>> {
        let (met, caller, at) = (self.flag()?, self.word()?, self.time()?);
        Some(met.then_some((Caller(caller), at)))
    }

    fn callers(&mut self) -> Option<Callers> {
        Some(Callers {
            latest: self.met()?,
            other: self.met()?,
        })
    }
}

#[cfg(test)]
#[path = "codec_tests.rs"]
mod tests;
