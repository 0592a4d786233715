//! Where the plain run of a string ends: at a quote, a backslash, a control character.
//!
//! Text is interrupted every few dozen bytes, by an escaped quote or line end, and names are shorter
//! still. Beginning the search anew at each would look at most bytes twice; so the stops of the
//! sixty-four bytes that were looked at are kept as one bit each, and the next one is mostly a shift.

use super::lanes::{BLOCK, Block, Lanes};

/// The stops of a text, found on the way through it.
#[derive(Debug)]
pub struct Stops {
    /// Where the block begins that was looked at last; one before the text if none was.
    from: usize,
    /// The stops in that block, the first byte's lowest.
    bits: u64,
    /// Whether all that was looked at is ASCII.
    ascii: bool,
}

impl Default for Stops {
    fn default() -> Self {
        Self {
            from: 0usize.wrapping_sub(BLOCK),
            bits: 0,
            ascii: true,
        }
    }
}

impl Stops {
    /// The first stop of `text` at `at` or behind it; its length if there is none.
    ///
    /// The text is the same in each call, and `at` never less than before.
    #[inline]
    pub fn next(&mut self, text: &[u8], at: usize) -> usize {
        let passed = at.wrapping_sub(self.from);
        match self.bits.checked_shr(passed as u32) {
            None | Some(0) => self.look(text, at.max(self.from.wrapping_add(BLOCK))),
            Some(bits) => at.wrapping_add(bits.trailing_zeros() as usize),
        }
    }

    /// Whether the text is ASCII as far as it was looked at: to the last stop and shortly behind.
    pub fn ascii(&self) -> bool {
        self.ascii
    }

    /// Looks at blocks from `at` until one has a stop.
    #[inline(never)]
    fn look(&mut self, text: &[u8], mut at: usize) -> usize {
        let mut stops = 0;
        for chunk in text.get(at..).unwrap_or_default().chunks(BLOCK) {
            stops = self.stops(Block::load(chunk));
            if stops != 0 {
                break;
            }
            at = at.wrapping_add(BLOCK);
        }
        (self.from, self.bits) = (at, stops);
        // What pads a short block are control characters: only at the end of a text are there no stops.
        match stops {
            0 => text.len(),
            _ => at.wrapping_add(stops.trailing_zeros() as usize),
        }
    }

    #[inline(always)]
    fn stops(&mut self, block: Block) -> u64 {
        if !block.any(suspect) {
            return 0;
        }
        let high = block.bits(|x| x);
        self.ascii &= high == 0;
        block.bits(suspect) & !high
    }
}

/// Stops, and what is not ASCII. Flipping 2 exchanges the quote with the space and leaves control
/// characters among themselves, so one comparison finds both; as it is signed, the other as well.
#[inline(always)]
fn suspect(x: Lanes) -> Lanes {
    x.xor(2).below(0x21).or(x.is(b'\\'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_stops_are_those_that_a_reading_byte_by_byte_finds(
            bytes in prop::collection::vec(prop_oneof![40 => 0x20u8..=255, 1 => 0u8..=255], 0..400),
            mut skips in prop::collection::vec(0usize..90, 0..30)
        ) {
            let mut stops = Stops::default();
            let mut at = 0;
            skips.push(0);
            for skip in skips {
                at = (at + skip).min(bytes.len());
                let is_stop = |byte: &u8| matches!(byte, b'"' | b'\\' | 0..0x20);
                let naive = bytes[at..].iter().position(is_stop).map_or(bytes.len(), |run| at + run);
                prop_assert_eq!(stops.next(&bytes, at), naive);
                prop_assert!(!stops.ascii() || bytes[at..naive].is_ascii());
                prop_assert!(stops.ascii() || !bytes.is_ascii());
                at = naive;
            }
        }
    }
}
