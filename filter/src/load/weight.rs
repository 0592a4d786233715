//! The weight that follows from an endpoint's load:
//!
//! `base/100 × max(10, ⌊100 × (1 − min(gpu, 0.7)) × (1 − latency/2000 ms)⌋)`
//!
//! A full GPU takes 70 % of a weight away and not all of it, for a utilisation says that a GPU is busy and
//! not how much more it could do. Nothing goes below a tenth: an endpoint without traffic gives no news, and
//! would never be seen to have recovered. All in integers: in floats 20 % and 100 ms come to 75.99 and not
//! to 76, and the floor makes a whole step of it.

use std::time::Duration;

use crate::values::units::Weight;

use super::report::Share;

/// The response header by which an endpoint names its weight itself.
pub const HEADER: &str = "x-junheng-weight";

/// What is assumed of an endpoint's time to first byte when nothing is known.
pub const UNKNOWN_LATENCY: Duration = Duration::from_millis(100);

/// The least percentage of its base weight that an endpoint keeps.
const LEAST: u64 = 10;
/// GPU utilisation above this counts no more, in basis points.
const MOST_GPU: u64 = 7_000;
/// The time to first byte at which nothing but [`LEAST`] is left, in microseconds.
const HOPELESS: u64 = 2_000_000;

/// The weight of an endpoint whose configured one is `base`, at this GPU utilisation (0 if unknown) and
/// time to first byte ([`UNKNOWN_LATENCY`] if unknown).
///
/// Rounded to the nearest whole number, halves upwards, and at least 1: load never drains an endpoint.
/// A drained one stays drained.
pub fn weight(base: Weight, gpu: Option<Share>, latency: Option<Duration>) -> Weight {
    if base.is_drained() {
        return Weight::DRAINED;
    }
    let hundredfold = u64::from(base.value()).saturating_mul(percent(gpu, latency));
    let rounded = (hundredfold.saturating_add(50) / 100).max(1);
    u16::try_from(rounded)
        .ok()
        .and_then(Weight::new)
        .unwrap_or(base)
}

/// The weight that the value of [`HEADER`] names: a whole number, 0 to 1000, and nothing else.
///
/// 0 drains, as it does in a configuration. Since a drained endpoint is not asked, its word grows old; then
/// it is asked again, and may repeat it.
pub fn reported(value: &[u8]) -> Option<Weight> {
    let digits = value.trim_ascii();
    if digits.is_empty() || digits.len() > 4 {
        return None;
    }
    let number = digits.iter().try_fold(0u16, |number, digit| {
        let digit = digit.is_ascii_digit().then_some(digit & 0xf)?;
        number.checked_mul(10)?.checked_add(u16::from(digit))
    });
    Weight::new(number?)
}

/// What is left of a base weight, 10 to 100.
fn percent(gpu: Option<Share>, latency: Option<Duration>) -> u64 {
    let busy = gpu.map_or(0, |gpu| u64::from(gpu.basis_points()));
    let idle = 10_000u64.saturating_sub(busy.min(MOST_GPU));
    let micros = u64::try_from(latency.unwrap_or(UNKNOWN_LATENCY).as_micros()).unwrap_or(u64::MAX);
    let quick = HOPELESS.saturating_sub(micros);
    // A hundred × idle/10,000 × quick/2,000,000.
    (idle.saturating_mul(quick) / (100 * HOPELESS)).max(LEAST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(base: u16, gpu: Option<u16>, millis: Option<u64>) -> u16 {
        let gpu = gpu.map(|percent| Share::from_fraction(f64::from(percent) / 100.0).unwrap());
        let latency = millis.map(Duration::from_millis);
        weight(Weight::new(base).unwrap(), gpu, latency).value()
    }

    #[test]
    fn the_formula_gives_what_is_computed_by_hand() {
        let table = [
            // base, gpu %, ms, weight
            (100, Some(0), Some(0), 100),
            (100, None, None, 95),
            (100, Some(0), Some(100), 95),
            (100, Some(20), None, 76),
            (100, Some(20), Some(100), 76),
            (100, Some(30), Some(100), 66), // 66.5
            (100, Some(50), Some(0), 50),
            (100, Some(69), Some(0), 31),
            (100, Some(70), Some(0), 30),
            (100, Some(71), Some(0), 30),
            (100, Some(95), None, 28), // 28.5
            (100, Some(100), Some(100), 28),
            (100, Some(70), Some(1_333), 10), // 10.005
            (100, Some(70), Some(1_334), 10), // 9.99
            (100, Some(0), Some(1_000), 50),
            (100, Some(0), Some(1_001), 49), // 49.95
            (100, Some(0), Some(1_800), 10),
            (100, Some(0), Some(1_780), 11),
            (100, Some(0), Some(1_999), 10),
            (100, Some(0), Some(2_000), 10),
            (100, Some(0), Some(2_001), 10),
            (100, Some(100), Some(3_600_000), 10),
            (1000, Some(20), Some(100), 760),
            (1000, Some(100), Some(9_999), 100),
            (50, Some(20), Some(100), 38),
            (50, None, None, 48),            // 47.5
            (30, Some(95), None, 8),         // 8.4
            (10, Some(100), Some(2_000), 1), // 1.0
            (3, Some(100), Some(2_000), 1),  // 0.3
            (1, None, None, 1),              // 0.95
            (0, Some(0), Some(0), 0),
        ];
        for (base, gpu, millis, expected) in table {
            assert_eq!(
                at(base, gpu, millis),
                expected,
                "{base}, {gpu:?} %, {millis:?} ms"
            );
        }
    }

    #[test]
    fn a_weight_is_named_by_a_whole_number_up_to_a_thousand() {
        for (value, expected) in [
            ("0", Some(0)),
            ("1", Some(1)),
            (" 250 ", Some(250)),
            ("1000", Some(1000)),
            ("0007", Some(7)),
            ("1001", None),
            ("9999", None),
            ("00000", None),
            ("", None),
            (" ", None),
            ("-1", None),
            ("+1", None),
            ("1.5", None),
            ("1e2", None),
            ("10, 20", None),
            ("\u{661}", None),
        ] {
            assert_eq!(
                reported(value.as_bytes()).map(Weight::value),
                expected,
                "{value:?}"
            );
        }
        assert_eq!(reported(b"\xff"), None);
    }

    proptest! {
        #[test]
        fn more_load_never_weighs_more_and_never_drains(
            base in 1u16..=1000, gpu in 0u16..=10_000, busier in 0u16..=10_000,
            micros in 0u64..3_000_000, slower in 0u64..3_000_000,
        ) {
            let base = Weight::new(base).unwrap();
            let of = |gpu: u16, micros| {
                weight(base, Share::from_basis_points(gpu), Some(Duration::from_micros(micros)))
            };
            let light = of(gpu, micros);
            let heavy = of((gpu + busier).min(10_000), micros + slower);
            prop_assert!(heavy <= light && light <= base);
            prop_assert!(!heavy.is_drained());
        }
    }
}
