//! Why endpoints take no traffic, for the caller whose request finds none.

use std::fmt;

/// Endpoints that take no traffic, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::flow) struct Absent {
    /// Checks failed.
    pub unhealthy: usize,
    /// The breaker tripped, or its probe is under way.
    pub tripped: usize,
    /// They rest, or are at their bounds.
    pub overloaded: usize,
    /// Their weight is 0.
    pub drained: usize,
}

impl Absent {
    /// Those of two pools.
    pub fn plus(self, other: Absent) -> Absent {
        Absent {
            unhealthy: self.unhealthy.saturating_add(other.unhealthy),
            tripped: self.tripped.saturating_add(other.tripped),
            overloaded: self.overloaded.saturating_add(other.overloaded),
            drained: self.drained.saturating_add(other.drained),
        }
    }
}

/// `2 unhealthy, 1 tripped`
impl fmt::Display for Absent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reasons = [
            (self.unhealthy, "unhealthy"),
            (self.tripped, "tripped"),
            (self.overloaded, "overloaded"),
            (self.drained, "drained"),
        ];
        let mut between = "";
        for (count, reason) in reasons.into_iter().filter(|(count, _)| *count > 0) {
            write!(f, "{between}{count} {reason}")?;
            between = ", ";
        }
        Ok(())
    }
}
