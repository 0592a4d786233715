//! A count of text that comes in pieces, cut anywhere, inside of a character too.
//!
//! A character counts with its first byte, which tells its script; the others count for nothing. So there is
//! nothing to keep of a character that a piece has cut. A piece of a streamed answer is a few characters long and
//! counted byte by byte, as a block of sixty-four bytes would be mostly padding; an answer that comes whole is counted in
//! such blocks, those that are ASCII.

use super::counts::TextCounts;
use super::lanes::{BLOCK, Block, WIDTH};

/// The text so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flowing {
    counts: TextCounts,
    /// Whether the last character was a letter: what follows may go on with its word.
    word: bool,
}

impl Flowing {
    /// What was counted.
    pub fn counts(&self) -> &TextCounts {
        &self.counts
    }

    /// The text goes on with `bytes` of UTF-8.
    pub fn push(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(BLOCK) {
            if chunk.len() < WIDTH || !self.push_ascii(chunk) {
                self.push_each(chunk);
            }
        }
    }

    /// The text goes on with at most a block; nothing is done if that is not all ASCII.
    #[inline(never)]
    fn push_ascii(&mut self, chunk: &[u8]) -> bool {
        let block = Block::load(chunk);
        if block.bits(|x| x) != 0 {
            return false;
        }
        let letter = block.bits(|x| x.above(0x3f));
        let letters = letter.count_ones();
        let words = (letter & !((letter << 1) | u64::from(self.word))).count_ones();
        let spaces = block.bits(|x| x.is(b' ')).count_ones();
        // What the block is filled up with are NULs.
        let filled = BLOCK.wrapping_sub(chunk.len()) as u32;
        let breaks = block.bits(|x| x.below(0x20)).count_ones();
        let breaks = breaks.wrapping_sub(filled);
        let marks = chunk.len() as u32;
        let marks = marks.wrapping_sub(letters).wrapping_sub(spaces);
        let counts = &mut self.counts;
        counts.letters = counts.letters.wrapping_add(letters);
        counts.words = counts.words.wrapping_add(words);
        counts.spaces = counts.spaces.wrapping_add(spaces);
        counts.breaks = counts.breaks.wrapping_add(breaks);
        counts.marks = counts.marks.wrapping_add(marks.wrapping_sub(breaks));
        self.word = chunk.last().is_some_and(|last| *last >= b'@');
        true
    }

    fn push_each(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                0x80..0xc0 => {}
                _ => self.push_char(first_of(*byte)),
            }
        }
    }

    /// The text goes on with `char`.
    pub fn push_char(&mut self, char: char) {
        let count = self.counts.of(char);
        *count = count.wrapping_add(1);
        let letter = matches!(char, '@'..='\u{7f}');
        let goes_on = std::mem::replace(&mut self.word, letter);
        self.counts.words = self.counts.words.wrapping_add((letter && !goes_on).into());
    }
}

/// A character of those that begin with `byte`; all of them are of one script.
fn first_of(byte: u8) -> char {
    let code = u32::from(byte);
    let code = match byte {
        0xf0.. => 0x1_0000,
        0xe0 => 0x800,
        0xe1.. => (code & 0xf) << 12,
        0xc0.. => (code & 0x1f) << 6,
        _ => code,
    };
    char::from_u32(code).unwrap_or('\u{1_0000}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_text_in_pieces_counts_like_its_characters(
            text in "[a-z .,@\n\0\u{7f}]{0,200}|\\PC{0,30}|[\u{80}-\u{10ffff}]{0,20}|[a-zé ]{0,150}", cut in 0usize..300
        ) {
            let (mut whole, mut pieces) = (Flowing::default(), Flowing::default());
            text.chars().for_each(|char| whole.push_char(char));
            let (start, rest) = text.as_bytes().split_at(cut.min(text.len()));
            pieces.push(start);
            pieces.push(rest);
            prop_assert_eq!(pieces, whole);
            let letters = |char: &char| ('@'..='\u{7f}').contains(char);
            prop_assert_eq!(whole.counts().letters as usize, text.chars().filter(letters).count());
            let words = text.split(|char| !letters(&char)).filter(|word| !word.is_empty());
            prop_assert_eq!(whole.counts().words as usize, words.count());
        }
    }
}
