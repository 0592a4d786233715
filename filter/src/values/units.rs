//! Units as types, integers where they can be, so that a configuration is `Eq` and `Hash` and a
//! token count is never handed over as a weight.

use std::fmt;

use super::rng::Rng;

/// A number of tokens, as a model's tokenizer counts them or as an estimate of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tokens(pub u32);

impl Tokens {
    /// The sum, or the largest count there is: a request that claims 4 billion tokens must not wrap to few.
    pub const fn saturating_add(self, other: Tokens) -> Tokens {
        Tokens(self.0.saturating_add(other.0))
    }
}

impl fmt::Display for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An endpoint's share of its pool's traffic relative to the others': 0 (drained) to 1000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(u16);

impl Weight {
    /// What an endpoint weighs when nothing is said.
    pub const DEFAULT: Weight = Weight(100);
    /// The heaviest: ten times the default, so that one endpoint can be ten of another.
    pub const MAX: Weight = Weight(1000);
    /// Takes no new traffic.
    pub const DRAINED: Weight = Weight(0);

    /// The weight `value`, or `None` above [`Weight::MAX`].
    pub const fn new(value: u16) -> Option<Weight> {
        if value <= Self::MAX.0 {
            Some(Weight(value))
        } else {
            None
        }
    }

    /// The plain number.
    pub const fn value(self) -> u16 {
        self.0
    }

    /// Whether the endpoint takes no new traffic.
    pub const fn is_drained(self) -> bool {
        self.0 == 0
    }
}

/// A part of what an endpoint would take by its weight, in thousandths: 1 to 1000; less than all of it while
/// it is ramped up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Share(u16);

impl Share {
    /// All of it.
    pub const WHOLE: Share = Share(1000);

    /// `thousandths` of the whole; what is beyond the range becomes its end.
    pub const fn new(thousandths: u16) -> Share {
        match thousandths {
            0 => Share(1),
            1..1000 => Share(thousandths),
            1000.. => Share::WHOLE,
        }
    }

    /// The plain number.
    pub const fn thousandths(self) -> u16 {
        self.0
    }

    /// A number below a thousand, to compare shares with: as many requests draw less than a share as it says.
    pub fn draw(rng: &mut Rng) -> u16 {
        rng.below(usize::from(Share::WHOLE.0)) as u16
    }
}

impl Default for Weight {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Requests in flight that an endpoint is trusted with, after it has refused one for overload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// As many as it has carried.
    pub proven: u32,
    /// As many as it may be tried with, where no other endpoint has room; not less than `proven`.
    pub most: u32,
}
