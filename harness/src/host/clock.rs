//! The two clocks a guest can read: the wall clock, which may jump, and the monotonic one, which may not.
//!
//! A virtual clock moves only when its owner moves it, so that a test of a thirty-second rule takes no
//! time and always ends the same way. Both clocks of one handle are separate on purpose: a program
//! that measures a duration with the wall clock is wrong, and [`Clock::step_wall`] shows it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A handle on a clock; clones of it show the same time.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The machine's clocks, the wall's perhaps set apart from the machine's.
    Real(Arc<Machine>),
    /// A clock that stands still until it is told to move.
    Virtual(Arc<Hands>),
}

/// The machine's clocks as guests see them.
#[derive(Debug)]
pub struct Machine {
    /// What the monotonic clock counts from.
    start: Instant,
    /// Nanoseconds that the wall clock shows beyond the machine's.
    stepped: AtomicI64,
}

/// Where the hands of a virtual clock stand, in nanoseconds.
#[derive(Debug)]
pub struct Hands {
    wall: AtomicU64,
    monotonic: AtomicU64,
}

impl Clock {
    /// The machine's own clocks.
    pub fn real() -> Self {
        Self::Real(Arc::new(Machine {
            start: Instant::now(),
            stepped: AtomicI64::new(0),
        }))
    }

    /// A clock whose wall shows `nanos` since the Unix epoch, and whose monotonic hand starts at zero.
    pub fn virtual_at(nanos: u64) -> Self {
        Self::Virtual(Arc::new(Hands {
            wall: AtomicU64::new(nanos),
            monotonic: AtomicU64::new(0),
        }))
    }

    /// Moves both hands forward. A real clock is not moved.
    pub fn advance(&self, by: Duration) {
        if let Self::Virtual(hands) = self {
            let nanos = saturating_nanos(by);
            hands.wall.fetch_add(nanos, Ordering::SeqCst);
            hands.monotonic.fetch_add(nanos, Ordering::SeqCst);
        }
    }

    /// Moves the wall clock alone, also backwards, as NTP or an operator would. Of a real clock only what
    /// guests read is moved, not the machine's.
    pub fn step_wall(&self, nanos: i64) {
        match self {
            Self::Real(machine) => {
                machine.stepped.fetch_add(nanos, Ordering::SeqCst);
            }
            Self::Virtual(hands) => {
                hands
                    .wall
                    .fetch_add(nanos.cast_unsigned(), Ordering::SeqCst);
            }
        }
    }

    /// Nanoseconds since the Unix epoch.
    pub fn wall_nanos(&self) -> u64 {
        match self {
            Self::Real(machine) => saturating_nanos(
                SystemTime::now()
                    .duration_since(UNIX_EPOCH)
                    .unwrap_or_default(),
            )
            .saturating_add_signed(machine.stepped.load(Ordering::SeqCst)),
            Self::Virtual(hands) => hands.wall.load(Ordering::SeqCst),
        }
    }

    /// Nanoseconds since some moment before the first guest ran; never goes back.
    pub fn monotonic_nanos(&self) -> u64 {
        match self {
            Self::Real(machine) => saturating_nanos(machine.start.elapsed()),
            Self::Virtual(hands) => hands.monotonic.load(Ordering::SeqCst),
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::real()
    }
}

fn saturating_nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000_000;

    #[test]
    fn a_step_of_the_wall_clock_leaves_the_monotonic_one_alone() {
        for clock in [Clock::real(), Clock::virtual_at(10 * HOUR as u64)] {
            let seen_by_guests = clock.clone();
            let (wall, monotonic) = (clock.wall_nanos(), clock.monotonic_nanos());
            clock.step_wall(-HOUR);
            let back = wall - seen_by_guests.wall_nanos();
            assert!(back <= HOUR as u64 && back > HOUR as u64 / 2, "{back}");
            assert!(seen_by_guests.monotonic_nanos() - monotonic < HOUR as u64);
            clock.step_wall(HOUR);
            assert!(seen_by_guests.wall_nanos() >= wall);
        }
    }
}
