//! The nonces that have been there, in tables of a fixed number of slots.
//!
//! Shared data never forgets a key, so a nonce gets no key of its own but a slot in one of the tables, which its mark
//! chooses. A slot is taken until its signature's date alone would refuse it, and then is free for another. Where all
//! slots of a table are taken the request is refused: to make room would let in again what was pushed out.
//!
//! When the wall clock is set back, signatures hold again whose slots are free by then. So each table keeps the latest
//! end of any nonce that it forgot, and takes none that ends before it.

use crate::values::clock::UnixTime;

use super::signature::Fault;

/// The slots of a table. Its bytes are copied twice a request, and it is the finer filled the larger it is.
pub const SLOTS: usize = 64;

/// A table in which every slot is free.
pub const EMPTY: [u8; 8] = [0; 8];

/// The table with one more nonce, which ends at `until`, or why it must not pass.
///
/// # Errors
/// [`Fault::Replayed`] where it is there, or may have been; [`Fault::Full`] where no slot is free, or the bytes are no table.
pub fn remember(table: &[u8], mark: u64, until: UnixTime, now: UnixTime) -> Result<Vec<u8>, Fault> {
    let (forgotten, slots) = table.split_first_chunk::<8>().ok_or(Fault::Full)?;
    let (slots, torn) = slots.as_chunks::<16>();
    if !torn.is_empty() {
        return Err(Fault::Full);
    }
    let mut forgotten = u64::from_le_bytes(*forgotten);
    let mut kept = Vec::with_capacity(table.len().saturating_add(16));
    kept.extend_from_slice(&EMPTY);
    for slot in slots {
        let end = u64::from_le_bytes(slot.last_chunk().copied().unwrap_or_default());
        if slot.starts_with(&mark.to_le_bytes()) {
            return Err(Fault::Replayed);
        }
        match end < now.0 {
            true => forgotten = forgotten.max(end),
            false => kept.extend_from_slice(slot),
        }
    }
    if until.0 <= forgotten {
        return Err(Fault::Replayed);
    }
    if kept.len() >= FULL_BYTES {
        return Err(Fault::Full);
    }
    kept.extend(mark.to_le_bytes());
    kept.extend(until.0.to_le_bytes());
    if let Some(first) = kept.first_chunk_mut() {
        *first = forgotten.to_le_bytes();
    }
    Ok(kept)
}

const FULL_BYTES: usize = EMPTY.len() + SLOTS * 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn step(table: &mut Vec<u8>, mark: u64, until: u64, now: u64) -> Result<(), Fault> {
        *table = remember(table, mark, UnixTime(until), UnixTime(now))?;
        Ok(())
    }

    #[test]
    fn a_nonce_passes_once_until_it_has_ended() {
        let mut table = EMPTY.to_vec();
        assert_eq!(step(&mut table, 7, 1300, 1000), Ok(()));
        for now in [1000, 1299, 1300, 1301] {
            assert_eq!(
                step(&mut table, 7, 1300, now),
                Err(Fault::Replayed),
                "{now}"
            );
        }
        assert_eq!(step(&mut table, 8, 1300, 1000), Ok(()));
    }

    #[test]
    fn a_full_table_takes_nothing_until_a_slot_ends() {
        let mut table = EMPTY.to_vec();
        for mark in 0..SLOTS as u64 {
            assert_eq!(step(&mut table, mark, 1300 + mark, 1000), Ok(()));
        }
        assert_eq!(step(&mut table, 99, 1400, 1300), Err(Fault::Full));
        assert_eq!(step(&mut table, 0, 1300, 1300), Err(Fault::Replayed));
        assert_eq!(step(&mut table, 99, 1400, 1301), Ok(()));
        assert_eq!(table.len(), FULL_BYTES);
    }

    #[test]
    fn what_was_forgotten_does_not_pass_when_the_clock_is_set_back() {
        let mut table = EMPTY.to_vec();
        step(&mut table, 1, 1300, 1000).unwrap();
        step(&mut table, 2, 1700, 1400).unwrap();
        assert_eq!(step(&mut table, 1, 1300, 1000), Err(Fault::Replayed));
        assert_eq!(step(&mut table, 3, 1300, 1000), Err(Fault::Replayed));
        assert_eq!(step(&mut table, 3, 1301, 1001), Ok(()));
    }

    #[test]
    fn what_is_no_table_takes_nothing() {
        for bytes in [&b""[..], b"1234567", b"12345678x"] {
            assert_eq!(
                remember(bytes, 1, UnixTime(2), UnixTime(1)),
                Err(Fault::Full)
            );
        }
    }
}
