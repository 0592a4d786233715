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
        let (places, owners) = by_place(all).into_iter().unzip();
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

/// `points` in the order of their places, and those of one place in theirs.
///
/// A radix sort, a byte at a time: as places are numbers without a pattern there is no better case to hope
/// for, and the library's sort, which here would be its only use, is 8 KB of the artifact.
fn by_place(mut points: Vec<(u32, u32)>) -> Vec<(u32, u32)> {
    let mut sorted = vec![(0, 0); points.len()];
    for byte in 0..4 {
        let digit = |place: u32| {
            place
                .to_le_bytes()
                .get(byte)
                .copied()
                .map_or(0, usize::from)
        };
        let mut ends = [0usize; 256];
        for (place, _) in &points {
            if let Some(count) = ends.get_mut(digit(*place)) {
                *count = count.saturating_add(1);
            }
        }
        let mut sum = 0usize;
        for end in &mut ends {
            sum = sum.saturating_add(*end);
            *end = sum;
        }
        for point in points.iter().rev() {
            if let Some(end) = ends.get_mut(digit(point.0)) {
                *end = end.saturating_sub(1);
                if let Some(place) = sorted.get_mut(*end) {
                    *place = *point;
                }
            }
        }
        std::mem::swap(&mut points, &mut sorted);
    }
    points
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
    fn points_are_sorted_by_place_and_then_as_they_came() {
        let places = [
            5,
            0,
            u32::MAX,
            0x0100,
            5,
            0x0001_0000,
            0x00ff,
            5,
            0x0100_0000,
        ];
        let points: Vec<(u32, u32)> = places.into_iter().zip(0..).collect();
        let mut expected = points.clone();
        expected.sort();
        assert_eq!(by_place(points), expected);
        assert!(ring(50, Weight::DEFAULT).places.is_sorted());
        assert_eq!(by_place(Vec::new()), []);
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
