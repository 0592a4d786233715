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
use super::lanes::{BLOCK, Block};
use super::scripts::Scripts;

/// How much of what a prompt has. Counts wrap at 2³², which no body comes near.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TextCounts {
    /// ASCII from `@` to DEL: the letters, and ``@[\]^_`{|}~`` with them, as one comparison tells.
    pub letters: u32,
    /// Runs of these letters: words, or parts of words between digits and accents.
    pub words: u32,
    /// Spaces.
    pub spaces: u32,
    /// ASCII control characters: line ends, tabs.
    pub breaks: u32,
    /// The rest of ASCII: digits and punctuation.
    pub marks: u32,
    /// Latin letters beyond ASCII, and other characters of the blocks U+0080 and U+1000.
    pub latin: u32,
    /// U+0380 to U+03FF.
    pub greek: u32,
    /// U+0400 to U+053F.
    pub cyrillic: u32,
    /// U+0540 to U+05FF, with the end of Armenian.
    pub hebrew: u32,
    /// U+0600 to U+07FF.
    pub arabic: u32,
    /// U+0800 to U+0FFF: the scripts of India, Thai, Lao, Tibetan.
    pub indic: u32,
    /// U+2000 to U+2FFF: typographic punctuation, arrows, mathematics, boxes.
    pub symbols: u32,
    /// U+3000 to U+3FFF: kana and the punctuation of Chinese and Japanese.
    pub kana: u32,
    /// U+4000 to U+9FFF: ideographs; and U+E000 to U+FFFF, mostly their full-width punctuation.
    pub han: u32,
    /// U+A000 to U+DFFF: Hangul syllables, Yi.
    pub hangul: u32,
    /// U+10000 and beyond: emoji, rare ideographs.
    pub astral: u32,
    /// Tokens given as ids: exactly themselves.
    pub ids: u32,
    /// Images, whatever their size.
    pub images: u32,
    /// Messages, items or inputs: a template spends some tokens around each.
    pub messages: u32,
}

impl TextCounts {
    /// Adds what `other` counted.
    pub fn add(&mut self, other: &TextCounts) {
        for (to, from) in self.each().into_iter().zip(other.clone().each()) {
            *to = to.wrapping_add(*from);
        }
    }

    /// The count that `char` adds to, beside the words.
    fn of(&mut self, char: char) -> &mut u32 {
        match char as u32 {
            0x20 => &mut self.spaces,
            0x00..0x20 => &mut self.breaks,
            0x21..0x40 => &mut self.marks,
            0x40..0x80 => &mut self.letters,
            0x80..0x380 | 0x1000..0x2000 => &mut self.latin,
            0x380..0x400 => &mut self.greek,
            0x400..0x540 => &mut self.cyrillic,
            0x540..0x600 => &mut self.hebrew,
            0x600..0x800 => &mut self.arabic,
            0x800..0x1000 => &mut self.indic,
            0x2000..0x3000 => &mut self.symbols,
            0x3000..0x4000 => &mut self.kana,
            0x4000..0xa000 | 0xe000..0x1_0000 => &mut self.han,
            0xa000..0xe000 => &mut self.hangul,
            _ => &mut self.astral,
        }
    }

    fn each(&mut self) -> [&mut u32; 19] {
        let Self {
            letters,
            words,
            spaces,
            breaks,
            marks,
            latin,
            greek,
            cyrillic,
            hebrew,
            arabic,
            indic,
            symbols,
            kana,
            han,
            hangul,
            astral,
            ids,
            images,
            messages,
        } = self;
        [
            letters, words, spaces, breaks, marks, latin, greek, cyrillic, hebrew, arabic, indic,
            symbols, kana, han, hangul, astral, ids, images, messages,
        ]
    }
}

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
