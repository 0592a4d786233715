//! Every state comes back, and nothing else does.

use proptest::prelude::*;

use super::*;

fn time() -> impl Strategy<Value = Instant> {
    any::<u64>().prop_map(Instant::from_nanos)
}

fn phase() -> impl Strategy<Value = Phase> {
    prop_oneof![
        Just(Phase::Admitting),
        time().prop_map(|until| Phase::Tripped { until }),
        time().prop_map(|until| Phase::Probing { until }),
        time().prop_map(|since| Phase::Ramping { since }),
    ]
}

fn met() -> impl Strategy<Value = Option<(Caller, Instant)>> {
    proptest::option::of((any::<u32>().prop_map(Caller), time()))
}

fn callers() -> impl Strategy<Value = Callers> {
    (met(), met()).prop_map(|(latest, other)| Callers { latest, other })
}

fn cause() -> impl Strategy<Value = Cause> {
    let rules = [
        TripRule::Row,
        TripRule::Share,
        TripRule::Count,
        TripRule::Probe,
    ];
    (0..rules.len(), any::<u16>()).prop_map(move |(rule, status)| Cause {
        rule: rules[rule],
        status,
    })
}

prop_compose! {
    fn window()(
        newest in proptest::option::of(time()),
        buckets in any::<[([u32; 5], u64); BUCKETS]>(),
        row in any::<[u32; 7]>(),
        answered_at_failure in any::<u64>(),
    ) -> Window {
        let buckets = buckets.map(|([failures, all, unpaired, caller, alike], base)| Bucket {
            failures,
            unopposed: Pairs { failures: all, unpaired, caller: Caller(caller) },
            alike,
            base,
        });
        let [failures, unreached, unopposed, unexplained, alike, unpaired, caller] = row;
        let pairs = Pairs { failures, unpaired, caller: Caller(caller) };
        let row = Row { pairs, unreached, unopposed, unexplained, alike };
        Window { newest, buckets, row, answered_at_failure }
    }
}

prop_compose! {
    fn overload()(
        rests_until in time(),
        bound in any::<u32>(),
        since in time(),
        base in any::<u64>(),
        reached in any::<u32>(),
        rounds in any::<u8>(),
        limited in met(),
    ) -> Overload {
        Overload { rests_until, bound, since, base, reached, rounds, limited }
    }
}

prop_compose! {
    fn state()(
        phase in phase(),
        since in time(),
        cause in cause(),
        probes in any::<u32>(),
        prober in proptest::option::of(any::<u32>().prop_map(Caller)),
        overload in overload(),
        unavailable in any::<bool>(),
        checks in any::<(u8, u16)>(),
        served in callers(),
        failing in callers(),
        window in window(),
    ) -> State {
        let (against, status) = checks;
        State {
            breaker: Breaker { phase, since, cause, probes, prober },
            window,
            served,
            failing,
            overload,
            checks: Checks { unavailable, against, status },
        }
    }
}

proptest! {
    #[test]
    fn what_was_encoded_comes_back(state in state()) {
        let bytes = state.encode();
        prop_assert_eq!(bytes.len(), State::ENCODED);
        prop_assert_eq!(State::decode(&bytes), Some(state));
    }

    #[test]
    fn a_damaged_value_is_refused(state in state(), at in 0..SIZE, flipped in 1..=255u8) {
        let mut bytes = state.encode();
        bytes[at] ^= flipped;
        prop_assert_eq!(State::decode(&bytes), None);
    }

    #[test]
    fn bytes_that_are_no_state_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        prop_assert_eq!(State::decode(&bytes), None);
    }
}

#[test]
fn a_value_cut_short_drawn_out_or_of_another_version_is_refused() {
    let bytes = State::default().encode();
    assert!(bytes.len() < 1024, "{} bytes", bytes.len());
    for len in 0..bytes.len() {
        assert_eq!(State::decode(&bytes[..len]), None, "{len} bytes");
    }
    assert_eq!(State::decode(&[&bytes[..], &[0]].concat()), None);
    let resealed = |at: usize, byte: u8| {
        let mut body = bytes[..SIZE - 4].to_vec();
        body[at] = byte;
        let sum = murmur3_32(&body, 0).to_le_bytes();
        [&body[..], &sum].concat()
    };
    assert!(State::decode(&resealed(0, VERSION)).is_some());
    assert_eq!(State::decode(&resealed(0, VERSION + 1)), None);
    assert_eq!(State::decode(&resealed(1, 4)), None, "an unknown phase");
    assert_eq!(
        State::decode(&resealed(76, 2)),
        None,
        "neither available nor not"
    );
}
