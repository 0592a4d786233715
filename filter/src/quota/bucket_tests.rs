use proptest::prelude::*;

use super::*;
use crate::config::Budget;

const SECOND: Duration = Duration::from_secs(1);
const START: Instant = Instant::from_nanos(1 << 40);

fn rate(limit: u32, per: Duration, burst: u32) -> Rate {
    Rate::of(&Budget {
        limit,
        per,
        burst,
        lease: 0,
    })
}

#[test]
fn a_burst_and_not_one_unit_more() {
    let rate = rate(100, SECOND, 100);
    let (bucket, hold) = Bucket::default().reserve(&rate, START, 100);
    assert!(hold.is_ok());
    assert_eq!(bucket.left(&rate, START), 0);
    let (same, refused) = bucket.reserve(&rate, START, 1);
    assert_eq!(refused, Err(Refused::After(Duration::from_millis(10))));
    assert_eq!(same, bucket);
    assert_eq!(bucket.reserve(&rate, START, 101).1, Err(Refused::Never));
}

#[test]
fn what_was_settled_leaves_the_limit_less_what_was_used() {
    let rate = rate(1000, Duration::from_secs(60), 1000);
    let mut bucket = Bucket::default();
    let mut holds = Vec::new();
    for _ in 0..10 {
        let (next, hold) = bucket.reserve(&rate, START, 100);
        bucket = next;
        holds.push(hold.unwrap());
    }
    assert_eq!(bucket.left(&rate, START), 0);
    for (used, hold) in (0..).zip(holds) {
        bucket = bucket.settle(&rate, START, hold, used);
    }
    assert_eq!(bucket.left(&rate, START), 1000 - 45);
    assert_eq!(bucket.held, [0, 0]);
}

#[test]
fn what_drained_off_a_hold_is_not_given_back_again() {
    let rate = rate(100, SECOND, 100);
    let half = START.after(SECOND / 2);
    let (bucket, first) = Bucket::default().reserve(&rate, START, 100);
    let (bucket, second) = bucket.reserve(&rate, half, 50);
    let bucket = bucket.settle(&rate, half, first.unwrap(), 0);
    assert_eq!(bucket.left(&rate, half), 50);
    let bucket = bucket.settle(&rate, half, second.unwrap(), 50);
    assert_eq!(bucket.left(&rate, half), 50);
}

#[test]
fn more_than_was_reserved_is_charged_and_owed() {
    let rate = rate(100, SECOND, 100);
    let (bucket, hold) = Bucket::default().reserve(&rate, START, 40);
    let (bucket, hold) = bucket.grow(&rate, START, hold.unwrap(), 30);
    assert_eq!((hold.cost, bucket.left(&rate, START)), (70, 30));
    let bucket = bucket.settle(&rate, START, hold, 150);
    assert_eq!(bucket.left(&rate, START), 0);
    assert_eq!(bucket.until(&rate, START, 1), Duration::from_millis(510));
}

#[test]
fn a_hold_that_nobody_renews_counts_as_used_and_drains() {
    let rate = rate(100, Duration::from_secs(3600), 100);
    let (bucket, lost) = Bucket::default().reserve(&rate, START, 60);
    let (bucket, kept) = bucket.reserve(&rate, START, 36);
    let later = START.after(TERM);
    let (bucket, kept) = bucket.grow(&rate, later, kept.unwrap(), 0);
    let later = later.after(TERM);
    let settled = bucket.settle(&rate, later, kept, 0);
    assert_eq!(settled.held, [0, 0], "the lost one is forgotten");
    assert_eq!(settled.left(&rate, later), 40, "60 count as used");
    assert_eq!(settled.settle(&rate, later, lost.unwrap(), 0), settled);
}

#[test]
fn a_full_bucket_forgets_its_holds() {
    let rate = rate(100, SECOND, 100);
    let (bucket, dead) = Bucket::default().reserve(&rate, START, 100);
    let later = START.after(SECOND);
    assert!(
        bucket.is_full(later) && !bucket.is_full(START.after(SECOND - Duration::from_nanos(1)))
    );
    let (bucket, _) = bucket.reserve(&rate, later, 10);
    assert_eq!(bucket.held, [10, 0]);
    assert_eq!(bucket.settle(&rate, later, dead.unwrap(), 0), bucket);
}

#[test]
fn a_clock_read_a_little_earlier_by_another_thread_gives_nothing_away() {
    let rate = rate(100, SECOND, 100);
    let (bucket, hold) = Bucket::default().reserve(&rate, START.after(SECOND), 100);
    assert!(bucket.reserve(&rate, START, 1).1.is_err());
    let settled = bucket.settle(&rate, START, hold.unwrap(), 100);
    assert!(settled.taken >= bucket.taken);
}

#[derive(Clone, Copy, Debug)]
enum Op {
    Reserve { cost: u64, used: u64 },
    Settle(usize),
    Pass(u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (0u64..60, 0u64..60).prop_map(|(cost, used)| Op::Reserve { cost, used: used.min(cost) }),
        3 => any::<usize>().prop_map(Op::Settle),
        3 => (0u64..900_000_000).prop_map(Op::Pass),
    ]
}

proptest! {
    /// The level lies between that of a bucket charged with real costs as they are admitted, and of one as they are
    /// settled with the rest held: no more is admitted than by the first, and no less than the second leaves.
    #[test]
    fn settling_never_gives_back_what_was_not_there(ops in prop::collection::vec(op(), 1..120), limit in 1u32..200) {
        let rate = rate(limit, SECOND, 100);
        let (mut bucket, mut now) = (Bucket::default(), START);
        let mut open: Vec<(Hold, u64)> = Vec::new();
        // Every admission with its real cost; settled or not.
        let mut admitted: Vec<(Instant, u64)> = Vec::new();
        // Charged as settled.
        let mut settled_level = 0u128;
        for op in ops {
            match op {
                Op::Reserve { cost, used } => {
                    let (next, outcome) = bucket.reserve(&rate, now, cost);
                    if let Ok(hold) = outcome {
                        bucket = next;
                        open.push((hold, used));
                        admitted.push((now, used));
                    }
                }
                Op::Settle(which) if !open.is_empty() => {
                    let (hold, used) = open.swap_remove(which % open.len());
                    bucket = bucket.settle(&rate, now, hold, used);
                    settled_level += rate.level(used);
                }
                Op::Settle(_) => {}
                Op::Pass(nanos) => {
                    now = now.after(Duration::from_nanos(nanos));
                    settled_level = settled_level.saturating_sub(rate.drained_in(nanos));
                }
            }
            let held: u64 = open.iter().map(|(hold, _)| hold.cost).sum();
            prop_assert!(bucket.taken.at(&rate, now) <= settled_level + rate.level(held));
            let (mut real, mut at) = (0u128, START);
            for (when, used) in &admitted {
                real = real.saturating_sub(rate.drained_in(when.as_nanos() - at.as_nanos())) + rate.level(*used);
                at = *when;
            }
            real = real.saturating_sub(rate.drained_in(now.as_nanos() - at.as_nanos()));
            prop_assert!(bucket.taken.at(&rate, now) >= real, "{} below {real}", bucket.taken.at(&rate, now));
        }
    }
}
