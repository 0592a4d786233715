//! The weight that follows from an endpoint's load:
//!
//! `base/100 × max(10, ⌊100 × (1 − min(gpu, 0.7)) × (1 − latency/2000 ms)⌋)`
//!
//! A full GPU takes 70 % of a weight away and not all of it, for a utilisation says that a GPU is busy and
//! not how much more it could do. Nothing goes below a tenth: an endpoint without traffic gives no news, and
//! would never be seen to have recovered. All in integers: in floats 20 % and 100 ms come to 75.99 and not
//! to 76, and the floor makes a whole step of it.
//!
//! # Where no GPU's utilisation is known
//!
//! vLLM, SGLang, TGI and llama.cpp tell none. They tell the KV cache in use and how many requests
//! wait and run, and these two take the GPU's place:
//!
//! `base/100 × max(10, ⌊100 × (1 − min(kv, 0.7)) × r/(w + r) × (1 − latency/2000 ms)⌋)` with `r =
//! max(running, 5)`
//!
//! - **KV cache** is to memory what the GPU's utilisation is to time: high in every healthy server
//!   under load. It is read as that utilisation is, with the same bound, and so is the [KV cache
//!   scorer] of the Gateway API inference extension (`1 − usage`). Between busy servers it makes
//!   small differences, and none where all are full.
//! - **Waiting requests** say what no utilisation does: that more has come than the server can do.
//!   `r/(w + r)` is the part of its requests that are worked on. It is also the right step:
//!   `least_connections` shares requests in flight by weight, and at that part of the weight there
//!   are as many at the server as it runs, and none wait. So this factor has no bound but the
//!   formula's tenth.
//!
//! With the cache at 99 %, 581 waiting and 256 running a weight of 100 is 10; with none waiting
//! it is 28, as with a full GPU. The 5 is the queue up to which the extension's [saturation
//! detector] takes a server for unsaturated: a request that has just come in waits for the next
//! batch, and one that waits at an idle server is not a queue. It also stands for `running` where a
//! server tells none.
//!
//! Where a GPU's utilisation is known the formula stays as it is, whatever the queue: an operator
//! who reads it from DCGM has chosen that measure, and the time to first byte, which is in the
//! formula, grows with the queue.
//!
//! [KV cache scorer]: https://github.com/kubernetes-sigs/gateway-api-inference-extension/tree/main/pkg/epp
//! [saturation detector]: https://github.com/kubernetes-sigs/gateway-api-inference-extension/tree/main/pkg/epp/saturationdetector

use std::time::Duration;

use crate::values::units::Weight;

use super::report::{Report, Share};

/// The response header by which an endpoint names its weight itself.
pub const HEADER: &str = "x-junheng-weight";

/// What is assumed of an endpoint's time to first byte when nothing is known.
pub const UNKNOWN_LATENCY: Duration = Duration::from_millis(100);

/// The least percentage of its base weight that an endpoint keeps.
const LEAST: u64 = 10;
/// GPU utilisation and KV cache in use above this count no more, in basis points.
const MOST_BUSY: u64 = 7_000;
/// Running requests are taken for at least so many, against which those that wait are compared.
const LEAST_RUNNING: u32 = 5;
/// A whole in basis points.
const ALL: u64 = Share::FULL.basis_points() as u64;
/// The time to first byte at which nothing but [`LEAST`] is left, in microseconds.
const HOPELESS: u64 = 2_000_000;

/// The weight of an endpoint whose configured one is `base`, at what it has reported (0 where it
/// has not) and this time to first byte ([`UNKNOWN_LATENCY`] if unknown).
///
/// Rounded to the nearest whole number, halves upwards, and at least 1: load never drains an endpoint.
/// A drained one stays drained.
pub fn weight(base: Weight, report: &Report, latency: Option<Duration>) -> Weight {
    if base.is_drained() {
        return Weight::DRAINED;
    }
    let hundredfold = u64::from(base.value()).saturating_mul(percent(report, latency));
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
fn percent(report: &Report, latency: Option<Duration>) -> u64 {
    let (busy, worked_on) = match report.gpu {
        Some(gpu) => (gpu, ALL),
        None => (report.kv_cache.unwrap_or_default(), worked_on(report)),
    };
    let idle = ALL.saturating_sub(u64::from(busy.basis_points()).min(MOST_BUSY));
    let micros = u64::try_from(latency.unwrap_or(UNKNOWN_LATENCY).as_micros()).unwrap_or(u64::MAX);
    let quick = HOPELESS.saturating_sub(micros);
    // A hundred × idle/10,000 × worked_on/10,000 × quick/2,000,000.
    let product = idle.saturating_mul(worked_on).saturating_mul(quick);
    (product / (100 * ALL * HOPELESS)).max(LEAST)
}

/// The part of an endpoint's requests that it works on, in basis points.
fn worked_on(report: &Report) -> u64 {
    let running = u64::from(report.running.unwrap_or(0).max(LEAST_RUNNING));
    let waiting = u64::from(report.waiting.unwrap_or(0));
    let part = running
        .saturating_mul(ALL)
        .checked_div(running.saturating_add(waiting));
    part.unwrap_or(ALL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(base: u16, gpu: Option<u16>, millis: Option<u64>) -> u16 {
        let report = Report {
            gpu: gpu.map(percentage),
            ..Report::default()
        };
        let latency = millis.map(Duration::from_millis);
        weight(Weight::new(base).unwrap(), &report, latency).value()
    }

    fn percentage(percent: u16) -> Share {
        Share::from_fraction(f64::from(percent) / 100.0).unwrap()
    }

    /// Of 100, at an unknown time to first byte.
    fn without_gpu(kv_percent: Option<u16>, waiting: Option<u32>, running: Option<u32>) -> u16 {
        let report = Report {
            kv_cache: kv_percent.map(percentage),
            waiting,
            running,
            ..Report::default()
        };
        weight(Weight::DEFAULT, &report, None).value()
    }

    #[test]
    fn a_full_cache_weighs_as_a_full_gpu_and_a_queue_takes_the_rest() {
        for (kv, waiting, running, expected) in [
            (None, None, None, 95),
            (Some(0), Some(0), Some(0), 95),
            (Some(50), Some(0), Some(64), 47),  // 47.5
            (Some(99), Some(0), Some(256), 28), // 28.5
            (Some(99), None, None, 28),
            (Some(99), Some(581), Some(256), 10), // 8.7
            (Some(99), Some(581), Some(2_000), 22),
            (Some(99), Some(581), None, 10),
            (Some(99), Some(581), Some(0), 10),
            (None, Some(581), Some(256), 29), // TGI
            (None, Some(581), None, 10),      // Triton without an LLM
            (Some(40), Some(1), Some(0), 47), // a request that has just come in
            (Some(40), Some(0), Some(1), 57),
            (Some(40), Some(8), Some(4), 21), // llama.cpp with four slots
            (None, Some(u32::MAX), Some(u32::MAX), 47),
        ] {
            let weight = without_gpu(kv, waiting, running);
            assert_eq!(weight, expected, "{kv:?} %, {waiting:?}, {running:?}");
        }
    }

    #[test]
    fn where_a_gpu_is_known_cache_and_queue_change_nothing() {
        let report = Report {
            gpu: Some(percentage(20)),
            kv_cache: Some(Share::FULL),
            waiting: Some(581),
            running: Some(1),
        };
        assert_eq!(weight(Weight::DEFAULT, &report, None).value(), 76);
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
            base in 1u16..=1000, gpu in proptest::bool::ANY,
            busy in 0u16..=10_000, busier in 0u16..=10_000,
            waiting in 0u32..2_000, more in 0u32..2_000, running in 0u32..600,
            micros in 0u64..3_000_000, slower in 0u64..3_000_000,
        ) {
            let base = Weight::new(base).unwrap();
            let of = |busy: u16, waiting, micros| {
                let share = Share::from_basis_points(busy);
                let report = Report {
                    gpu: share.filter(|_| gpu),
                    kv_cache: share,
                    waiting: Some(waiting),
                    running: Some(running),
                };
                weight(base, &report, Some(Duration::from_micros(micros)))
            };
            let light = of(busy, waiting, micros);
            let heavy = of((busy + busier).min(10_000), waiting + more, micros + slower);
            prop_assert!(heavy <= light && light <= base);
            prop_assert!(!heavy.is_drained());
        }
    }
}
