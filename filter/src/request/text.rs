//! What a prompt's text is made of, counted well enough to guess its tokens.
//!
//! Bytes over four is right for English and wrong by a factor of two or more elsewhere, so
//! characters are counted per script. A tokenizer of the BPE family first cuts text into words,
//! runs of punctuation and runs of white space and then spends tokens within each; so for ASCII the
//! number of words counts beside the number of letters.
//!
//! A string is counted as it stands in the body, escapes and all, and each escape then corrected: what
//! its bytes added is taken off, and what they stand for added. To begin anew behind every escape would
//! cost more, as in code and quoted text they are everywhere.

use std::ops::Range;

use super::json::Sink;
use super::scripts::Scripts;
use crate::text::TextCounts;
use crate::text::lanes::{BLOCK, Block};

/// A count in progress.
#[derive(Default)]
pub struct Tally {
    others: TextCounts,
    totals: TextCounts,
    /// ASCII counted as such: what is neither letters nor white space of it are marks.
    ascii: u32,
    /// The end of the last escape that may end in a letter and stand for none, or the other way round;
    /// and whether it stands for one.
    escape: (usize, bool),
    /// There once there was text that is not all ASCII: it is large, and most requests have none.
    scripts: Option<Box<Scripts>>,
}

impl Tally {
    /// What was counted.
    pub fn finish(&mut self) -> TextCounts {
        if let Some(mut scripts) = self.scripts.take() {
            self.ascii = self.ascii.wrapping_add(scripts.settle());
            self.totals.add(&scripts.counted);
        }
        let TextCounts {
            letters,
            spaces,
            breaks,
            ..
        } = self.totals;
        let told = letters.wrapping_add(spaces).wrapping_add(breaks);
        self.totals.marks = self.ascii.wrapping_sub(told);
        self.totals.add(&self.others);
        self.totals
    }

    /// What was counted elsewhere, and counts that are not text.
    pub fn others(&mut self) -> &mut TextCounts {
        &mut self.others
    }

    /// Counts a text without control characters, in valid UTF-8, as it stands; `ascii` if it is known to
    /// be nothing else. It does not continue the text before.
    pub fn plain(&mut self, text: &[u8], ascii: bool) {
        self.ascii_of(text);
        if ascii {
            self.ascii = self.ascii.wrapping_add(text.len() as u32);
        } else {
            self.scripts.get_or_insert_default().count(text);
        }
    }

    /// Counts JSON as it stands, as a model is shown the schema of a tool.
    pub fn raw(&mut self, json: &[u8]) {
        self.plain(json, false);
        let breaks = json.iter().filter(|byte| **byte < 0x20).count();
        self.totals.breaks = self.totals.breaks.wrapping_add(breaks as u32);
    }

    /// Letters, words and spaces.
    fn ascii_of(&mut self, text: &[u8]) {
        let (mut letters, mut words, mut spaces) = (0u32, 0u32, 0u32);
        // Whether the byte before was a letter, as the lowest bit.
        let mut before = 0;
        let mut count = |block: Block| {
            let letter = block.bits(|x| x.above(0x3f));
            letters = letters.wrapping_add(letter.count_ones());
            words = words.wrapping_add((letter & !((letter << 1) | before)).count_ones());
            before = letter >> 63;
            let space = block.bits(|x| x.is(b' '));
            spaces = spaces.wrapping_add(space.count_ones());
        };
        let (blocks, rest) = text.as_chunks::<BLOCK>();
        blocks.iter().for_each(|block| count(Block::load(block)));
        if !rest.is_empty() {
            count(Block::load(rest));
        }
        let totals = &mut self.totals;
        totals.letters = totals.letters.wrapping_add(letters);
        totals.words = totals.words.wrapping_add(words);
        totals.spaces = totals.spaces.wrapping_add(spaces);
    }

    /// Puts `char` in the place of `raw`, `\\u` and what follows it, between letters or not.
    #[inline(never)]
    fn spelled(&mut self, raw: &[u8], char: char, before: bool, after: bool) {
        let (mut letters, mut words, mut last) = (0u32, 0u32, before);
        for byte in raw {
            let letter = is_letter(*byte);
            letters = letters.wrapping_add(letter.into());
            words = words.wrapping_add((letter && !last).into());
            last = letter;
        }
        words = words.wrapping_add((after && !last).into());
        let meant = is_letter_char(char);
        let truly = u32::from(meant && !before).wrapping_add((after && !meant).into());
        let totals = &mut self.totals;
        totals.letters = totals.letters.wrapping_sub(letters);
        totals.words = totals.words.wrapping_sub(words).wrapping_add(truly);
        self.ascii = self.ascii.wrapping_sub(raw.len() as u32);
        let count = self.others.of(char);
        *count = count.wrapping_add(1);
    }
}

impl Sink for Tally {
    #[inline]
    fn escaped(&mut self, body: &[u8], place: Range<usize>, char: char) {
        let letter = |at: usize| body.get(at).copied().is_some_and(is_letter);
        // What stands before has been corrected, what follows has not.
        let before = match self.escape {
            (end, letter) if end == place.start => letter,
            _ => letter(place.start.wrapping_sub(1)),
        };
        let after = letter(place.end);
        if place.end.wrapping_sub(place.start) > 2 {
            self.escape = (place.end, is_letter_char(char));
            let raw = body.get(place).unwrap_or_default();
            return self.spelled(raw, char, before, after);
        }
        let totals = &mut self.totals;
        // Two letters for one, which begins a word or not as the first of them did, or none for one.
        totals.letters = totals.letters.wrapping_sub(1);
        self.ascii = self.ascii.wrapping_sub(1);
        if char != '\\' {
            totals.words = totals.words.wrapping_sub((!before).into());
        }
        // The `n` of a line end is a letter as well.
        if char < ' ' {
            totals.letters = totals.letters.wrapping_sub(1);
            totals.breaks = totals.breaks.wrapping_add(1);
            totals.words = totals.words.wrapping_add(after.into());
            self.escape = (place.end, false);
        }
    }
}

fn is_letter(byte: u8) -> bool {
    is_letter_char(char::from(byte))
}

fn is_letter_char(char: char) -> bool {
    matches!(char, '@'..='\u{7f}')
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
