//! How long an endpoint asks not to be tried again.
//!
//! Three forms are in use, and one answer may carry several. They are read in the order of OpenAI's
//! own clients (`_calculate_retry_timeout` of [openai-python]): `retry-after-ms`, then
//! `retry-after` as seconds, then `retry-after` as a date ([RFC 9110, section 10.2.3]). The RFC
//! knows only whole seconds; servers write fractions, and reading `1.5` as nothing would rest the
//! endpoint too short.
//!
//! The wall clock is read only for a date, as it costs a hostcall and dates are rare. The two
//! clocks differ by some seconds as a rule, so a date that is not in the future gives no time
//! rather than zero: an endpoint that writes one is overloaded all the same, and the caller's
//! default holds.
//!
//! [openai-python]: https://github.com/openai/openai-python/blob/main/src/openai/_base_client.py
//! [RFC 9110, section 10.2.3]: https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3

use std::time::{Duration, UNIX_EPOCH};

use crate::values::clock::UnixTime;
use crate::values::headers::Headers;

const MILLISECOND: u64 = 1_000_000;
const SECOND: u64 = 1_000_000_000;

/// The time that a response's headers ask for; `wall` reads the wall clock and is called only for a
/// date.
///
/// `None` where no header can be read: negative numbers, exponents, text, a date that is not in the
/// future, or no wall clock. `0` is zero. Numbers too large for a [`Duration`] of nanoseconds in 64
/// bits are cut to 584 years; bounds on a rest are the caller's.
pub fn retry_after(headers: &Headers, wall: impl FnOnce() -> Option<UnixTime>) -> Option<Duration> {
    let value = |name| headers.first_str(name).map(str::trim);
    let millis = value("retry-after-ms").and_then(|value| decimal(value, MILLISECOND));
    if millis.is_some() {
        return millis;
    }
    let value = value("retry-after")?;
    decimal(value, SECOND).or_else(|| until(value, wall))
}

/// A decimal number without sign and exponent, of a unit that is so many nanoseconds.
fn decimal(text: &str, unit: u64) -> Option<Duration> {
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) => (digits(whole)?, digits(fraction)?),
        None => (digits(text)?, &[][..]),
    };
    let value = |digit: &u8| u64::from(digit & 0xf);
    let whole = whole.iter().fold(0u64, |number, digit| {
        number.saturating_mul(10).saturating_add(value(digit))
    });
    let mut nanos = whole.saturating_mul(unit);
    let mut place = unit;
    for digit in fraction {
        place /= 10;
        nanos = nanos.saturating_add(value(digit).saturating_mul(place));
    }
    Some(Duration::from_nanos(nanos))
}

/// The bytes of `text` if there are some and all are digits.
fn digits(text: &str) -> Option<&[u8]> {
    let bytes = text.as_bytes();
    (!bytes.is_empty() && bytes.iter().all(u8::is_ascii_digit)).then_some(bytes)
}

/// The time from now to a date in one of HTTP's three forms.
#[cold]
#[inline(never)]
fn until(date: &str, wall: impl FnOnce() -> Option<UnixTime>) -> Option<Duration> {
    let date = httpdate::parse_http_date(date).ok()?;
    let date = date.duration_since(UNIX_EPOCH).ok()?.as_secs();
    let wait = date.checked_sub(wall()?.0).filter(|wait| *wait > 0)?;
    Some(Duration::from_secs(wait))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// 6 November 1994, 08:49:37 GMT: the date of RFC 9110's examples.
    const EXAMPLE: u64 = 784_111_777;

    fn read(headers: &[(&str, &str)]) -> Option<Duration> {
        retry_after(&Headers::from_pairs(headers.iter().copied()), || {
            panic!("the wall clock was read for {headers:?}")
        })
    }

    fn at(now: u64, date: &str) -> Option<u64> {
        let headers = Headers::from_pairs([("Retry-After", date)]);
        retry_after(&headers, || Some(UnixTime(now))).map(|wait| wait.as_secs())
    }

    #[test]
    fn seconds_and_milliseconds_may_have_fractions() {
        for (name, value, micros) in [
            ("retry-after", "0", Some(0)),
            ("retry-after", "1", Some(1_000_000)),
            ("retry-after", " 120 ", Some(120_000_000)),
            ("retry-after", "1.5", Some(1_500_000)),
            ("retry-after", "0.000001", Some(1)),
            (
                "retry-after",
                "2.50000000000000000000000001",
                Some(2_500_000),
            ),
            ("retry-after-ms", "250", Some(250_000)),
            ("retry-after-ms", "0.5", Some(500)),
            ("retry-after", "", None),
            ("retry-after", "-1", None),
            ("retry-after", "+1", None),
            ("retry-after", "1.", None),
            ("retry-after", ".5", None),
            ("retry-after", "1.5.1", None),
            ("retry-after", "1e3", None),
            ("retry-after", "1,5", None),
            ("retry-after", "NaN", None),
            ("retry-after", "inf", None),
            ("retry-after", "soon", None),
            ("retry-after", "\u{661}", None),
            ("retry-after-ms", "-250", None),
        ] {
            let expected = micros.map(Duration::from_micros);
            assert_eq!(read(&[(name, value)]), expected, "{name}: {value:?}");
        }
        assert_eq!(read(&[]), None);
    }

    #[test]
    fn a_number_beyond_all_reason_is_a_very_long_time() {
        for value in ["18446744073709551616", "99999999999999999999999999999999"] {
            for name in ["retry-after", "retry-after-ms"] {
                let longest = Duration::from_nanos(u64::MAX);
                assert_eq!(read(&[(name, value)]), Some(longest), "{name}: {value}");
            }
        }
    }

    #[test]
    fn milliseconds_come_first_if_they_can_be_read() {
        let both = |millis| read(&[("retry-after", "2"), ("retry-after-ms", millis)]);
        assert_eq!(both("1500"), Some(Duration::from_millis(1_500)));
        assert_eq!(both("later"), Some(Duration::from_secs(2)));
    }

    #[test]
    fn a_date_is_read_in_each_of_the_three_forms() {
        for date in [
            "Sun, 06 Nov 1994 08:49:37 GMT",
            "Sunday, 06-Nov-94 08:49:37 GMT",
            "Sun Nov  6 08:49:37 1994",
        ] {
            assert_eq!(at(EXAMPLE - 90, date), Some(90), "{date}");
        }
    }

    #[test]
    fn a_date_that_is_not_in_the_future_gives_no_time() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(at(EXAMPLE - 1, date), Some(1));
        assert_eq!(at(EXAMPLE, date), None);
        assert_eq!(at(EXAMPLE + 1, date), None);
        assert_eq!(at(u64::MAX, date), None);
    }

    #[test]
    fn a_date_without_a_wall_clock_gives_no_time() {
        let headers = Headers::from_pairs([("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")]);
        assert_eq!(retry_after(&headers, || None), None);
    }

    #[test]
    fn what_is_no_date_is_not_read_as_one() {
        for text in [
            "Sun, 06 Nov 1994 08:49:37",
            "Sun, 31 Feb 1994 08:49:37 GMT",
            "Sun, 06 Nov 1994 25:49:37 GMT",
            "1994-11-06T08:49:37Z",
        ] {
            assert_eq!(read(&[("retry-after", text)]), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_header_panics(value in "\\PC*", now in any::<u64>()) {
            at(now, &value);
        }
    }
}
