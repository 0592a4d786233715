//! A tournament tree: the least of a fixed set of keys, any of which may change, in O(log n).
//!
//! Not a binary heap: a change of weight moves an endpoint that is deep inside, and a heap would need
//! a second array to find it there. Here a key's place is its number.

/// The keys of endpoints 0 to n - 1, where an absent one is infinite.
pub(super) struct Tournament {
    /// The root at 1, the children of `i` at `2i` and `2i + 1`, the keys in the second half.
    nodes: Vec<f64>,
}

impl Tournament {
    pub fn new(len: usize) -> Tournament {
        let leaves = len.next_power_of_two();
        Tournament {
            nodes: vec![f64::INFINITY; leaves.saturating_mul(2)],
        }
    }

    /// The least key, and whose it is; the first of equals.
    pub fn least(&self) -> Option<(usize, f64)> {
        let least = self.node(1);
        if least == f64::INFINITY {
            return None;
        }
        let leaves = self.leaves();
        let mut place = 1;
        while place < leaves {
            let left = left_of(place);
            place = if self.node(left) == least {
                left
            } else {
                left | 1
            };
        }
        Some((place.saturating_sub(leaves), least))
    }

    /// Gives `number` a key, and takes its old one.
    pub fn set(&mut self, number: usize, key: f64) {
        let mut place = self.leaves().saturating_add(number);
        let mut key = key;
        while let Some(node) = self.nodes.get_mut(place).filter(|node| **node != key) {
            *node = key;
            // The root's sibling is the unused place 0, which is infinite.
            key = key.min(self.node(place ^ 1));
            place >>= 1;
            if place == 0 {
                break;
            }
        }
    }

    /// Takes the key of `number`.
    pub fn remove(&mut self, number: usize) {
        self.set(number, f64::INFINITY);
    }

    fn leaves(&self) -> usize {
        self.nodes.len() >> 1
    }

    fn node(&self, place: usize) -> f64 {
        self.nodes.get(place).copied().unwrap_or(f64::INFINITY)
    }
}

fn left_of(place: usize) -> usize {
    place << 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_least_is_that_of_the_plain_list(
            len in 1..40usize,
            steps in prop::collection::vec((0..40usize, prop::option::of(0..50u32)), 0..200),
        ) {
            let mut tree = Tournament::new(len);
            let mut plain = vec![None; len];
            for (number, key) in steps {
                let number = number % len;
                plain[number] = key;
                match key {
                    Some(key) => tree.set(number, f64::from(key)),
                    None => tree.remove(number),
                }
                let expected = (0..len)
                    .filter_map(|number| Some((plain[number]?, number)))
                    .min()
                    .map(|(key, number)| (number, f64::from(key)));
                prop_assert_eq!(tree.least(), expected);
            }
        }
    }
}
