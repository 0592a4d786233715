//! What has been found out about tokens, so that it is not found out again for each of a caller's requests: a
//! signature costs a millisecond in a VM, and an issuer's answer a round trip.
//!
//! A table of fixed size, as whoever sends tokens chooses their number. A token has four places, told by its hash, and takes the
//! one that would be free first. Tokens are known by their SHA-256 only: a dump of this memory has no token in
//! it, and what a look-up compares, and how long that takes, depends on a hash that nobody can steer.

use sha2::{Digest as _, Sha256};

use crate::values::clock::Instant;

/// The SHA-256 of a token.
pub type Digest = [u8; 32];

/// The digest of `token`.
pub fn digest(token: &str) -> Digest {
    Sha256::digest(token).into()
}

/// What is known of tokens, until when.
#[derive(Debug)]
pub struct Remembered<T> {
    sets: Vec<[Option<Entry<T>>; WAYS]>,
}

#[derive(Debug)]
struct Entry<T> {
    digest: Digest,
    until: Instant,
    known: T,
}

const WAYS: usize = 4;

impl<T: Clone> Remembered<T> {
    /// A table of at least `entries` places.
    pub fn new(entries: usize) -> Remembered<T> {
        let sets = entries.div_ceil(WAYS);
        Remembered {
            sets: (0..sets).map(|_| [const { None }; WAYS]).collect(),
        }
    }

    /// What is known of the token, at the time `now`.
    pub fn find(&self, digest: &Digest, now: Instant) -> Option<&T> {
        let set = self.sets.get(self.place(digest))?;
        let entry = set.iter().flatten().find(|entry| entry.digest == *digest)?;
        (now < entry.until).then_some(&entry.known)
    }

    /// Keeps what is known of the token, until `until`.
    pub fn keep(&mut self, digest: Digest, known: T, until: Instant) {
        let place = self.place(&digest);
        let Some(set) = self.sets.get_mut(place) else {
            return;
        };
        let same =
            |slot: &Option<Entry<T>>| slot.as_ref().is_some_and(|entry| entry.digest == digest);
        let ends = |slot: &Option<Entry<T>>| slot.as_ref().map(|entry| entry.until);
        // The token's own place before any other, an empty one before one that is taken.
        let slot = set.iter_mut().min_by_key(|slot| (!same(slot), ends(slot)));
        if let Some(slot) = slot {
            *slot = Some(Entry {
                digest,
                until,
                known,
            });
        }
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.sets.iter_mut().flatten().for_each(|slot| *slot = None);
    }

    fn place(&self, digest: &Digest) -> usize {
        let first = digest.first_chunk().copied().unwrap_or_default();
        let sets = u64::try_from(self.sets.len()).unwrap_or_default();
        u64::from_le_bytes(first)
            .checked_rem(sets)
            .unwrap_or_default() as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(nanos: u64) -> Instant {
        Instant::from_nanos(nanos)
    }

    #[test]
    fn what_is_kept_is_known_until_its_time_and_no_longer() {
        let mut table = Remembered::new(8);
        table.keep(digest("a"), 1, at(10));
        assert_eq!(table.find(&digest("a"), at(9)), Some(&1));
        assert_eq!(table.find(&digest("a"), at(10)), None);
        assert_eq!(table.find(&digest("b"), at(0)), None);
        table.keep(digest("a"), 2, at(5));
        assert_eq!(table.find(&digest("a"), at(4)), Some(&2));
        assert_eq!(
            table.find(&digest("a"), at(9)),
            None,
            "the newer word counts"
        );
        table.clear();
        assert_eq!(table.find(&digest("a"), at(0)), None);
    }

    #[test]
    fn a_full_table_gives_up_what_would_end_first_and_never_grows() {
        let mut table = Remembered::new(4);
        for (time, token) in (20u64..).zip(["a", "b", "c", "d"]) {
            table.keep(digest(token), time, at(time));
        }
        table.keep(digest("e"), 30, at(30));
        let known =
            ["a", "b", "c", "d", "e"].map(|token| table.find(&digest(token), at(0)).is_some());
        assert_eq!(known, [false, true, true, true, true]);
        for token in 0..10_000 {
            table.keep(digest(&token.to_string()), 0, at(100 + token));
        }
        assert_eq!(table.sets.len(), 1);
    }
}
