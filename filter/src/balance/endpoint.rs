//! What one worker has learned of one endpoint.
//!
//! Everything learned fades: an endpoint that is not chosen gives no news, so a bad memory that
//! lasts would keep it unchosen, and the memory would never be corrected. A mean fades towards the
//! pool's, a penalty towards nothing.

use std::time::Duration;

use crate::values::clock::Instant;
use crate::values::units::{Bound, Share, Weight};

/// One endpoint. Its fields lie side by side as a sample of a large pool touches few endpoints, and
/// of each all that there is.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    pub weight: Weight,
    pub share: Share,
    /// Requests in flight: exact as of the last tick, and this worker's own steps since.
    pub in_flight: u32,
    /// The requests in flight that it is trusted with.
    pub bound: Option<Bound>,
    pub penalty: Penalty,
    pub first_byte: Mean,
}

/// What one worker has learned of one endpoint and of its pool.
#[derive(Clone, Copy, Debug)]
pub struct Experience {
    pub(super) penalty: Penalty,
    pub(super) first_byte: Mean,
    pub(super) pool: Mean,
}

impl Endpoint {
    pub fn new(weight: Weight) -> Endpoint {
        Endpoint {
            weight,
            share: Share::WHOLE,
            in_flight: 0,
            bound: None,
            penalty: Penalty::default(),
            first_byte: Mean::default(),
        }
    }

    /// What one more request would meet at `in_flight` others: those, the penalty and itself.
    pub fn load(&self, in_flight: u32, now: Instant) -> f32 {
        in_flight as f32 + self.penalty.at(now) + 1.0
    }

    /// What the endpoint draws of the traffic, relative to the others': its weight, in thousandths, by its share.
    pub fn pull(&self) -> u32 {
        u32::from(self.weight.value()).saturating_mul(self.share.thousandths().into())
    }

    /// The pull to divide a load by. Equal ratios divide to equal floats, so ties stay exact;
    /// multiplying by a stored reciprocal would break them by rounding.
    pub fn divisor(&self) -> f32 {
        self.pull() as f32
    }
}

/// Requests that are not there, added to those in flight, because the endpoint failed.
///
/// A failure is never a latency: one that fails in a millisecond would be the fastest of its pool and
/// soon have all of its traffic. The first failure makes it look as busy as two of its pool, so that it is
/// not the next one's choice as well; it doubles with each failure, halves with each answer.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Penalty {
    amount: f32,
    at: Instant,
}

impl Penalty {
    const LEAST: f32 = 16.0;
    /// Unless endpoints usually carry more than a quarter of it; forgotten within a minute.
    const MOST: f32 = 64.0;
    const FADES: Duration = Duration::from_secs(10);

    /// What is left of it at `now`.
    pub fn at(&self, now: Instant) -> f32 {
        // Nearly always, and without the clock.
        if self.is_empty() {
            return 0.0;
        }
        // Less than half a request would still decide among endpoints that all are idle, for minutes.
        let left = self.amount * faded(self.at, now, Self::FADES);
        if left < 0.5 { 0.0 } else { left }
    }

    /// A failure, in a pool whose endpoints have `usual` requests in flight.
    pub fn on_failure(&mut self, usual: f32, now: Instant) {
        let (least, most) = (2.0 * usual, 4.0 * usual);
        // Not `clamp`: it would carry what writes out floats into the artifact, 20 KB for a panic that cannot be.
        self.amount = (2.0 * self.at(now))
            .max(Self::LEAST.max(least))
            .min(Self::MOST.max(most));
        self.at = now;
    }

    /// Whether no penalty is left; then the clock need not be read.
    pub fn is_empty(&self) -> bool {
        self.amount == 0.0
    }

    pub fn on_answer(&mut self) {
        self.amount *= 0.5;
    }
}

/// A running mean of times to first byte, in seconds.
///
/// Plain over its window, not a peak EWMA: for model traffic the latter reads one long prompt as a
/// slow server, and as it decays makes a hanging one attractive.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mean {
    value: f32,
    labels: u16,
    at: Instant,
}

impl Default for Mean {
    /// Without any label all endpoints are equally fast, at whatever.
    fn default() -> Self {
        Mean {
            value: 1.0,
            labels: 0,
            at: Instant::default(),
        }
    }
}

impl Mean {
    /// Labels that an endpoint's mean goes back.
    pub const OWN_WINDOW: u16 = 200;
    /// Labels that a pool's mean goes back.
    pub const POOL_WINDOW: u16 = 800;
    /// Without news for so long, an endpoint's own mean counts for a third.
    const FADES: Duration = Duration::from_secs(30);
    /// Labels before an endpoint's own mean counts for half.
    const DOUBTED: f32 = 3.0;
    /// Seconds. A host's clock may stand still within a callback, and a mean of zero would make any number
    /// of requests in flight free.
    const FASTEST: f32 = 1e-4;

    /// Whether there is no label yet.
    pub fn is_empty(&self) -> bool {
        self.labels == 0
    }

    pub fn learn(&mut self, first_byte: Duration, window: u16, now: Instant) {
        self.labels = self.labels.saturating_add(1).min(window);
        let label = first_byte.as_secs_f32().max(Self::FASTEST);
        self.value += (label - self.value) / f32::from(self.labels);
        self.at = now;
    }

    /// Seconds to expect: this mean as far as it can be trusted, and the pool's for the rest.
    ///
    /// So an endpoint without labels passes for an average one: it is tried, and not flooded.
    pub fn against(&self, pool: &Mean, now: Instant) -> f32 {
        let labels = f32::from(self.labels);
        let trust = labels / (labels + Self::DOUBTED) * faded(self.at, now, Self::FADES);
        pool.value + trust * (self.value - pool.value)
    }
}

/// What is left of one after the time from `since` to `now`, if it fades with time constant `constant`.
///
/// (1 - x/16)¹⁶ in place of e⁻ˣ: never off by more than 0.02, nothing at all after 16 constants, and four
/// multiplications where the wasm would carry and call a soft `exp` for each endpoint looked at.
fn faded(since: Instant, now: Instant, constant: Duration) -> f32 {
    let age = now.as_nanos().saturating_sub(since.as_nanos()) as f32;
    let left = (1.0 - age / (16.0 * 1e9 * constant.as_secs_f32())).max(0.0);
    let fourth = (left * left) * (left * left);
    (fourth * fourth) * (fourth * fourth)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: f64) -> Instant {
        Instant::from_nanos((seconds * 1e9) as u64)
    }

    #[test]
    fn fading_is_within_two_percent_of_an_exponential() {
        for tenths in 0..2_000 {
            let seconds = f64::from(tenths) / 10.0;
            let exact = (-seconds / 10.0).exp() as f32;
            let fast = faded(at(0.0), at(seconds), Duration::from_secs(10));
            assert!(
                (exact - fast).abs() < 0.02,
                "{seconds} s: {exact} and {fast}"
            );
        }
        assert_eq!(faded(at(0.0), at(160.0), Duration::from_secs(10)), 0.0);
    }

    #[test]
    fn a_penalty_doubles_to_an_end_fades_and_halves_with_answers() {
        let mut penalty = Penalty::default();
        let mut seen = Vec::new();
        for _ in 0..8 {
            penalty.on_failure(1.0, at(1.0));
            seen.push(penalty.at(at(1.0)));
        }
        assert_eq!(seen, [16.0, 32.0, 64.0, 64.0, 64.0, 64.0, 64.0, 64.0]);
        penalty.on_answer();
        assert_eq!(penalty.at(at(1.0)), 32.0);
        assert!((penalty.at(at(11.0)) - 32.0 / 1f32.exp()).abs() < 0.5);
        assert_eq!(penalty.at(at(45.0)), 0.0, "the last half is forgotten");
        penalty.on_failure(1.0, at(500.0));
        assert_eq!(
            penalty.at(at(500.0)),
            16.0,
            "an old failure no longer counts"
        );
        penalty.on_failure(100.0, at(500.0));
        assert_eq!(penalty.at(at(500.0)), 200.0, "among many in flight");
    }

    #[test]
    fn a_mean_is_plain_at_first_and_forgets_beyond_its_window() {
        let mut mean = Mean::default();
        for millis in [100, 200, 600] {
            mean.learn(Duration::from_millis(millis), Mean::OWN_WINDOW, at(0.0));
        }
        assert!((mean.value - 0.3).abs() < 1e-6);
        for _ in 0..2_000 {
            mean.learn(Duration::from_secs(2), Mean::OWN_WINDOW, at(0.0));
        }
        assert!((mean.value - 2.0).abs() < 0.01);
    }

    #[test]
    fn a_mean_without_labels_or_news_is_the_pools() {
        let mut pool = Mean::default();
        pool.learn(Duration::from_millis(500), Mean::POOL_WINDOW, at(0.0));
        let mut own = Mean::default();
        assert_eq!(own.against(&pool, at(0.0)), 0.5);
        for _ in 0..100 {
            own.learn(Duration::from_secs(20), Mean::OWN_WINDOW, at(0.0));
        }
        assert!(own.against(&pool, at(0.0)) > 19.0);
        assert_eq!(own.against(&pool, at(600.0)), 0.5);
    }

    #[test]
    fn a_first_byte_in_no_time_is_not_for_free() {
        let mut mean = Mean::default();
        mean.learn(Duration::ZERO, Mean::OWN_WINDOW, at(0.0));
        assert!(mean.against(&mean, at(0.0)) > 0.0);
    }
}
