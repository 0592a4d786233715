//! What a report says once its format is forgotten.

use super::names::Quantity;

/// What an endpoint told of its load; `None` is what it did not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// How busy its GPUs are; of several, the busiest.
    pub gpu: Option<Share>,
    /// How full its KV cache is; of several, the fullest.
    pub kv_cache: Option<Share>,
    /// Requests that wait to be processed, over all of its queues.
    pub waiting: Option<u32>,
    /// Requests in its batches.
    pub running: Option<u32>,
}

/// A part of a whole in basis points, 0 to 10,000: an integer, so that a formula that rounds down gives
/// for 20 % what is computed by hand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Share(u16);

impl Share {
    /// All of it.
    pub const FULL: Share = Share(10_000);

    /// `fraction`, rounded to a basis point; all above 1 is full. `None` below 0 and for NaN.
    pub fn from_fraction(fraction: f64) -> Option<Share> {
        (fraction >= 0.0)
            .then(|| Share((fraction.min(1.0) * f64::from(Self::FULL.0)).round() as u16))
    }

    /// The share of so many basis points, or `None` above 10,000.
    pub const fn from_basis_points(value: u16) -> Option<Share> {
        if value <= Self::FULL.0 {
            Some(Share(value))
        } else {
            None
        }
    }

    /// The plain number, 0 to 10,000.
    pub const fn basis_points(self) -> u16 {
        self.0
    }
}

/// A report under way: several series of one name, and several names of one quantity, come together.
///
/// Of shares the greatest counts: a model spread over eight GPUs is as slow as the busiest of them, and
/// a mean would hide it. Queues are added up, for each holds requests of its own.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    engine: Option<Share>,
    device: Option<Share>,
    application: Option<Share>,
    kv_cache: Option<Share>,
    waiting: Option<f64>,
    running: Option<f64>,
}

impl Tally {
    /// Takes `value` of `quantity` in; one that is below 0 or not finite says nothing.
    pub fn add(&mut self, quantity: Quantity, value: f64) {
        if !(value >= 0.0 && value.is_finite()) {
            return;
        }
        let greatest = |of: &mut Option<Share>, fraction| {
            *of = (*of).max(Share::from_fraction(fraction));
        };
        let sum = |of: &mut Option<f64>| *of = Some(of.unwrap_or(0.0) + value);
        match quantity {
            Quantity::GpuEngine => greatest(&mut self.engine, value),
            Quantity::Gpu => greatest(&mut self.device, either(value)),
            Quantity::GpuPercent => greatest(&mut self.device, value / 100.0),
            Quantity::Application => greatest(&mut self.application, value),
            Quantity::KvCache => greatest(&mut self.kv_cache, either(value)),
            Quantity::Waiting => sum(&mut self.waiting),
            Quantity::Running => sum(&mut self.running),
        }
    }

    /// What came together. NVML's utilisation says that a kernel ran, so it is at 0 or 100 % and little
    /// between; the share of time that the engines were active is asked first. What an application calls
    /// its utilisation is the GPU's if nothing else is said.
    pub fn report(self) -> Report {
        let count = |sum: Option<f64>| sum.map(|sum| sum.round() as u32);
        Report {
            gpu: self.engine.or(self.device).or(self.application),
            kv_cache: self.kv_cache,
            waiting: count(self.waiting),
            running: count(self.running),
        }
    }
}

/// A fraction, or what can only be a percentage.
fn either(value: f64) -> f64 {
    if value > 1.0 { value / 100.0 } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gpu(values: &[(Quantity, f64)]) -> Option<u16> {
        let mut tally = Tally::default();
        for (quantity, value) in values {
            tally.add(*quantity, *value);
        }
        tally.report().gpu.map(Share::basis_points)
    }

    #[test]
    fn a_percentage_by_name_is_one_however_small() {
        assert_eq!(gpu(&[(Quantity::GpuPercent, 1.0)]), Some(100));
        assert_eq!(gpu(&[(Quantity::GpuPercent, 95.0)]), Some(9_500));
    }

    #[test]
    fn what_no_fraction_can_be_is_read_as_a_percentage() {
        assert_eq!(gpu(&[(Quantity::Gpu, 1.0)]), Some(10_000));
        assert_eq!(gpu(&[(Quantity::Gpu, 95.0)]), Some(9_500));
        assert_eq!(gpu(&[(Quantity::Gpu, 9_500.0)]), Some(10_000));
    }

    #[test]
    fn an_application_beyond_its_soft_limit_is_full() {
        assert_eq!(gpu(&[(Quantity::Application, 1.3)]), Some(10_000));
    }

    #[test]
    fn the_busiest_gpu_counts_and_the_better_source_first() {
        let device = [(Quantity::Gpu, 0.3), (Quantity::GpuPercent, 80.0)];
        assert_eq!(gpu(&device), Some(8_000));
        let all = [
            (Quantity::Application, 0.9),
            (Quantity::GpuEngine, 0.4),
            (Quantity::GpuPercent, 100.0),
        ];
        assert_eq!(gpu(&all), Some(4_000));
    }

    #[test]
    fn what_is_no_share_says_nothing() {
        for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.1] {
            assert_eq!(gpu(&[(Quantity::Gpu, value)]), None, "{value}");
        }
    }

    #[test]
    fn queues_are_added_up_and_never_wrap() {
        let mut tally = Tally::default();
        for value in [2.0, 3.0, f64::NAN, -1.0] {
            tally.add(Quantity::Waiting, value);
            tally.add(Quantity::Running, 1e300);
        }
        let report = tally.report();
        assert_eq!(report.waiting, Some(5));
        assert_eq!(report.running, Some(u32::MAX));
    }
}
