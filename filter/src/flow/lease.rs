//! Which VM leads: it alone probes, reads metrics, computes weights and audits.
//!
//! The lease is a value that its holder renews on each tick, and that another takes once it has been left
//! alone for two: a leader that dies is replaced on the third. A leader that was only slow finds, on its
//! next tick, that it leads no more; what it does meanwhile is harmless to do twice.

use std::time::Duration;

use crate::ports::{Host, update};
use crate::values::clock::Instant;

/// One configuration of one VM, as a candidate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// The VM.
    pub id: u64,
    /// When the configuration was taken: the newest leads, so that what it says is done.
    pub since: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lease {
    holder: u64,
    since: Instant,
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

impl Candidate {
    /// Makes the lease, held by nobody.
    pub fn prepare(host: &mut dyn Host) {
        let nobody = Lease {
            holder: 0,
            since: Instant::default(),
            renewed: Instant::default(),
        };
        host.create(KEY, &nobody.encode());
    }

    /// Renews the lease or takes it over, if it can.
    pub fn lead(&self, now: Instant, host: &mut dyn Host) -> Role {
        update(host, KEY, |_, bytes| {
            let lease = Lease::decode(bytes);
            let free = |lease: &Lease| now.since(lease.renewed) >= TERM || lease.since < self.since;
            let holds =
                lease.is_some_and(|lease| (lease.holder, lease.since) == (self.id, self.since));
            let may = holds || lease.is_none_or(|lease| free(&lease));
            let next = Lease {
                holder: self.id,
                since: self.since,
                renewed: now,
            };
            let role = if holds { Role::Leads } else { Role::Begins };
            may.then(|| (next.encode(), role))
        })
        .unwrap_or(Role::Follows)
    }
}

impl Lease {
    fn encode(self) -> Vec<u8> {
        let words = [self.holder, self.since.as_nanos(), self.renewed.as_nanos()];
        words.into_iter().flat_map(u64::to_le_bytes).collect()
    }

    fn decode(bytes: &[u8]) -> Option<Lease> {
        let (words, _) = bytes.as_chunks::<8>();
        let &[holder, since, renewed] = words else {
            return None;
        };
        let time = |word| Instant::from_nanos(u64::from_le_bytes(word));
        Some(Lease {
            holder: u64::from_le_bytes(holder),
            since: time(since),
            renewed: time(renewed),
        })
    }
}
