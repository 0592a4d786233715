//! Time as the core sees it: readings of a monotonic clock, handed in by whoever calls.
//!
//! The wall clock measures no duration: it steps when somebody sets it, and a breaker or a ramp
//! that steps with it would open or close for no reason. It is read for what others have dated by theirs, and for
//! nothing else.

use std::time::Duration;

/// A reading of the monotonic clock, in nanoseconds since a moment of the host's choosing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The reading `nanos` nanoseconds after the host's origin.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the host's origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time since `earlier`; zero if `earlier` is in the future.
    pub const fn since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The reading `duration` later; the clock's end, 584 years after its origin, is never passed.
    pub fn after(self, duration: Duration) -> Instant {
        let nanos = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Instant(self.0.saturating_add(nanos))
    }
}

/// A reading of the wall clock, in seconds since 1970 began in UTC: for what others have dated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(pub u64);

impl UnixTime {
    /// Seconds between the two, whichever is the earlier.
    pub const fn distance(self, other: UnixTime) -> u64 {
        self.0.abs_diff(other.0)
    }
}
