//! Readings that no sound host would give: no step may break on them, nor lose what it has made.

use proptest::prelude::*;

use crate::values::units::Share;

use super::*;

fn time() -> impl Strategy<Value = Instant> {
    prop_oneof![
        0..3u64,
        0..1_000_000_000_000u64,
        Just(u64::MAX),
        any::<u64>()
    ]
    .prop_map(Instant::from_nanos)
}

fn duration() -> impl Strategy<Value = Duration> {
    prop_oneof![
        Just(Duration::ZERO),
        Just(Duration::MAX),
        (0..1_000_000_000_000u64).prop_map(Duration::from_nanos),
    ]
}

prop_compose! {
    fn rules()(
        lengths in [duration(), duration(), duration(), duration(), duration()],
        trip in proptest::option::of((any::<u8>(), any::<u32>(), 0..4u32)),
        check_failures in any::<u8>(),
        check_passes in any::<u8>(),
        breaks in any::<bool>(),
        checks in any::<bool>(),
    ) -> Rules {
        let [window, tripped, probe_lost, ramp, rest] = lengths;
        let trip = match trip {
            Some((above_percent, least_requests, in_a_row)) => Trip::ErrorRate(ErrorRate {
                window, above_percent, least_requests, in_a_row, tripped,
            }),
            None => Trip::FailTimeout(FailTimeout { max_fails: 2, fail_timeout: window }),
        };
        Rules {
            breaks, checks, trip, probe_lost, ramp, rest, longest_rest: tripped,
            check_failures, check_passes,
        }
    }
}

proptest! {
    #[test]
    fn no_rules_clock_or_counter_break_a_step(
        rules in rules(),
        inputs in proptest::collection::vec((0..9u8, time(), any::<u64>(), duration()), 1..60),
    ) {
        let mut state = State::default();
        for (kind, now, answered, asked) in inputs {
            let token = state.breaker.probes;
            let end = [
                ProbeEnd::Passed,
                ProbeEnd::Failed(500),
                ProbeEnd::Overloaded(Some(asked)),
                ProbeEnd::Abandoned(asked),
            ][(answered % 4) as usize];
            let caller = Caller(token % 3);
            let failure = Failure {
                placed: now,
                caller,
                proof: [
                    Proof::Unreached,
                    Proof::ServedElsewhere,
                    Proof::Unopposed,
                    Proof::Unexplained,
                    Proof::Alike,
                ][(answered % 5) as usize],
                status: 500,
            };
            let refusal = Refusal {
                in_flight: answered as u32,
                retry_after: Some(asked),
                caller,
                may_be_callers: answered % 2 == 0,
                hidden: answered % 3 == 0,
            };
            let (new, outcome) = match kind {
                0 => state.roll(&rules, now, answered, caller),
                1 | 2 => state.failed(&rules, &failure, now, answered),
                3 => state.overloaded(&rules, &refusal, now, answered),
                4 => state.probe(&rules, caller, answered % 2 == 0, now),
                8 => state.served(caller, now),
                5 => state.probed(&rules, now, answered, token, end),
                _ => {
                    let passed = kind == 6;
                    state.checked(&rules, now, answered, Check { passed, status: 0 })
                }
            };
            prop_assert_eq!(outcome == Outcome::Unchanged, new == state);
            prop_assert_eq!(State::decode(&new.encode()), Some(new.clone()));
            if let Standing::In(share) = new.standing(&rules, now) {
                prop_assert!(share >= LEAST_SHARE && share <= Share::WHOLE);
            }
            if let Some(bound) = new.bound(now, answered) {
                prop_assert!(bound.proven > 0 && bound.most >= bound.proven);
            }
            let under = new.under(&rules, now);
            prop_assert_eq!(under.under(&rules, now), under);
            state = new;
        }
    }
}
