//! The scanner against a reading byte by byte, and against `serde_json`.

use super::*;
use proptest::prelude::*;

proptest! {
    #[test]
    fn a_value_is_passed_over_only_if_serde_json_reads_it(
        text in "[\\[\\]{}\\\\\":,0-9eE.+ \\-tfnu\u{0}é]{0,12}"
    ) {
        let mut scan = Scanner::new(text.as_bytes());
        let ours = scan.skip().and_then(|_| scan.end()).is_ok();
        prop_assert_eq!(ours, serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{}", text);
    }
}
