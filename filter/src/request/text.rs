//! What a prompt's text is made of, counted well enough to guess its tokens.
//!
//! Bytes over four is right for English and wrong by a factor of two or more elsewhere, so
//! characters are counted per script. A tokenizer of the BPE family first cuts text into words,
//! runs of punctuation and runs of white space and then spends tokens within each; so for ASCII the
//! number of words counts beside the number of letters.
//!
//! A script is told by a character's first UTF-8 byte alone, which needs no decoding: 64 values
//! cover 64 or 4,096 code points each, and the blocks of Unicode mostly keep to them. Bytes are
//! compared with thresholds sixteen at a time: the number of lead bytes at or above one threshold
//! less that at or above the next is the number of characters between. In signed comparison a lead
//! byte is above all continuation bytes and below all ASCII, so no byte needs masking out. The
//! thresholds of two- and three-byte scripts are only tried on a block that has such characters.
//!
//! A string is counted as it stands in the body, escapes and all, and each escape then corrected: what
//! its bytes added is taken off, and what they stand for added. To begin anew behind every escape would
//! cost more, as in code and quoted text they are everywhere.

use std::ops::Range;

use super::json::Sink;
use super::lanes::{BLOCK, Block, Lanes, WIDTH};

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

/// Steps that a byte-wide counter takes before it may wrap.
const STEPS: usize = 255;

/// The first signed value above all that begins a character of several bytes, less one: every ASCII
/// byte is above it, and no other.
const ASCII: i8 = -1;
/// `above` this are the lead bytes from 0xC0, 0xE0, 0xF0 (and ASCII).
const LEADS: [i8; 4] = [below(0xc0), below(0xe0), below(0xf0), ASCII];
/// Greek, Cyrillic, Hebrew, Arabic begin here; the last is the end of two-byte leads.
const TWO: [i8; 5] = [
    below(0xce),
    below(0xd0),
    below(0xd5),
    below(0xd8),
    below(0xe0),
];
/// U+1000, symbols, kana, ideographs, Hangul, U+E000 begin here; the last ends three-byte leads.
const THREE: [i8; 7] = [
    below(0xe1),
    below(0xe2),
    below(0xe3),
    below(0xe4),
    below(0xea),
    below(0xee),
    below(0xf0),
];

const fn below(byte: u8) -> i8 {
    byte.wrapping_sub(1) as i8
}

/// A count in progress. The counters of scripts are sixteen wide and a byte deep, and kept from string
/// to string: adding them up costs more than a short string does.
pub struct Tally {
    others: TextCounts,
    totals: TextCounts,
    steps: usize,
    leads: [Lanes; 4],
    two: [Lanes; 5],
    three: [Lanes; 7],
    /// ASCII counted as such, less what padded the last steps of mixed blocks.
    ascii: u32,
    /// The end of the last escape that may end in a letter and stand for none, or the other way round;
    /// and whether it stands for one.
    escape: (usize, bool),
    /// Whether there were blocks that are not all ASCII since the counters were last read.
    mixed: bool,
}

impl Default for Tally {
    fn default() -> Self {
        let none = Lanes::splat(0);
        Self {
            others: TextCounts::default(),
            totals: TextCounts::default(),
            steps: 0,
            leads: [none; 4],
            two: [none; 5],
            three: [none; 7],
            ascii: 0,
            escape: (0, false),
            mixed: false,
        }
    }
}

impl Tally {
    /// What was counted.
    pub fn finish(mut self) -> TextCounts {
        if self.mixed {
            self.settle();
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
            text.chunks(STEPS.saturating_mul(WIDTH))
                .for_each(|part| self.mixed_of(part));
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
        blocks.iter().for_each(|block| count(Block::of(block)));
        if !rest.is_empty() {
            count(Block::load(rest));
        }
        let totals = &mut self.totals;
        totals.letters = totals.letters.wrapping_add(letters);
        totals.words = totals.words.wrapping_add(words);
        totals.spaces = totals.spaces.wrapping_add(spaces);
    }

    /// ASCII as such, and scripts if there are any.
    fn mixed_of(&mut self, text: &[u8]) {
        let (chunks, rest) = text.as_chunks::<WIDTH>();
        let high = chunks
            .iter()
            .map(Lanes::of)
            .fold(Lanes::load(rest), Lanes::or);
        if high.bits() == 0 {
            self.ascii = self.ascii.wrapping_add(text.len() as u32);
            return;
        }
        let steps = text.len().div_ceil(WIDTH);
        if self.steps.saturating_add(steps) > STEPS {
            self.settle();
        }
        self.steps = self.steps.saturating_add(steps);
        self.scripts_of(chunks, rest);
    }

    fn scripts_of(&mut self, chunks: &[[u8; WIDTH]], rest: &[u8]) {
        self.mixed = true;
        let padding = if rest.is_empty() {
            0
        } else {
            WIDTH.saturating_sub(rest.len())
        };
        self.ascii = self.ascii.wrapping_sub(padding as u32);
        let last = (!rest.is_empty()).then(|| Lanes::load(rest));
        let (mut two, mut three) = (Lanes::splat(0), Lanes::splat(0));
        let mut leads = self.leads;
        chunks.iter().map(Lanes::of).chain(last).for_each(|x| {
            let [lead, long, longest, ascii] = LEADS.map(|least| x.above(least));
            two = two.or(lead.and_not(long));
            three = three.or(long.and_not(longest));
            let [a, b, c, d] = leads;
            leads = [
                a.minus(lead),
                b.minus(long),
                c.minus(longest),
                d.minus(ascii),
            ];
        });
        self.leads = leads;
        if two.any() {
            tally(&mut self.two, TWO, chunks, last);
        }
        if three.any() {
            tally(&mut self.three, THREE, chunks, last);
        }
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

    /// Moves what the lanes hold into the totals.
    fn settle(&mut self) {
        self.steps = 0;
        self.mixed = false;
        let [c0, e0, f0, ascii] = self.leads.each_mut().map(drain);
        let [ce, d0, d5, d8, end_of_two] = self.two.each_mut().map(drain);
        let [e1, e2, e3, e4, ea, ee, end_of_three] = self.three.each_mut().map(drain);
        let between = u32::wrapping_sub;
        let beyond_latin = between(ce, end_of_two);
        let beyond_indic = between(e1, end_of_three);
        self.ascii = self.ascii.wrapping_add(ascii);
        let counted = TextCounts {
            latin: between(between(c0, e0), beyond_latin).wrapping_add(between(e1, e2)),
            greek: between(ce, d0),
            cyrillic: between(d0, d5),
            hebrew: between(d5, d8),
            arabic: between(d8, end_of_two),
            indic: between(between(e0, f0), beyond_indic),
            symbols: between(e2, e3),
            kana: between(e3, e4),
            han: between(e4, ea).wrapping_add(between(ee, end_of_three)),
            hangul: between(ea, ee),
            astral: between(f0, ascii),
            ..TextCounts::default()
        };
        self.totals.add(&counted);
    }
}

fn drain(lanes: &mut Lanes) -> u32 {
    std::mem::replace(lanes, Lanes::splat(0)).sum()
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

/// Counts into `counters` the bytes above each of `least`.
fn tally<const N: usize>(
    counters: &mut [Lanes; N],
    least: [i8; N],
    chunks: &[[u8; WIDTH]],
    last: Option<Lanes>,
) {
    let mut held = *counters;
    chunks.iter().map(Lanes::of).chain(last).for_each(|x| {
        for (counter, least) in held.iter_mut().zip(least) {
            *counter = counter.minus(x.above(least));
        }
    });
    *counters = held;
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
