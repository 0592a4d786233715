//! Which scripts a text is written in.
//!
//! A script is told by a character's first UTF-8 byte alone, which needs no decoding: 64 values
//! cover 64 or 4,096 code points each, and the blocks of Unicode mostly keep to them. Bytes are
//! compared with thresholds sixteen at a time: the number of lead bytes at or above one threshold
//! less that at or above the next is the number of characters between. In signed comparison a lead
//! byte is above all continuation bytes and below all ASCII, so no byte needs masking out. The
//! thresholds of two- and three-byte scripts are only tried on a block that has such characters.

use crate::text::TextCounts;
use crate::text::lanes::{Lanes, WIDTH};

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

/// A count of scripts in progress. Its counters are sixteen wide and a byte deep, and kept from string
/// to string: adding them up costs more than a short string does.
pub struct Scripts {
    /// What was moved out of the counters.
    pub counted: TextCounts,
    steps: usize,
    leads: [Lanes; 4],
    two: [Lanes; 5],
    three: [Lanes; 7],
    /// ASCII that was counted elsewhere than in the lanes, less what padded their last steps.
    ascii: u32,
}

impl Default for Scripts {
    fn default() -> Self {
        let none = Lanes::splat(0);
        Self {
            counted: TextCounts::default(),
            steps: 0,
            leads: [none; 4],
            two: [none; 5],
            three: [none; 7],
            ascii: 0,
        }
    }
}

impl Scripts {
    /// Counts the characters of a text in valid UTF-8.
    pub fn count(&mut self, text: &[u8]) {
        text.chunks(STEPS.saturating_mul(WIDTH))
            .for_each(|part| self.part(part));
    }

    fn part(&mut self, text: &[u8]) {
        let (chunks, rest) = text.as_chunks::<WIDTH>();
        let last = (!rest.is_empty()).then(|| Lanes::load(rest));
        let all = || chunks.iter().map(Lanes::of).chain(last);
        if all().fold(Lanes::splat(0), Lanes::or).bits() == 0 {
            self.ascii = self.ascii.wrapping_add(text.len() as u32);
            return;
        }
        let steps = text.len().div_ceil(WIDTH);
        if self.steps.saturating_add(steps) > STEPS {
            self.ascii = self.settle();
        }
        self.steps = self.steps.saturating_add(steps);
        let padding = steps.wrapping_mul(WIDTH).wrapping_sub(text.len());
        self.ascii = self.ascii.wrapping_sub(padding as u32);
        let (mut two, mut three) = (Lanes::splat(0), Lanes::splat(0));
        let mut leads = self.leads;
        all().for_each(|x| {
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
            tally(&mut self.two, TWO, all());
        }
        if three.any() {
            tally(&mut self.three, THREE, all());
        }
    }

    /// Moves what the lanes hold into the counts; how much of it was ASCII.
    pub fn settle(&mut self) -> u32 {
        self.steps = 0;
        let [c0, e0, f0, ascii] = self.leads.each_mut().map(drain);
        let [ce, d0, d5, d8, end_of_two] = self.two.each_mut().map(drain);
        let [e1, e2, e3, e4, ea, ee, end_of_three] = self.three.each_mut().map(drain);
        let between = u32::wrapping_sub;
        let beyond_latin = between(ce, end_of_two);
        let beyond_indic = between(e1, end_of_three);
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
        self.counted.add(&counted);
        std::mem::take(&mut self.ascii).wrapping_add(ascii)
    }
}

fn drain(lanes: &mut Lanes) -> u32 {
    std::mem::replace(lanes, Lanes::splat(0)).sum()
}

/// Counts into `counters` the bytes above each of `least`.
fn tally<const N: usize>(
    counters: &mut [Lanes; N],
    least: [i8; N],
    text: impl Iterator<Item = Lanes>,
) {
    let mut held = *counters;
    text.for_each(|x| {
        for (counter, least) in held.iter_mut().zip(least) {
            *counter = counter.minus(x.above(least));
        }
    });
    *counters = held;
}
