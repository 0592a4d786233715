//! How much of a pool the breaker may take out.
//!
//! Each trip moves its endpoint's load to the others. Were there no end to it, the last endpoint
//! would carry everything, and what trips endpoints wrongly (a fault of the requests, of the
//! network before them) would take the whole pool away. So those that tripped last beyond the bound
//! are *spared*: they are tripped, are probed, and take traffic all the same. Envoy bounds its
//! outlier detection likewise (`max_ejection_percent`).
//!
//! A spared endpoint takes a tenth of its share, as one that has just come back does: it may be as
//! bad as it seems. Where the others are at their bounds, it takes what they cannot.

use crate::values::clock::Instant;

/// Of `tripped` endpoints, each with the time of its trip, those to spare where `most` may be out.
pub(super) fn spared(mut tripped: Vec<(Instant, usize)>, most: usize) -> Vec<usize> {
    tripped.sort_unstable();
    let beyond = tripped.into_iter().skip(most);
    beyond.map(|(_, endpoint)| endpoint).collect()
}

/// How many of `endpoints` may be out: not all of them, but where 100 percent are allowed.
pub(super) fn most(endpoints: usize, percent: u8) -> usize {
    match percent {
        100.. => endpoints,
        percent => endpoints.saturating_mul(percent.into()) / 100,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn below_a_hundred_percent_one_always_stays() {
        let out = |endpoints, percent| most(endpoints, percent);
        assert_eq!(
            [1, 2, 3, 4, 5, 1000].map(|all| out(all, 50)),
            [0, 1, 1, 2, 2, 500]
        );
        assert_eq!([1, 2, 100].map(|all| out(all, 99)), [0, 1, 99]);
        assert_eq!([1, 2, 3].map(|all| out(all, 100)), [1, 2, 3]);
        assert_eq!(out(10, 0), 0);
    }

    #[test]
    fn the_last_to_trip_are_spared() {
        let at = Instant::from_nanos;
        let tripped = vec![(at(30), 1), (at(10), 4), (at(20), 0)];
        assert_eq!(spared(tripped.clone(), 1), [0, 1]);
        assert_eq!(spared(tripped.clone(), 0), [4, 0, 1]);
        assert!(spared(tripped, 3).is_empty());
    }
}
