//! The counts against a reading character by character.

use super::super::json::Scanner;
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

/// What is counted of `json`, a string as it stands in a body, between two others.
fn counted(json: &str) -> TextCounts {
    let body = format!("\"a\\n\"{json}\"x\"");
    let mut scan = Scanner::new(body.as_bytes());
    let mut tally = Tally::default();
    for _ in 0..3 {
        let literal = scan.string(&mut tally).unwrap();
        tally.plain(literal.raw, literal.ascii);
    }
    tally.finish()
}

proptest! {
    #[test]
    fn sixteen_at_a_time_counts_what_one_at_a_time_does(
        pieces in prop::collection::vec(("[ -~]{0,40}|\\PC{0,20}|[\u{80}-\u{ffff}]{1,9}", 1usize..200), 1..6)
    ) {
        let mut all = String::new();
        for (piece, times) in pieces {
            all.extend([&piece.repeat(times), "\nx"]);
        }
        let mut expected = naive("a\n");
        expected.add(&naive(&all));
        expected.add(&naive("x"));
        prop_assert_eq!(counted(&serde_json::to_string(&all).unwrap()), expected);
    }

    #[test]
    fn a_text_is_the_same_however_it_is_escaped(
        chars in prop::collection::vec(
            (prop_oneof![
                4 => "[a-z]", 2 => "[\"\\\\/\n\t\r\u{8}\u{c}]", 1 => "[ @0-9]", 1 => "\\PC", 1 => "\u{0}|\u{7f}"
            ], 0..3),
            0..200
        )
    ) {
        let mut json = String::from("\"");
        for (char, how) in &chars {
            match how {
                0 => char.encode_utf16().for_each(|unit| json.push_str(&format!("\\u{unit:04x}"))),
                1 if char == "/" => json.push_str("\\/"),
                _ => {
                    let quoted = serde_json::to_string(char).unwrap();
                    json.push_str(&quoted[1..quoted.len() - 1]);
                }
            }
        }
        json.push('"');
        let text: String = chars.iter().map(|(char, _)| char.as_str()).collect();
        prop_assert_eq!(&serde_json::from_str::<String>(&json).unwrap(), &text);
        let mut expected = naive("a\n");
        expected.add(&naive(&text));
        expected.add(&naive("x"));
        prop_assert_eq!(counted(&json), expected);
    }
}
