//! Where a limit's buckets are, by the limit's shape, and how they get there when the shape
//! changes.
//!
//! A bucket means something only under the rates it was filled under, and is found only under the
//! key and in the table that it was filled in: these are a limit's *shape*. Two configurations that
//! have a limit of one name in two shapes at once, whether one of them drains or both serve a
//! listener, must not read each other's buckets. So each shape has a table of its own, and a record
//! of the limit says which there are.
//!
//! A configuration that brings a shape takes over what was used under the others with the same key
//! ([`Table::owed`]), where several tell of a caller what leaves least; under another key callers
//! are others, and nothing can be kept. It does so when it is configured, and each VM that is
//! configured does it before its first request, each set once: a set tells to which epoch of the
//! record it was brought.
//!
//! A shape that another VM's configuration has in force is not taken over into again: that is a VM
//! which starts anew beside them. One that this VM had in force before is, as a configuration that
//! comes back goes on where its successor was.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use crate::config::Quota;
use crate::ports::{Host, Version, update};
use crate::quota::{BUDGETS, Moved, Rate, Rates, Table};
use crate::values::clock::Instant;

/// A limit's shape.
pub(super) struct Shape {
    /// Of the limit's record.
    record: String,
    id: u64,
    key: u64,
    table: Table,
    rates: Rates,
}

/// A shape as the record has it; its place there is a part of its buckets' keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    id: u64,
    key: u64,
    table: Table,
    rates: Rates,
    /// When buckets were last taken over into it, counted over all shapes.
    epoch: u64,
    /// Its first epoch: what was brought to an earlier one was another shape's.
    first: u64,
    /// When it was last said to be in force.
    shown: Instant,
}

/// How often a leader says that its limits are in force.
pub(super) const SHOWN: Duration = Duration::from_secs(1);
/// A shape of which that was not said for so long is in force nowhere.
const GONE: Duration = Duration::from_secs(10);
/// So many shapes with one key keep their tables, for what is owed there; then a new one takes the
/// table of one that is gone.
const KIN: usize = 8;
const WORDS: usize = 10;
const TRIES: usize = 64;

impl Shape {
    pub(super) fn new(quota: &Quota, table: Table, rates: Rates) -> Shape {
        let key = hash(&quota.key);
        let words = rates.map(words_of);
        Shape {
            record: ["junheng/quota/", &quota.name].concat(),
            id: hash(&(&quota.name, key, table.sets(), table.ways(), words)),
            key,
            table,
            rates,
        }
    }

    /// Names it among all limits' shapes.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// Makes its buckets, and brings there what was used under the last shape; what the keys of its
    /// sets begin with. `here` says whether another configuration of this VM has it in force.
    pub(super) fn enter(&self, here: bool, host: &mut dyn Host) -> String {
        let now = host.now();
        let mut entries = Vec::new();
        let mut own = 0;
        for _ in 0..TRIES {
            host.create(&self.record, b"");
            let mut joined = false;
            let claimed = update(host, &self.record, |_, bytes| {
                entries = decode(bytes);
                let before = entries.clone();
                own = self.claim(&mut entries, here, now);
                joined = entries == before;
                (!joined).then(|| (encode(&entries), ()))
            });
            if joined || claimed.is_some() {
                break;
            }
        }
        let prefix = self.prefix(own);
        if let Some(entry) = entries.get(own) {
            self.bring(&prefix, entry, &entries, now, host);
        }
        prefix
    }

    /// Says that it is in force.
    pub(super) fn show(&self, now: Instant, host: &mut dyn Host) {
        update(host, &self.record, |_, bytes| {
            let mut entries = decode(bytes);
            let own = entries.iter_mut().find(|entry| entry.id == self.id)?;
            own.shown = now;
            Some((encode(&entries), ()))
        });
    }

    fn prefix(&self, place: usize) -> String {
        format!("{}/{}/{place}/", self.record, self.table.sets())
    }

    /// Its place in the record, after a new epoch if it takes over from another.
    fn claim(&self, entries: &mut Vec<Entry>, here: bool, now: Instant) -> usize {
        let own = entries.iter().position(|entry| entry.id == self.id);
        let kin = || entries.iter().filter(|entry| entry.key == self.key);
        let last = kin().max_by_key(|entry| entry.epoch).map(|last| last.id);
        let latest = entries.iter().map(|entry| entry.shown).max();
        let is_gone =
            |entry: &Entry| latest.is_some_and(|latest| latest.since(entry.shown) >= GONE);
        if let Some((place, entry)) = own.and_then(|own| Some((own, entries.get(own)?))) {
            let is_last = last.is_none_or(|last| last == self.id);
            if is_last || !here && !is_gone(entry) {
                return place;
            }
        }
        let epoch = entries.iter().map(|entry| entry.epoch).max();
        let epoch = epoch.unwrap_or_default().saturating_add(1);
        let crowded = kin().count() >= KIN;
        let free = |entry: &Entry| {
            entry.table == self.table && is_gone(entry) && (crowded || entry.key != self.key)
        };
        let place = own.or_else(|| entries.iter().position(free));
        let place = place.unwrap_or(entries.len());
        let first = own.and_then(|own| entries.get(own)).map(|own| own.first);
        let entry = Entry {
            id: self.id,
            key: self.key,
            table: self.table,
            rates: self.rates,
            epoch,
            first: first.unwrap_or(epoch),
            shown: now,
        };
        match entries.get_mut(place) {
            Some(known) => *known = entry,
            None => entries.push(entry),
        }
        place
    }

    /// Brings each set to the entry's epoch, if it is not there.
    fn bring(
        &self,
        prefix: &str,
        entry: &Entry,
        entries: &[Entry],
        now: Instant,
        host: &mut dyn Host,
    ) {
        let mut owed: Option<Vec<Vec<Moved>>> = None;
        for set in 0..self.table.sets() {
            let key = format!("{prefix}{set}");
            for _ in 0..TRIES {
                let stored = host.load(&key);
                let epoch = |bytes: &[u8]| self.table.epoch(bytes);
                let is_there = |bytes: &[u8]| epoch(bytes) >= entry.epoch;
                if stored.as_ref().is_some_and(|it| is_there(&it.bytes)) {
                    break;
                }
                let owed = owed.get_or_insert_with(|| self.owed(entry, entries, now, host));
                let moved = owed.get(set as usize).map_or(&[][..], Vec::as_slice);
                let ours = stored.as_ref().filter(|it| epoch(&it.bytes) >= entry.first);
                let ours = ours.map(|it| it.bytes.as_slice());
                let bytes = self.table.adopt(ours, moved, entry.epoch, now);
                let version = stored.as_ref().map_or(Version(0), |it| it.version);
                if host.swap(&key, &bytes, version) {
                    break;
                }
            }
        }
    }

    /// What was owed under other shapes with the same key at the epoch of `entry`, by the sets that
    /// it is owed in here.
    fn owed(
        &self,
        entry: &Entry,
        entries: &[Entry],
        now: Instant,
        host: &mut dyn Host,
    ) -> Vec<Vec<Moved>> {
        let mut owed = vec![Vec::new(); self.table.sets() as usize];
        let kin = |source: &Entry| source.key == self.key && source.epoch < entry.epoch;
        for (place, source) in entries.iter().enumerate().filter(|(_, it)| kin(it)) {
            let prefix = format!("{}/{}/{place}/", self.record, source.table.sets());
            for set in 0..source.table.sets() {
                let Some(stored) = host.load(&format!("{prefix}{set}")) else {
                    continue;
                };
                // It may have gone to another shape meanwhile.
                if source.table.epoch(&stored.bytes) < source.first {
                    continue;
                }
                let rates = (&source.rates, &self.rates);
                for moved in source.table.owed(&stored.bytes, rates, now) {
                    let to = match moved.key {
                        _ if source.table == self.table => Some(set),
                        key => key.map(|key| self.table.set_of(key)),
                    };
                    if let Some(to) = to.and_then(|to| owed.get_mut(to as usize)) {
                        to.push(moved);
                    }
                }
            }
        }
        owed
    }
}

fn hash(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

fn words_of(rate: Option<Rate>) -> [u64; 2] {
    rate.map_or([0; 2], Rate::to_words)
}

fn encode(entries: &[Entry]) -> Vec<u8> {
    let words = entries.iter().flat_map(|entry| {
        let [requests, tokens] = entry.rates.map(words_of);
        let [r, s] = requests;
        let [t, u] = tokens;
        let table = u64::from(entry.table.sets()) << 1 | u64::from(entry.table.ways() > 0);
        [
            entry.id,
            entry.key,
            table,
            r,
            s,
            t,
            u,
            entry.epoch,
            entry.first,
            entry.shown.as_nanos(),
        ]
    });
    words.flat_map(u64::to_le_bytes).collect()
}

fn decode(bytes: &[u8]) -> Vec<Entry> {
    let (words, _) = bytes.as_chunks::<8>();
    let (entries, _) = words.as_chunks::<WORDS>();
    let entry = |words: &[[u8; 8]; WORDS]| {
        let [id, key, table, r, s, t, u, epoch, first, shown] = words.map(u64::from_le_bytes);
        let rates: [Option<Rate>; BUDGETS] = [[r, s], [t, u]].map(Rate::from_words);
        Entry {
            id,
            key,
            table: match table & 1 {
                0 => Table::SINGLE,
                _ => Table::of_sets((table >> 1) as u32),
            },
            rates,
            epoch,
            first,
            shown: Instant::from_nanos(shown),
        }
    };
    entries.iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(id: u64, key: u64) -> Shape {
        Shape {
            record: String::new(),
            id,
            key,
            table: Table::SINGLE,
            rates: [None; BUDGETS],
        }
    }

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos((1 << 40) + seconds * 1_000_000_000)
    }

    /// Where it is, and the epoch.
    fn claim(entries: &mut Vec<Entry>, id: u64, here: bool, seconds: u64) -> (usize, u64) {
        let place = shape(id, id / 10).claim(entries, here, at(seconds));
        (place, entries[place].epoch)
    }

    #[test]
    fn a_new_shape_begins_an_epoch() {
        let mut entries = Vec::new();
        for (id, expected) in [(10, (0, 1)), (11, (1, 2)), (20, (2, 3)), (12, (3, 4))] {
            assert_eq!(claim(&mut entries, id, false, 0), expected);
        }
        assert_eq!(decode(&encode(&entries)), entries);
    }

    #[test]
    fn a_shape_in_force_elsewhere_is_joined_and_one_that_was_in_force_here_goes_on() {
        let mut entries = Vec::new();
        claim(&mut entries, 10, false, 0);
        claim(&mut entries, 11, false, 0);
        for (id, expected) in [(10, (0, 1)), (11, (1, 2))] {
            assert_eq!(claim(&mut entries, id, false, 5), expected);
        }
        assert_eq!(claim(&mut entries, 10, true, 5), (0, 3));
        assert_eq!(entries[0].first, 1, "what is there is its own");
        assert_eq!(claim(&mut entries, 10, true, 5), (0, 3), "for all VMs once");
    }

    #[test]
    fn a_shape_that_was_gone_takes_over_again_and_tables_have_an_end() {
        let mut entries = Vec::new();
        claim(&mut entries, 10, false, 0);
        claim(&mut entries, 11, false, 20);
        assert_eq!(claim(&mut entries, 10, false, 20), (0, 3));
        for n in 0..100 {
            claim(&mut entries, 12 + n % 7, false, 40 + 20 * n);
        }
        assert!(entries.len() <= KIN + 1, "{}", entries.len());
        claim(&mut entries, 20, false, 3_000);
        let (place, epoch) = claim(&mut entries, 30, false, 3_100);
        assert_eq!(entries[place].first, epoch, "what is there was another's");
        assert!(entries.len() <= KIN + 2, "{}", entries.len());
    }
}
