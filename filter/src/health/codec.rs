//! A state as bytes, for the proxy's shared data.
//!
//! Fixed in size and little endian, with a version before and a checksum after: the keys of shared data are
//! common to every module under one `vm_id` and outlive a module that is replaced by its next version.
//! A value misread could keep an endpoint out until the end of the clock; one refused costs it its past.

use crate::values::clock::Instant;
use crate::values::murmur3::murmur3_32;

use super::State;
use super::breaker::{Breaker, Phase};
use super::checks::Checks;
use super::window::{BUCKETS, Bucket, Window};

/// To be raised with any change of the layout, or of what a field means.
const VERSION: u8 = 1;
/// Version; phase, its time, probes; rest; availability and checks; window; its buckets; checksum.
const SIZE: usize = 1 + (1 + 8 + 4) + 8 + (1 + 1) + (1 + 8 + 4 + 8) + BUCKETS * (4 + 8) + 4;

impl State {
    /// How many bytes every encoded state has.
    pub const ENCODED: usize = SIZE;

    /// The state as [`Self::ENCODED`] bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(SIZE);
        let (phase, time) = match self.breaker.phase {
            Phase::Admitting => (0, Instant::default()),
            Phase::Tripped { until } => (1, until),
            Phase::Probing { until } => (2, until),
            Phase::Ramping { since } => (3, since),
        };
        bytes.extend([VERSION, phase]);
        bytes.extend(time.as_nanos().to_le_bytes());
        bytes.extend(self.breaker.probes.to_le_bytes());
        bytes.extend(self.rests_until.as_nanos().to_le_bytes());
        bytes.extend([u8::from(self.checks.unavailable), self.checks.against]);
        let newest = self.window.newest.unwrap_or_default();
        bytes.push(u8::from(self.window.newest.is_some()));
        bytes.extend(newest.as_nanos().to_le_bytes());
        bytes.extend(self.window.in_a_row.to_le_bytes());
        bytes.extend(self.window.answered_at_failure.to_le_bytes());
        for bucket in &self.window.buckets {
            bytes.extend(bucket.failures.to_le_bytes());
            bytes.extend(bucket.base.to_le_bytes());
        }
        bytes.extend(murmur3_32(&bytes, 0).to_le_bytes());
        bytes
    }

    /// The state that `bytes` encode; `None` if they are damaged or of another version.
    pub fn decode(bytes: &[u8]) -> Option<State> {
        let (body, sum) = bytes.split_last_chunk()?;
        if bytes.len() != SIZE || murmur3_32(body, 0) != u32::from_le_bytes(*sum) {
            return None;
        }
        let mut rest = Reader(body);
        if rest.byte()? != VERSION {
            return None;
        }
        let (phase, time) = (rest.byte()?, rest.time()?);
        let phase = match phase {
            0 => Phase::Admitting,
            1 => Phase::Tripped { until: time },
            2 => Phase::Probing { until: time },
            3 => Phase::Ramping { since: time },
            _ => return None,
        };
        let probes = rest.word()?;
        let rests_until = rest.time()?;
        let checks = Checks {
            unavailable: rest.flag()?,
            against: rest.byte()?,
        };
        let (begun, newest) = (rest.flag()?, rest.time()?);
        let mut window = Window {
            newest: begun.then_some(newest),
            in_a_row: rest.word()?,
            answered_at_failure: rest.long()?,
            ..Window::default()
        };
        for bucket in &mut window.buckets {
            *bucket = Bucket {
                failures: rest.word()?,
                base: rest.long()?,
            };
        }
        Some(State {
            breaker: Breaker { phase, probes },
            window,
            rests_until,
            checks,
        })
    }
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take().map(u8::from_le_bytes)
    }

    fn word(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn long(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn time(&mut self) -> Option<Instant> {
        self.long().map(Instant::from_nanos)
    }

    fn flag(&mut self) -> Option<bool> {
        match self.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
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

    prop_compose! {
        fn window()(
            newest in proptest::option::of(time()),
            buckets in any::<[(u32, u64); BUCKETS]>(),
            in_a_row in any::<u32>(),
            answered_at_failure in any::<u64>(),
        ) -> Window {
            let buckets = buckets.map(|(failures, base)| Bucket { failures, base });
            Window { newest, buckets, in_a_row, answered_at_failure }
        }
    }

    prop_compose! {
        fn state()(
            phase in phase(),
            probes in any::<u32>(),
            rests_until in time(),
            unavailable in any::<bool>(),
            against in any::<u8>(),
            window in window(),
        ) -> State {
            State {
                breaker: Breaker { phase, probes },
                window,
                rests_until,
                checks: Checks { unavailable, against },
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
        assert!(bytes.len() < 512);
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
            State::decode(&resealed(22, 2)),
            None,
            "neither available nor not"
        );
    }
}
