//! The scanner against a reading byte by byte, and against `serde_json`.

use super::*;
use proptest::prelude::*;

proptest! {
    #[test]
    fn a_run_of_plain_text_ends_where_a_reading_byte_by_byte_ends(
        mut bytes in prop::collection::vec(0x20u8..=255, 0..400), at in 0usize..400, stop in 0u8..64
    ) {
        bytes.iter_mut().filter(|byte| matches!(**byte, b'"' | b'\\')).for_each(|byte| *byte = b'a');
        if let Some(byte) = bytes.get_mut(at) {
            *byte = stop;
        }
        let naive = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
        let naive = naive.unwrap_or(bytes.len());
        let (length, ascii) = plain(&bytes);
        prop_assert_eq!(length, naive);
        prop_assert!(!ascii || bytes[..naive].is_ascii());
        prop_assert!(ascii || !bytes.is_ascii());
    }

    #[test]
    fn a_value_is_passed_over_only_if_serde_json_reads_it(
        text in "[\\[\\]{}\\\\\":,0-9eE.+ \\-tfnu\u{0}é]{0,12}"
    ) {
        let mut scan = Scanner::new(text.as_bytes());
        let ours = scan.skip().and_then(|_| scan.end()).is_ok();
        prop_assert_eq!(ours, serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{}", text);
    }
}
