//! A million operations against GCRA as its specification writes it down, in rational time.

use std::time::Duration;

use crate::config::Budget;
use crate::values::clock::Instant;
use crate::values::rng::Rng;

use super::{Bucket, Rate, Refused};

/// The virtual scheduling algorithm: a theoretical arrival time `tat`, here in `1 / limit` nanoseconds; a cost
/// conforms if it comes no sooner than the time minus the burst's tolerance.
struct Reference {
    limit: u128,
    period: u128,
    burst: u128,
    tat: u128,
}

impl Reference {
    fn conforms(&self, nanos: u64, cost: u64) -> bool {
        let now = u128::from(nanos) * self.limit;
        self.tat.max(now) + u128::from(cost) * self.period <= now + self.burst * self.period
    }

    fn take(&mut self, nanos: u64, cost: u64) {
        let now = u128::from(nanos) * self.limit;
        self.tat = self.tat.max(now) + u128::from(cost) * self.period;
    }
}

#[test]
fn a_million_operations_agree_with_the_reference_and_every_wait_told_is_exact() {
    let mut rng = Rng::new(4);
    let mut operations = 0;
    while operations < 1_000_000 {
        let largest = [50, 4_000_000][rng.below(2)];
        let limit = 1 + rng.below(largest) as u32;
        let per = Duration::from_millis(1 + rng.below(90_000) as u64);
        let burst = 1 + rng.below(limit as usize * 2) as u32;
        let rate = Rate::of(&Budget {
            limit,
            per,
            burst,
            lease: 0,
        });
        let (mut bucket, mut now) = (Bucket::default(), 1u64 << (20 + rng.below(40)));
        let mut reference = Reference {
            limit: limit.into(),
            period: per.as_nanos(),
            burst: burst.into(),
            tat: 0,
        };
        for _ in 0..1000 {
            operations += 1;
            let cost = 1 + rng.below(burst as usize + burst as usize / 50) as u64
                / (1 + rng.below(9) as u64);
            let (next, outcome) = bucket.reserve(&rate, Instant::from_nanos(now), cost);
            assert_eq!(
                outcome.is_ok(),
                reference.conforms(now, cost),
                "{rate:?} {cost}"
            );
            match outcome {
                Ok(hold) => {
                    bucket = next.settle(&rate, Instant::from_nanos(now), hold, cost);
                    reference.take(now, cost);
                }
                Err(Refused::Never) => assert!(cost > burst.into()),
                Err(Refused::After(wait)) => {
                    // As callers are told: whole milliseconds, rounded up.
                    let told = wait.as_nanos().div_ceil(1_000_000) as u64 * 1_000_000;
                    assert!(
                        reference.conforms(now + told, cost),
                        "{rate:?} {cost} {wait:?}"
                    );
                    assert!(
                        !reference.conforms(now + told - 1_000_000, cost),
                        "{rate:?} {cost} {wait:?}"
                    );
                    assert!(!reference.conforms(now + wait.as_nanos() as u64 - 1, cost));
                }
            }
            now += rng.below(per.as_nanos() as usize / 20 + 1) as u64;
        }
    }
}
