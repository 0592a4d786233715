//! A hash ring: endpoints and keys as points on a circle of 2³² places (Karger et al., "Consistent
//! Hashing and Random Trees", 1997). A key belongs to the first endpoint clockwise of it.
//!
//! An endpoint has 160 points per 100 of weight, as in ketama, and they depend on nothing but its
//! address and weight: whoever else is there, they do not move. One that joins takes keys
//! from all and gives to none; one that goes gives its own away and moves no others. With 160 points
//! each an endpoint's part of the ring is off its share by 8 % (one standard deviation).

use crate::values::murmur3::murmur3_32;
use crate::values::units::Weight;

/// Points per hundred of weight.
const POINTS: u32 = 160;

/// Points that a ring may have: 2 MiB of them, in each worker.
///
/// Reached by 1,638 endpoints of the default weight, or 163 ten times as heavy. Beyond it all
/// endpoints have half as many points, or a quarter: every second key moves once, as the pool grows
/// past it, and shares are 11 % or 16 % off; the bound on an endpoint's load makes up for that.
const MOST_POINTS: u32 = 1 << 18;

pub(super) struct Ring {
    /// Ascending, apart from the owners: a search runs over half the memory.
    places: Vec<u32>,
    owners: Vec<u32>,
}

impl Ring {
    /// The ring of `endpoints`, numbered in their order. One that is drained has the place
    /// that it would have at the default weight, so that it can come back to it.
    pub fn new<'a>(endpoints: impl Iterator<Item = (&'a str, Weight)> + Clone) -> Ring {
        let halvings = (0..u32::BITS)
            .find(|&halvings| {
                let points = endpoints
                    .clone()
                    .map(|(_, weight)| u64::from(points(weight, halvings)));
                points.sum::<u64>() <= u64::from(MOST_POINTS)
            })
            .unwrap_or(u32::BITS);
        let mut all = Vec::new();
        let mut name = Vec::new();
        for (owner, (address, weight)) in (0u32..).zip(endpoints) {
            for point in 0..points(weight, halvings) {
                name.clear();
                name.extend_from_slice(address.as_bytes());
                name.extend_from_slice(&point.to_le_bytes());
                all.push((murmur3_32(&name, 0), owner));
            }
        }
        all.sort_unstable();
        let (places, owners) = all.into_iter().unzip();
        Ring { places, owners }
    }

    /// The owners of all points clockwise of `place`, once around.
    pub fn clockwise(&self, place: u32) -> impl Iterator<Item = u32> + '_ {
        let first = self.places.partition_point(|&point| point < place);
        self.owners
            .iter()
            .cycle()
            .skip(first)
            .take(self.owners.len())
            .copied()
    }
}

fn points(weight: Weight, halvings: u32) -> u32 {
    let weight = if weight.is_drained() {
        Weight::DEFAULT
    } else {
        weight
    };
    let points = u32::from(weight.value())
        .saturating_mul(POINTS)
        .div_ceil(100);
    points.checked_shr(halvings).unwrap_or_default().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(endpoints: usize, weight: Weight) -> Ring {
        let addresses: Vec<String> = (0..endpoints).map(|n| format!("10.1.0.{n}:8000")).collect();
        Ring::new(addresses.iter().map(|address| (address.as_str(), weight)))
    }

    #[test]
    fn points_are_absolute_until_the_ring_is_full() {
        assert_eq!(ring(1_000, Weight::DEFAULT).places.len(), 160_000);
        assert_eq!(ring(10, Weight::MAX).places.len(), 16_000);
        let full = ring(1_000, Weight::MAX).places.len();
        assert!(full <= MOST_POINTS as usize && full > MOST_POINTS as usize / 2);
        assert_eq!(ring(3, Weight::DRAINED).places.len(), 480);
        assert_eq!(ring(0, Weight::DEFAULT).clockwise(5).next(), None);
    }

    #[test]
    fn clockwise_begins_behind_the_place_and_goes_around_once() {
        let ring = ring(5, Weight::DEFAULT);
        for (index, &place) in ring.places.iter().enumerate() {
            let mut expected = ring.owners.clone();
            expected.rotate_left(index);
            assert!(ring.clockwise(place).eq(expected));
        }
        assert!(ring.clockwise(u32::MAX).eq(ring.owners.iter().copied()));
    }
}
