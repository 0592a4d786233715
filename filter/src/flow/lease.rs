//! Which VM leads a configuration: it alone checks, reads metrics, computes weights and audits for
//! it.
//!
//! A plugin may have several configurations in force at once: the new one and those whose listeners
//! drain, or two listeners whose plugins are named alike. Each has a lease of its own, as the
//! endpoints of one need not be those of another. A lease is renewed by its holder on each tick;
//! another VM takes it after two ticks without that, so a leader that dies is replaced on the
//! third. A leader that was only slow finds on its next tick that it does not lead any more. What
//! it does meanwhile is harmless to do twice.
//!
//! All leases of a plugin are one value, a lane each. A configuration keeps its lane for as long as
//! it ticks; the lane of one that is gone is given to the next, so keys that are named after lanes
//! are no more than there ever were configurations at once.

use std::time::Duration;

use crate::ports::{Host, update};
use crate::values::clock::Instant;

/// One configuration of one VM, as a candidate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// The VM.
    pub vm: u64,
    /// The configuration's number in the VM, from 1.
    pub number: u32,
    /// The configuration's fingerprint, the same in all VMs.
    pub configuration: u64,
}

/// The place of a configuration among those in force, and how many places there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lane {
    pub own: usize,
    pub all: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Lease {
    configuration: u64,
    vm: u64,
    /// 0 for none.
    number: u64,
    renewed: Instant,
}

/// What a candidate is until its next tick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Another leads.
    Follows,
    /// It leads from now on: others may have since it last did.
    Begins,
    /// It leads, and nobody else has meanwhile.
    Leads,
}

const KEY: &str = "junheng/leader";
/// Two ticks ([`super::Worker::TICK`]).
const TERM: Duration = Duration::from_millis(100);
/// A configuration without a leader for so long is gone.
const GONE: Duration = Duration::from_secs(10);
/// So many at once: a listener that is updated each second drains for ten minutes by default.
const LANES: usize = 1024;

impl Candidate {
    /// Makes the leases; none is held.
    pub fn prepare(host: &mut dyn Host) {
        host.create(KEY, b"");
    }

    /// Renews the configuration's lease or takes it over, if it can. There is no lane where the
    /// store does not tell.
    pub fn lead(&self, now: Instant, host: &mut dyn Host) -> (Role, Option<Lane>) {
        let mut lane = None;
        let role = update(host, KEY, |_, bytes| {
            let mut leases = decode(bytes);
            let own = place(&mut leases, self.configuration, now);
            lane = Some(Lane {
                own,
                all: leases.len(),
            });
            let lease = leases.get_mut(own)?;
            let holds = (lease.vm, lease.number) == (self.vm, self.number.into());
            if !holds && lease.number != 0 && now.since(lease.renewed) < TERM {
                return None;
            }
            *lease = Lease {
                configuration: self.configuration,
                vm: self.vm,
                number: self.number.into(),
                renewed: now,
            };
            let role = if holds { Role::Leads } else { Role::Begins };
            Some((encode(&leases), role))
        });
        (role.unwrap_or(Role::Follows), lane)
    }
}

/// The lane of `configuration`: its own, else that of one that is gone, else a new one, else the
/// one that was silent longest.
fn place(leases: &mut Vec<Lease>, configuration: u64, now: Instant) -> usize {
    let known = |lease: &Lease| lease.configuration == configuration;
    if let Some(own) = leases.iter().position(known) {
        return own;
    }
    let oldest = (0..).zip(leases.iter()).min_by_key(|(_, it)| it.renewed);
    let free = oldest.filter(|(_, it)| now.since(it.renewed) >= GONE || leases.len() >= LANES);
    let at = free.map_or(leases.len(), |(at, _)| at);
    let new = Lease {
        configuration,
        ..Lease::default()
    };
    match leases.get_mut(at) {
        Some(lease) => *lease = new,
        None => leases.push(new),
    }
    at
}

fn encode(leases: &[Lease]) -> Vec<u8> {
    let words = leases.iter().flat_map(|lease| {
        [
            lease.configuration,
            lease.vm,
            lease.number,
            lease.renewed.as_nanos(),
        ]
    });
    words.flat_map(u64::to_le_bytes).collect()
}

fn decode(bytes: &[u8]) -> Vec<Lease> {
    let (words, _) = bytes.as_chunks::<8>();
    let (leases, _) = words.as_chunks::<4>();
    let lease = |words: &[[u8; 8]; 4]| {
        let [configuration, vm, number, renewed] = words.map(u64::from_le_bytes);
        Lease {
            configuration,
            vm,
            number,
            renewed: Instant::from_nanos(renewed),
        }
    };
    leases.iter().map(lease).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000_000_000;

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(HOUR + millis * 1_000_000)
    }

    #[test]
    fn a_configuration_keeps_its_lane_and_a_new_one_takes_that_of_one_that_is_gone() {
        let mut leases = Vec::new();
        let mut enter = |configuration, millis| {
            let own = place(&mut leases, configuration, at(millis));
            leases[own].renewed = at(millis);
            own
        };
        assert_eq!([enter(7, 0), enter(8, 0), enter(7, 9_000)], [0, 1, 0]);
        assert_eq!(
            enter(9, 9_999),
            2,
            "the first is silent for less than ten seconds"
        );
        assert_eq!(enter(10, 10_000), 1);
        assert_eq!(enter(8, 10_000), 3);
    }

    #[test]
    fn lanes_have_an_end() {
        let mut leases: Vec<Lease> = Vec::new();
        for configuration in 0..2 * LANES as u64 {
            let own = place(&mut leases, configuration, at(configuration));
            leases[own].renewed = at(configuration);
        }
        assert_eq!(leases.len(), LANES);
        assert_eq!(decode(&encode(&leases)), leases);
    }
}
