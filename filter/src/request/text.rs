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

use super::json::Sink;
use super::lanes::{Lanes, WIDTH};

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

/// A count in progress. Its counters are sixteen wide and a byte deep, and kept from string to
/// string: adding them up costs more than a short string does.
pub struct Tally {
    others: TextCounts,
    totals: TextCounts,
    steps: usize,
    letters: Lanes,
    words: Lanes,
    spaces: Lanes,
    leads: [Lanes; 4],
    two: [Lanes; 5],
    three: [Lanes; 7],
    /// ASCII counted as such, less what padded the last steps of mixed blocks.
    ascii: u32,
    after_letter: bool,
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
            letters: none,
            words: none,
            spaces: none,
            leads: [none; 4],
            two: [none; 5],
            three: [none; 7],
            ascii: 0,
            after_letter: false,
            mixed: false,
        }
    }
}

impl Tally {
    /// What was counted.
    pub fn finish(mut self) -> TextCounts {
        self.settle();
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

    /// Text begins that does not continue the text before.
    pub fn begin(&mut self) {
        self.after_letter = false;
    }

    /// Counts a piece of text without escapes and control characters, in valid UTF-8.
    pub fn plain(&mut self, text: &[u8]) {
        for block in text.chunks(STEPS.saturating_mul(WIDTH)) {
            let steps = block.len().div_ceil(WIDTH);
            if self.steps.saturating_add(steps) > STEPS {
                self.settle();
            }
            self.steps = self.steps.saturating_add(steps);
            self.ascii_of(block);
        }
        if let Some(last) = text.last() {
            self.after_letter = is_letter(*last);
        }
    }

    /// Counts one character that was written as an escape.
    pub fn escaped(&mut self, char: char) {
        let mut utf8 = [0; 4];
        let bytes = char.encode_utf8(&mut utf8).as_bytes();
        if u32::from(char) < 0x20 {
            self.totals.breaks = self.totals.breaks.wrapping_add(1);
            self.ascii = self.ascii.wrapping_add(1);
            self.after_letter = false;
        } else {
            self.plain(bytes);
        }
    }

    /// Counts JSON as it stands, as a model is shown the schema of a tool.
    pub fn raw(&mut self, json: &[u8]) {
        self.begin();
        self.plain(json);
        let breaks = json.iter().filter(|byte| **byte < 0x20).count();
        self.totals.breaks = self.totals.breaks.wrapping_add(breaks as u32);
    }

    #[inline]
    fn ascii_of(&mut self, block: &[u8]) {
        let (chunks, rest) = block.as_chunks::<WIDTH>();
        let (mut letters, mut words, mut spaces) = (self.letters, self.words, self.spaces);
        let mut before = Lanes::splat(if self.after_letter { 0xff } else { 0 });
        let mut high = Lanes::splat(0);
        let mut step = |x: Lanes| {
            let mask = x.above(0x3f);
            letters = letters.minus(mask);
            words = words.minus(mask.and_not(mask.after(before)));
            spaces = spaces.minus(x.is(b' '));
            before = mask;
            high = high.or(x);
        };
        let (fours, ones) = chunks.as_chunks::<4>();
        for [a, b, c, d] in fours {
            step(Lanes::of(a));
            step(Lanes::of(b));
            step(Lanes::of(c));
            step(Lanes::of(d));
        }
        for chunk in ones {
            step(Lanes::of(chunk));
        }
        if !rest.is_empty() {
            step(Lanes::load(rest));
        }
        (self.letters, self.words, self.spaces) = (letters, words, spaces);
        self.after_letter = block.last().is_some_and(|last| is_letter(*last));
        if high.bits() == 0 {
            self.ascii = self.ascii.wrapping_add(block.len() as u32);
        } else {
            self.scripts_of(chunks, rest);
        }
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

    /// Moves what the lanes hold into the totals.
    fn settle(&mut self) {
        let counted = TextCounts {
            letters: drain(&mut self.letters),
            words: drain(&mut self.words),
            spaces: drain(&mut self.spaces),
            ..TextCounts::default()
        };
        self.totals.add(&counted);
        self.steps = 0;
        if std::mem::take(&mut self.mixed) {
            self.settle_scripts();
        }
    }

    fn settle_scripts(&mut self) {
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
    fn plain(&mut self, text: &[u8]) {
        Tally::plain(self, text);
    }

    fn escaped(&mut self, char: char) {
        Tally::escaped(self, char);
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
    (0x40..0x80).contains(&byte)
}

#[cfg(test)]
#[path = "text_tests.rs"]
mod tests;
