//! One VM among the others: a slot which says that it lives, and a ledger of the load it carries.
//!
//! A gauge that a VM has raised stays raised when the VM traps, and no callback tells. So each VM also
//! writes down what it carries, for all to read: a gauge that stands above the sum of the living VMs'
//! ledgers has been left by a dead one (see [`super::audit`]). A ledger lists only endpoints that the VM
//! has load at, a pool to a key. Its VM alone writes it, with every step of the gauges: written on the
//! tick it would be wrong by what happened since.
//!
//! All configurations of a VM share its membership: a stream that began under the last one still counts.

use std::time::Duration;

use crate::ports::{Host, Version};
use crate::values::clock::Instant;
use crate::values::murmur3::murmur3_32;

use super::held::Held;
use super::learned::Learned;

/// What one VM carries at one endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Requests in flight.
    pub in_flight: u32,
    /// Input tokens of requests whose answers have not begun.
    pub waiting: u32,
}

/// One VM of the proxy.
#[derive(Debug)]
pub struct Member {
    id: u64,
    slot: Option<usize>,
    ledgers: Vec<Ledger>,
    /// Configurations in force by their fingerprints and numbers, the newest last: one that is
    /// replaced lives on until its connections have drained.
    configurations: Vec<(u64, u32)>,
    /// How many there have been.
    configured: u32,
    /// What they have learned.
    learned: Learned,
    /// The limits' shapes of those in force.
    shapes: Vec<u64>,
    held: Held,
}

/// What a VM carries in one pool.
#[derive(Debug)]
struct Ledger {
    pool: String,
    /// Of the slot that the VM has.
    key: String,
    loads: Vec<(EndpointKey, Load)>,
}

/// Names an endpoint across configurations, in which it may stand at different places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EndpointKey(u64);

/// Where in a pool each endpoint stands, by its key: what workers publish names thousands.
#[derive(Debug)]
pub(super) struct Places(Vec<(EndpointKey, u32)>);

impl EndpointKey {
    /// The endpoint at `address`. Two of a pool's 4,096 share a key once in two trillion configurations.
    pub fn of(address: &str) -> EndpointKey {
        let half = |seed| u64::from(murmur3_32(address.as_bytes(), seed));
        EndpointKey(half(0) << 32 | half(1))
    }

    /// As it is written in what workers publish.
    pub(super) fn to_bytes(self) -> [u8; 8] {
        self.0.to_le_bytes()
    }

    /// The key that was written so.
    pub(super) fn from_bytes(bytes: [u8; 8]) -> EndpointKey {
        EndpointKey(u64::from_le_bytes(bytes))
    }
}

impl Places {
    /// Those of a pool's endpoints, whose keys are given in their order.
    pub(super) fn new(keys: impl Iterator<Item = EndpointKey>) -> Places {
        // Each put where it belongs: a sort would be 5 KB of the artifact, to save some milliseconds at
        // the largest pool's start.
        let mut places = Places(Vec::new());
        for (key, place) in keys.zip(0..) {
            let at = places.0.partition_point(|(known, _)| *known < key);
            places.0.insert(at, (key, place));
        }
        places
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The place of an endpoint, if it is one of the pool's.
    pub(super) fn of(&self, key: EndpointKey) -> Option<usize> {
        let place = self.0.binary_search_by_key(&key, |(known, _)| *known);
        self.0.get(place.ok()?).map(|(_, place)| *place as usize)
    }
}

/// Where in a member's books an endpoint stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Account {
    ledger: usize,
    endpoint: EndpointKey,
}

/// No proxy runs more workers.
const SLOTS: usize = 1024;
/// A VM that has not been heard of for so long is dead, or as good as that: forty ticks of it were missed.
const SILENCE: Duration = Duration::from_secs(2);

impl Member {
    /// A VM of a name that no other has.
    pub fn new(id: u64) -> Member {
        Member {
            id,
            slot: None,
            ledgers: Vec::new(),
            configurations: Vec::new(),
            configured: 0,
            learned: Learned::default(),
            shapes: Vec::new(),
            held: Held::default(),
        }
    }

    /// The same VM under another plugin, whose slots and ledgers are its own.
    pub fn beside(&self) -> Member {
        Member {
            held: self.held.clone(),
            ..Member::new(self.id)
        }
    }

    /// What its requests that are held take of the VM's memory.
    pub(super) fn held(&self) -> Held {
        self.held.clone()
    }

    /// Counts a configuration in; its number, from 1.
    pub(super) fn begin(&mut self, fingerprint: u64) -> u32 {
        self.configured = self.configured.wrapping_add(1);
        self.configurations.push((fingerprint, self.configured));
        self.configured
    }

    /// Counts a configuration out.
    pub(super) fn end(&mut self, number: u32) {
        self.configurations.retain(|(_, known)| *known != number);
    }

    /// Whether a configuration is the one that speaks for this VM among those with the same text.
    pub(super) fn is_newest(&self, fingerprint: u64, number: u32) -> bool {
        let alike = |(known, _): &&(u64, u32)| *known == fingerprint;
        let newest = self.configurations.iter().rfind(alike);
        newest.is_some_and(|(_, newest)| *newest == number)
    }

    /// What its configurations have learned, until the next one begins.
    pub(super) fn learned(&mut self) -> &mut Learned {
        &mut self.learned
    }

    /// The shapes of the limits that its configurations in force have, as often as they have them.
    pub(super) fn shapes(&mut self) -> &mut Vec<u64> {
        &mut self.shapes
    }

    /// The VM's name.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// The VM's place among the others', once it has one.
    pub(super) fn slot(&self) -> Option<usize> {
        self.slot
    }

    /// Whether a VM ever had `slot`; slots are taken in their order.
    pub(super) fn is_known(slot: usize, host: &mut dyn Host) -> bool {
        slot < SLOTS && host.load(&slot_key(slot)).is_some()
    }

    /// Opens an account for an endpoint, or finds it.
    pub(super) fn account(&mut self, pool: &str, address: &str) -> Account {
        let known = self.ledgers.iter().position(|ledger| ledger.pool == pool);
        let ledger = known.unwrap_or_else(|| {
            self.ledgers.push(Ledger {
                pool: pool.to_owned(),
                key: self
                    .slot
                    .map(|slot| ledger_key(slot, pool))
                    .unwrap_or_default(),
                loads: Vec::new(),
            });
            self.ledgers.len().saturating_sub(1)
        });
        Account {
            ledger,
            endpoint: EndpointKey::of(address),
        }
    }

    /// Changes what this VM carries, and writes it down.
    pub(super) fn step(
        &mut self,
        account: Account,
        change: impl FnOnce(&mut Load),
        host: &mut dyn Host,
    ) {
        let Some(ledger) = self.ledgers.get_mut(account.ledger) else {
            return;
        };
        let place = ledger
            .loads
            .iter()
            .position(|(key, _)| *key == account.endpoint);
        let place = place.unwrap_or_else(|| {
            ledger.loads.push((account.endpoint, Load::default()));
            ledger.loads.len().saturating_sub(1)
        });
        if let Some((_, load)) = ledger.loads.get_mut(place) {
            change(load);
            if *load == Load::default() {
                ledger.loads.swap_remove(place);
            }
        }
        if self.slot.is_some() {
            host.put(&ledger.key, &encode(&ledger.loads));
        }
    }

    /// Says that this VM lives. Without a slot, or if others have given it up for dead and taken its slot, it
    /// takes a free one and writes its books again.
    pub(super) fn beat(&mut self, now: Instant, host: &mut dyn Host) {
        if let Some(slot) = self.slot {
            let key = slot_key(slot);
            let ours = host.load(&key).is_some_and(|stored| {
                read_beat(&stored.bytes).is_some_and(|(id, _)| id == self.id)
            });
            if ours {
                return host.put(&key, &write_beat(self.id, now));
            }
        }
        self.slot = (0..SLOTS).find(|slot| self.take(*slot, now, host));
        let Some(slot) = self.slot else {
            return;
        };
        for ledger in &mut self.ledgers {
            ledger.key = ledger_key(slot, &ledger.pool);
            host.put(&ledger.key, &encode(&ledger.loads));
        }
    }

    /// Takes `slot` if nobody living has it.
    fn take(&self, slot: usize, now: Instant, host: &mut dyn Host) -> bool {
        let key = slot_key(slot);
        let version = match host.load(&key) {
            None => Version(0),
            Some(stored) => match read_beat(&stored.bytes) {
                Some((_, at)) if now.since(at) < SILENCE => return false,
                _ => stored.version,
            },
        };
        // Two that find a new slot empty may both write on a host that ignores the version; then the beat of
        // the one who wrote first finds the other's name, and it looks for another slot.
        host.swap(&key, &write_beat(self.id, now), version)
    }
}

/// What the living members carry in `pool`, each endpoint as often as there are members that use it.
pub(super) fn carried(pool: &str, now: Instant, host: &mut dyn Host) -> Vec<(EndpointKey, Load)> {
    let mut all = Vec::new();
    for slot in 0..SLOTS {
        let Some(beat) = host.load(&slot_key(slot)) else {
            break;
        };
        if read_beat(&beat.bytes).is_some_and(|(_, at)| now.since(at) < SILENCE)
            && let Some(ledger) = host.load(&ledger_key(slot, pool))
        {
            all.extend(decode(&ledger.bytes));
        }
    }
    all
}

fn slot_key(slot: usize) -> String {
    format!("junheng/member/{slot}")
}

fn ledger_key(slot: usize, pool: &str) -> String {
    format!("junheng/ledger/{slot}/{pool}")
}

/// Name and time, 64 bits each, little endian.
fn write_beat(id: u64, now: Instant) -> [u8; 16] {
    let beat = u128::from(id) | u128::from(now.as_nanos()) << 64;
    beat.to_le_bytes()
}

fn read_beat(bytes: &[u8]) -> Option<(u64, Instant)> {
    let beat = u128::from_le_bytes(bytes.try_into().ok()?);
    Some((beat as u64, Instant::from_nanos((beat >> 64) as u64)))
}

/// For each endpoint its key, 64 bits, and both numbers, 32 bits each, little endian.
fn encode(loads: &[(EndpointKey, Load)]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(loads.len().saturating_mul(16));
    for (endpoint, load) in loads {
        bytes.extend(endpoint.0.to_le_bytes());
        bytes.extend(load.in_flight.to_le_bytes());
        bytes.extend(load.waiting.to_le_bytes());
    }
    bytes
}

fn decode(bytes: &[u8]) -> impl Iterator<Item = (EndpointKey, Load)> {
    let (entries, _) = bytes.as_chunks::<16>();
    entries.iter().map(|entry| {
        let entry = u128::from_le_bytes(*entry);
        let load = Load {
            in_flight: (entry >> 64) as u32,
            waiting: (entry >> 96) as u32,
        };
        (EndpointKey(entry as u64), load)
    })
}
