//! The counts against a reading character by character.

use super::*;
use proptest::prelude::*;

fn naive(text: &str) -> TextCounts {
    let mut counts = TextCounts::default();
    let mut after_letter = false;
    for char in text.chars() {
        let letter = ('@'..='\u{7f}').contains(&char);
        counts.words += u32::from(letter && !after_letter);
        after_letter = letter;
        *match char as u32 {
            0x20 => &mut counts.spaces,
            0x00..0x20 => &mut counts.breaks,
            0x21..0x40 => &mut counts.marks,
            0x40..0x80 => &mut counts.letters,
            0x80..0x380 | 0x1000..0x2000 => &mut counts.latin,
            0x380..0x400 => &mut counts.greek,
            0x400..0x540 => &mut counts.cyrillic,
            0x540..0x600 => &mut counts.hebrew,
            0x600..0x800 => &mut counts.arabic,
            0x800..0x1000 => &mut counts.indic,
            0x2000..0x3000 => &mut counts.symbols,
            0x3000..0x4000 => &mut counts.kana,
            0x4000..0xa000 | 0xe000..0x1_0000 => &mut counts.han,
            0xa000..0xe000 => &mut counts.hangul,
            _ => &mut counts.astral,
        } += 1;
    }
    counts
}

proptest! {
    #[test]
    fn sixteen_at_a_time_counts_what_one_at_a_time_does(
        pieces in prop::collection::vec(("[ -~]{0,40}|\\PC{0,20}|[\u{80}-\u{ffff}]{1,9}", 1usize..200), 1..6)
    ) {
        let mut tally = Tally::default();
        let mut all = String::new();
        for (piece, times) in pieces {
            let piece = piece.repeat(times);
            tally.plain(piece.as_bytes());
            tally.escaped('\n');
            tally.escaped('x');
            all.extend([&piece, "\nx"]);
        }
        prop_assert_eq!(tally.finish(), naive(&all));
    }
}
