//! Parts of several workers, their ages, and their bytes.

use super::*;
use proptest::prelude::*;

const INTERVAL: Duration = Duration::from_secs(5);

fn at(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

fn gpu(percent: u16) -> Report {
    Report {
        gpu: Share::from_basis_points(percent * 100),
        ..Report::default()
    }
}

fn percent(load: Load) -> Option<u16> {
    load.report.gpu.map(|gpu| gpu.basis_points() / 100)
}

#[test]
fn the_latest_report_of_any_worker_counts() {
    let mut workers = [Learned::default(); 3];
    workers[0].on_report(&gpu(20), at(1_000));
    workers[1].on_report(&gpu(95), at(3_000));
    workers[2].on_report(&gpu(50), at(2_000));
    let parts = workers.map(|mut worker| worker.publish(at(5_000)));
    assert_eq!(percent(merge(&parts, at(5_000), INTERVAL)), Some(95));
}

#[test]
fn a_report_leaves_alone_what_it_does_not_tell() {
    let mut learned = Learned::default();
    learned.on_report(&gpu(20), at(1_000));
    let cache = Report {
        kv_cache: Some(Share::FULL),
        waiting: Some(3),
        ..Report::default()
    };
    learned.on_report(&cache, at(2_000));
    let load = merge(&[learned.publish(at(2_000))], at(2_000), INTERVAL);
    assert_eq!(percent(load), Some(20));
    assert_eq!(load.report.kv_cache, Some(Share::FULL));
    assert_eq!(load.report.waiting, Some(3));
    assert_eq!(load.report.running, None);
}

#[test]
fn a_report_counts_for_three_intervals_and_no_longer() {
    let mut learned = Learned::default();
    learned.on_report(&gpu(95), at(1_000));
    learned.on_weight(Weight::MAX, at(1_000));
    learned.on_first_byte(Duration::from_millis(700));
    let part = learned.publish(at(1_000));
    let load = |now| merge(&[part], now, INTERVAL);
    assert_eq!(percent(load(at(16_000))), Some(95));
    assert_eq!(load(at(16_000)).named, Some(Weight::MAX));
    assert_eq!(load(at(16_000)).latency, Some(Duration::from_millis(700)));
    let late = Instant::from_nanos(at(16_000).as_nanos() + 1);
    assert_eq!(load(late), Load::default());
    assert_eq!(load(late).weight(Weight::DEFAULT).value(), 95);
}

#[test]
fn a_report_from_the_far_future_is_no_reading_of_this_clock() {
    let mut learned = Learned::default();
    learned.on_report(&gpu(95), at(60_000));
    let part = learned.publish(at(60_000));
    assert_eq!(percent(merge(&[part], at(54_000), INTERVAL)), None);
    assert_eq!(percent(merge(&[part], at(59_990), INTERVAL)), Some(95));
}

#[test]
fn times_to_first_byte_count_by_their_number_over_all_workers() {
    let mut workers = [Learned::default(); 2];
    for _ in 0..3 {
        workers[0].on_first_byte(Duration::from_millis(100));
    }
    workers[1].on_first_byte(Duration::from_millis(500));
    let parts = workers.map(|mut worker| worker.publish(at(5_000)));
    let load = merge(&parts, at(5_000), INTERVAL);
    assert_eq!(load.latency, Some(Duration::from_millis(200)));
    assert_eq!(load.weight(Weight::DEFAULT).value(), 90);
}

#[test]
fn each_interval_has_its_own_mean_and_a_quiet_one_keeps_the_last() {
    let mut learned = Learned::default();
    let latency = |part, now| merge([&part], now, INTERVAL).latency.map(|l| l.as_millis());
    learned.on_first_byte(Duration::from_millis(1_900));
    assert_eq!(latency(learned.publish(at(5_000)), at(5_000)), Some(1_900));
    learned.on_first_byte(Duration::from_millis(100));
    assert_eq!(latency(learned.publish(at(10_000)), at(10_000)), Some(100));
    assert_eq!(latency(learned.publish(at(15_000)), at(15_000)), Some(100));
    assert_eq!(latency(learned.publish(at(25_000)), at(25_000)), Some(100));
    assert_eq!(latency(learned.publish(at(30_000)), at(30_000)), None);
}

#[test]
fn a_gpu_from_twenty_to_ninety_five_percent_gets_the_formulas_share() {
    let mut learned = Learned::default();
    learned.on_report(&gpu(20), at(4_000));
    let before = merge(&[learned.publish(at(5_000))], at(5_000), INTERVAL);
    learned.on_report(&gpu(95), at(9_000));
    let after = merge(&[learned.publish(at(10_000))], at(10_000), INTERVAL);
    assert_eq!(before.weight(Weight::DEFAULT).value(), 76);
    assert_eq!(after.weight(Weight::DEFAULT).value(), 28);
}

#[test]
fn a_named_weight_replaces_the_formula_but_not_the_operators_drain() {
    let mut learned = Learned::default();
    learned.on_report(&gpu(95), at(1_000));
    learned.on_weight(Weight::new(250).unwrap(), at(1_000));
    learned.on_weight(Weight::new(300).unwrap(), at(500));
    let load = merge(&[learned.publish(at(1_000))], at(1_000), INTERVAL);
    assert_eq!(load.weight(Weight::DEFAULT).value(), 250);
    assert_eq!(load.weight(Weight::DRAINED), Weight::DRAINED);
    learned.on_weight(Weight::DRAINED, at(2_000));
    let load = merge(&[learned.publish(at(2_000))], at(2_000), INTERVAL);
    assert_eq!(load.weight(Weight::DEFAULT), Weight::DRAINED);
}

#[test]
fn bytes_that_no_part_has_are_none() {
    let mut learned = Learned::default();
    learned.on_report(&gpu(95), at(1_000));
    learned.on_weight(Weight::MAX, at(1_000));
    learned.on_first_byte(Duration::from_millis(1));
    let good = learned.publish(at(1_000)).encode();
    assert!(Part::decode(&good).is_some());
    assert_eq!(Part::decode(&good[1..]), None);
    assert_eq!(Part::decode(&[&good[..], &[0]].concat()), None);
    assert_eq!(Part::decode(&[]), None);
    let with = |place: usize, value: u32| {
        let mut bytes = good;
        bytes[place..place + 4].copy_from_slice(&value.to_le_bytes());
        Part::decode(&bytes)
    };
    assert!(with(0, 10_000).is_some());
    assert_eq!(with(0, 10_001), None, "more GPU than there is");
    assert_eq!(with(0, u32::MAX), None, "an instant of nothing");
    assert_eq!(with(4 * CELL, 1_001), None, "more than the heaviest");
    assert_eq!(with(5 * CELL, 0), None, "a mean of no times");
    assert_eq!(Part::decode(&[0xff; Part::BYTES]), None);
}

fn part() -> impl Strategy<Value = Part> {
    let instant = || 0u64..40_000;
    let share = || prop::option::of((0u16..=10_000, instant()));
    let count = || prop::option::of((0u32..=u32::MAX, instant()));
    let weight = prop::option::of((0u16..=1000, instant()));
    let times = prop::collection::vec(0u64..5_000_000, 0..4);
    (share(), share(), count(), count(), weight, times, instant()).prop_map(
        |(gpu, kv_cache, waiting, running, weight, times, now)| {
            let mut learned = Learned::default();
            let mut tell = |report, millis| learned.on_report(&report, at(millis));
            let share = |value: u16| Share::from_basis_points(value);
            if let Some((value, millis)) = gpu {
                tell(
                    Report {
                        gpu: share(value),
                        ..Report::default()
                    },
                    millis,
                );
            }
            if let Some((value, millis)) = kv_cache {
                tell(
                    Report {
                        kv_cache: share(value),
                        ..Report::default()
                    },
                    millis,
                );
            }
            if let Some((value, millis)) = waiting {
                tell(
                    Report {
                        waiting: Some(value),
                        ..Report::default()
                    },
                    millis,
                );
            }
            if let Some((value, millis)) = running {
                tell(
                    Report {
                        running: Some(value),
                        ..Report::default()
                    },
                    millis,
                );
            }
            if let Some((value, millis)) = weight {
                learned.on_weight(Weight::new(value).unwrap(), at(millis));
            }
            for micros in times {
                learned.on_first_byte(Duration::from_micros(micros));
            }
            learned.publish(at(now))
        },
    )
}

proptest! {
    #[test]
    fn a_part_comes_back_from_its_bytes(part in part()) {
        prop_assert_eq!(Part::decode(&part.encode()), Some(part));
    }

    #[test]
    fn bytes_that_decode_are_those_that_encode(
        part in part(), place in 0..Part::BYTES, byte in any::<u8>()
    ) {
        let mut bytes = part.encode();
        bytes[place] = byte;
        if let Some(part) = Part::decode(&bytes) {
            prop_assert_eq!(part.encode(), bytes);
        }
    }

    #[test]
    fn the_order_of_the_workers_does_not_matter(
        mut parts in prop::collection::vec(part(), 0..6), now in 0u64..60_000
    ) {
        let one = merge(&parts, at(now), INTERVAL);
        parts.reverse();
        prop_assert_eq!(merge(&parts, at(now), INTERVAL), one);
    }
}
