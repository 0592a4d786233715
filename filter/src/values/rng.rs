//! Randomness as an argument: a seeded generator that a worker owns and every decision borrows.
//!
//! SplitMix64 (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014):
//! three multiplications a draw, any seed is a good seed. Balancing needs no more; keys and nonces
//! never come from here.

/// A SplitMix64 generator.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// A generator whose whole sequence follows from `seed`.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next 64 uniform bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A uniform index below `len`; 0 for an empty range.
    ///
    /// Lemire's multiply-shift without the rejection step: over 32 bits its bias is below `len`/2³².
    pub fn below(&mut self, len: usize) -> usize {
        let high = self.bits() >> 32;
        (high.wrapping_mul(len as u64) >> 32) as usize
    }

    /// A uniform number in `[0, 1)`.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_index_is_drawn_about_equally_often() {
        let mut rng = Rng::new(7);
        let mut drawn = [0u32; 10];
        for _ in 0..100_000 {
            drawn[rng.below(10)] += 1;
        }
        assert!(
            drawn.iter().all(|n| (9_500..10_500).contains(n)),
            "{drawn:?}"
        );
        assert_eq!(rng.below(0), 0);
    }
}
