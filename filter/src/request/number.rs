//! Number literals: their grammar, and whether they can be held.
//!
//! `serde_json` refuses a number that overflows an `f64`, and judges by a quick product that may
//! round differently from a correct reading in the last place. A reader behind the proxy may do
//! either, so a literal is in range only if both say so.

/// Why a literal is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The byte at this offset from its start is not a number's.
    Syntax(usize),
    /// Beyond the range of a double.
    Range,
}

/// The length of the number literal that `text` begins with.
pub fn literal(text: &[u8]) -> Result<usize, Fault> {
    let sign = usize::from(text.first() == Some(&b'-'));
    let integer = digits(text, sign)?;
    let leading_zero = text.get(sign) == Some(&b'0') && integer > sign.saturating_add(1);
    if leading_zero {
        return Err(Fault::Syntax(sign.saturating_add(1)));
    }
    let mut end = integer;
    if text.get(end) == Some(&b'.') {
        end = digits(text, end.saturating_add(1))?;
    }
    let mut exponent = false;
    if let Some(b'e' | b'E') = text.get(end) {
        exponent = true;
        end = end.saturating_add(1);
        if let Some(b'+' | b'-') = text.get(end) {
            end = end.saturating_add(1);
        }
        end = digits(text, end)?;
    }
    // Without an exponent it takes more than 308 digits to overflow.
    let written = text.get(sign..end).unwrap_or_default();
    if (exponent || written.len() > 300) && !(finite(written) && quick(written)) {
        return Err(Fault::Range);
    }
    Ok(end)
}

/// Where the digits that must be at `from` end.
fn digits(text: &[u8], from: usize) -> Result<usize, Fault> {
    let rest = text.get(from..).unwrap_or_default();
    let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if length == 0 {
        Err(Fault::Syntax(from))
    } else {
        Ok(from.saturating_add(length))
    }
}

fn finite(literal: &[u8]) -> bool {
    std::str::from_utf8(literal)
        .ok()
        .and_then(|text| text.parse::<f64>().ok())
        .is_some_and(f64::is_finite)
}

/// Whether the first 19 or 20 digits as an integer, times the power of ten, is finite: how
/// `serde_json` without `float_roundtrip` judges.
fn quick(literal: &[u8]) -> bool {
    let mut significand = 0u64;
    let mut power = 0i64;
    let mut full = false;
    let mut fraction = false;
    let mut bytes = literal.iter();
    for byte in bytes.by_ref() {
        match byte {
            b'0'..=b'9' => {
                let digit = u64::from(byte & 0xf);
                let next = significand
                    .checked_mul(10)
                    .and_then(|tens| tens.checked_add(digit));
                full |= next.is_none();
                match next.filter(|_| !full) {
                    Some(next) => {
                        significand = next;
                        power = power.saturating_sub(i64::from(fraction));
                    }
                    None => power = power.saturating_add(i64::from(!fraction)),
                }
            }
            b'.' => {
                fraction = true;
                full = false;
            }
            _ => break,
        }
    }
    let exponent = std::str::from_utf8(bytes.as_slice()).unwrap_or_default();
    if !exponent.is_empty() {
        let overflowing = if exponent.starts_with('-') {
            i64::MIN
        } else {
            i64::MAX
        };
        power = power.saturating_add(exponent.parse().unwrap_or(overflowing));
    }
    if significand == 0 || power <= 0 {
        return true;
    }
    let scale: f64 = format!("1e{power}").parse().unwrap_or(f64::INFINITY);
    (significand as f64 * scale).is_finite()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn serde_accepts(text: &str) -> bool {
        serde_json::from_str::<serde_json::Value>(text).is_ok()
    }

    #[test]
    fn the_last_double_is_in_range_and_the_next_number_is_not() {
        assert_eq!(literal(b"1.7976931348623157e308"), Ok(22));
        assert_eq!(literal(b"1.7976931348623159e308"), Err(Fault::Range));
        assert_eq!(literal(b"1e400"), Err(Fault::Range));
        assert_eq!(literal(b"0e400"), Ok(5));
        assert_eq!(literal(b"0e99999999999999999999"), Ok(22));
        assert_eq!(literal(b"1e-99999999999999999999,"), Ok(23));
        assert_eq!(literal("9".repeat(308).as_bytes()), Ok(308));
        assert_eq!(literal("9".repeat(309).as_bytes()), Err(Fault::Range));
    }

    #[test]
    fn what_json_does_not_write_is_refused() {
        for text in [
            "-", "+1", ".5", "1.", "01", "-01", "1e", "1e+", "1.e5", "--1", "-a",
        ] {
            assert!(
                matches!(literal(text.as_bytes()), Err(Fault::Syntax(_))),
                "{text}"
            );
            assert!(!serde_accepts(text), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]
        #[test]
        fn nothing_is_accepted_that_serde_json_refuses(
            text in "-?(0|[1-9][0-9]{0,24}|1797693134862315[0-9]{0,6}|[0-9]{285,310})(\\.[0-9]{1,25}|\\.0{300}[0-9]{1,5}|\\.797693134862315[0-9]{0,8})?([eE][+-]?(0?30[789]|29[0-9]|[0-9]{1,4}|[0-9]{9,12}))?"
        ) {
            let ours = literal(text.as_bytes()) == Ok(text.len());
            let serde = serde_accepts(&text);
            prop_assert!(serde || !ours, "{}", text);
            // Where correct rounding and the quick product agree, so do the two readers.
            if serde && text.parse::<f64>().is_ok_and(f64::is_finite) {
                prop_assert!(ours, "{}", text);
            }
        }
    }
}
