//! An issuer's key set, fetched once for the whole proxy.
//!
//! Any worker may find that it needs the set anew, for a token's key is not in it; a client that makes keys' names
//! up must not have it fetched again and again. So who fetches is agreed on: a gate in the store says when the
//! set was last asked for and whether an answer is still due, and only who steps it asks. What comes is put into
//! the store, too, and all workers read it there. The last good set stays until another is.

use std::time::Duration;

use crate::config::Issuer;
use crate::identity::bearer::KeySet;
use crate::ports::{Host, update};
use crate::values::clock::Instant;

use super::waiting::GRACE;

/// One issuer's keys, as a worker knows them.
#[derive(Debug)]
pub(super) struct Keys {
    /// Names the gate in the store.
    gate: String,
    /// Names the document there.
    document: String,
    /// The document's that was read last.
    version: u64,
    set: KeySet,
}

/// Who fetches, and how that went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Gate {
    /// When the set was last asked for; the clock's origin if never.
    asked: Instant,
    /// When the last answer came, or the proxy said that none would.
    answered: Instant,
    /// When the last answer came that was a key set.
    good: Instant,
    /// How often the document has changed.
    version: u64,
}

/// What becomes of a wish to have the set fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fetch {
    /// The worker that wishes is to fetch it.
    Ours,
    /// Another does.
    Theirs,
    /// It was fetched a moment ago.
    Rests,
}

/// The set is not asked for more often.
const APART: Duration = Duration::from_secs(10);
/// The clock's origin is never: what happens then is taken to happen a nanosecond later.
const FIRST: Instant = Instant::from_nanos(1);

impl Keys {
    /// The keys of `issuer`; none until they are fetched, or have been by another worker.
    pub fn new(issuer: &Issuer, host: &mut dyn Host) -> Keys {
        let from = &issuer.keys;
        let name = [&issuer.name, &from.cluster, &from.authority, &from.path].map(String::as_str);
        let name = name.join(" ");
        let mut keys = Keys {
            gate: ["junheng/keys/gate/", &name].concat(),
            document: ["junheng/keys/document/", &name].concat(),
            version: 0,
            set: KeySet::default(),
        };
        host.create(&keys.gate, &Gate::default().encode());
        host.create(&keys.document, b"");
        keys.follow(host);
        keys
    }

    /// The last good set.
    pub fn set(&self) -> &KeySet {
        &self.set
    }

    /// Reads the set that was fetched last, if it is another; whether it is.
    pub fn follow(&mut self, host: &mut dyn Host) -> bool {
        let gate = self.gate(host);
        if gate.version == self.version {
            return false;
        }
        let document = host.load(&self.document);
        let set = document.and_then(|document| KeySet::parse(&document.bytes));
        if let Some(set) = set {
            self.set = set;
            self.version = gate.version;
            return true;
        }
        false
    }

    /// Whether an answer is due from whoever fetches.
    pub fn is_awaited(&self, issuer: &Issuer, now: Instant, host: &mut dyn Host) -> bool {
        self.gate(host).is_awaited(issuer, now)
    }

    /// Whether the last good set is too old.
    pub fn is_due(&self, issuer: &Issuer, now: Instant, host: &mut dyn Host) -> bool {
        let gate = self.gate(host);
        gate.is_missing() || now.since(gate.good) >= issuer.refresh
    }

    /// Whether the issuer did not answer when it was last asked, or never has.
    pub fn is_unreachable(&self, host: &mut dyn Host) -> bool {
        let gate = self.gate(host);
        gate.is_missing() || gate.good < gate.asked
    }

    /// Tells who is to fetch the set.
    pub fn claim(&self, issuer: &Issuer, now: Instant, host: &mut dyn Host) -> Fetch {
        let mut otherwise = Fetch::Theirs;
        let claimed = update(host, &self.gate, |_, bytes| {
            let gate = Gate::decode(bytes).unwrap_or_default();
            if gate.is_awaited(issuer, now) {
                otherwise = Fetch::Theirs;
                return None;
            }
            if gate.asked != Instant::default() && now.since(gate.asked) < APART {
                otherwise = Fetch::Rests;
                return None;
            }
            let asked = now.max(FIRST);
            Some((Gate { asked, ..gate }.encode(), ()))
        });
        claimed.map_or(otherwise, |()| Fetch::Ours)
    }

    /// Publishes what came of a fetch; `None` if that was no key set.
    pub fn publish(&self, document: Option<&[u8]>, now: Instant, host: &mut dyn Host) {
        let stored = host.load(&self.document).map(|stored| stored.bytes);
        let news = document.filter(|document| stored.as_deref() != Some(document));
        if let Some(news) = news {
            host.put(&self.document, news);
        }
        update(host, &self.gate, |_, bytes| {
            let gate = Gate::decode(bytes).unwrap_or_default();
            let next = Gate {
                answered: now.max(FIRST),
                good: document.map_or(gate.good, |_| now.max(FIRST)),
                version: gate.version.wrapping_add(news.is_some().into()),
                ..gate
            };
            Some((next.encode(), ()))
        });
    }

    fn gate(&self, host: &mut dyn Host) -> Gate {
        let stored = host.load(&self.gate);
        let gate = stored.and_then(|stored| Gate::decode(&stored.bytes));
        gate.unwrap_or_default()
    }
}

impl Gate {
    fn is_awaited(&self, issuer: &Issuer, now: Instant) -> bool {
        self.asked > self.answered
            && now.since(self.asked) < issuer.keys.timeout.saturating_add(GRACE)
    }

    fn is_missing(&self) -> bool {
        self.good == Instant::default()
    }

    fn encode(self) -> Vec<u8> {
        let times = [self.asked, self.answered, self.good].map(Instant::as_nanos);
        let words = times.into_iter().chain([self.version]);
        words.flat_map(u64::to_le_bytes).collect()
    }

    fn decode(bytes: &[u8]) -> Option<Gate> {
        let (words, _) = bytes.as_chunks::<8>();
        let &[asked, answered, good, version] = words else {
            return None;
        };
        let time = |word| Instant::from_nanos(u64::from_le_bytes(word));
        Some(Gate {
            asked: time(asked),
            answered: time(answered),
            good: time(good),
            version: u64::from_le_bytes(version),
        })
    }
}
