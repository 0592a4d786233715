//! Metrics: one value a name in the whole process, any number of ids for it in each VM.
//!
//! A definition takes a lock, a step does not: ids lead straight to atomics. Gauges are 64 bits that wrap,
//! as Envoy's are; reading one as signed shows a gauge that was taken below zero for what it is.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::abi::{MetricType, Status};
use super::options::Profile;

/// The value of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// Only grows.
    Counter(u64),
    /// Goes up and down.
    Gauge(i64),
    /// Values recorded.
    Histogram(Summary),
}

/// What is kept of a histogram's values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// How many were recorded.
    pub count: u64,
    /// Their sum.
    pub sum: u64,
    /// The smallest; 0 if none.
    pub min: u64,
    /// The largest.
    pub max: u64,
}

#[derive(Debug, Default)]
pub(super) struct Metrics(Mutex<HashMap<(MetricType, String), Arc<Cell>>>);

#[derive(Debug)]
enum Cell {
    Counter(AtomicU64),
    Gauge(AtomicU64),
    Histogram(Mutex<Summary>),
}

impl Metrics {
    pub(super) fn read(&self, name: &str) -> Option<Metric> {
        let cells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        [
            MetricType::Counter,
            MetricType::Gauge,
            MetricType::Histogram,
        ]
        .into_iter()
        .find_map(|kind| cells.get(&(kind, name.to_owned())))
        .map(|cell| cell.value())
    }

    pub(super) fn all(&self) -> BTreeMap<String, Metric> {
        let cells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cells
            .iter()
            .map(|((_, name), cell)| (name.clone(), cell.value()))
            .collect()
    }

    fn cell(&self, kind: MetricType, name: String) -> Arc<Cell> {
        let mut cells = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let cell = cells.entry((kind, name)).or_insert_with(|| {
            Arc::new(match kind {
                MetricType::Counter => Cell::Counter(AtomicU64::new(0)),
                MetricType::Gauge => Cell::Gauge(AtomicU64::new(0)),
                MetricType::Histogram => Cell::Histogram(Mutex::default()),
            })
        });
        Arc::clone(cell)
    }
}

impl Cell {
    fn value(&self) -> Metric {
        match self {
            Self::Counter(value) => Metric::Counter(value.load(Ordering::SeqCst)),
            Self::Gauge(value) => Metric::Gauge(value.load(Ordering::SeqCst).cast_signed()),
            Self::Histogram(summary) => {
                Metric::Histogram(*summary.lock().unwrap_or_else(PoisonError::into_inner))
            }
        }
    }
}

/// The ids of one VM. The lowest two bits of an id are the kind, the rest counts definitions of the kind.
#[derive(Debug, Default)]
pub(super) struct Ids {
    defined: [Vec<Arc<Cell>>; 3],
}

impl Ids {
    pub(super) fn define(&mut self, metrics: &Metrics, kind: MetricType, name: String) -> u32 {
        let cells = &mut self.defined[kind as usize];
        cells.push(metrics.cell(kind, name));
        (u32::try_from(cells.len()).unwrap_or(u32::MAX) << 2) | kind as u32
    }

    pub(super) fn increment(&self, id: u32, by: i64) -> Result<(), Status> {
        if !matches!(
            MetricType::try_from(id & 3),
            Ok(MetricType::Counter | MetricType::Gauge)
        ) {
            return Err(Status::BadArgument);
        }
        match self.find(id)? {
            Cell::Counter(_) if by <= 0 => return Err(Status::BadArgument),
            Cell::Counter(value) | Cell::Gauge(value) => {
                value.fetch_add(by.cast_unsigned(), Ordering::SeqCst);
            }
            Cell::Histogram(_) => return Err(Status::BadArgument),
        }
        Ok(())
    }

    pub(super) fn record(&self, id: u32, value: u64) -> Result<(), Status> {
        match self.find(id)? {
            Cell::Counter(counter) => {
                counter.fetch_add(value, Ordering::SeqCst);
            }
            Cell::Gauge(gauge) => gauge.store(value, Ordering::SeqCst),
            Cell::Histogram(summary) => {
                let mut summary = summary.lock().unwrap_or_else(PoisonError::into_inner);
                summary.min = if summary.count == 0 {
                    value
                } else {
                    summary.min.min(value)
                };
                summary.max = summary.max.max(value);
                summary.count += 1;
                summary.sum = summary.sum.saturating_add(value);
            }
        }
        Ok(())
    }

    /// The value; None is nginx's end of the worker at a histogram.
    pub(super) fn read(&self, profile: Profile, id: u32) -> Result<Option<u64>, Status> {
        match MetricType::try_from(id & 3)? {
            MetricType::Histogram if profile == Profile::Nginx => return Ok(None),
            MetricType::Histogram => return Err(Status::BadArgument),
            MetricType::Counter | MetricType::Gauge => {}
        }
        match self.find(id)? {
            Cell::Counter(value) | Cell::Gauge(value) => Ok(Some(value.load(Ordering::SeqCst))),
            Cell::Histogram(_) => Err(Status::BadArgument),
        }
    }

    fn find(&self, id: u32) -> Result<&Cell, Status> {
        let nth = (id >> 2).checked_sub(1).ok_or(Status::NotFound)?;
        self.defined
            .get((id & 3) as usize)
            .and_then(|cells| cells.get(nth as usize))
            .map(Arc::as_ref)
            .ok_or(Status::NotFound)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_definition_gets_a_new_id_for_the_same_value() {
        let (metrics, mut ids) = (Metrics::default(), Ids::default());
        let first = ids.define(&metrics, MetricType::Gauge, "g".into());
        let second = ids.define(&metrics, MetricType::Gauge, "g".into());
        assert_ne!(first, second);
        ids.increment(first, 5).unwrap();
        ids.increment(second, -7).unwrap();
        assert_eq!(metrics.read("g"), Some(Metric::Gauge(-2)));
    }

    #[test]
    fn a_counter_refuses_steps_that_do_not_go_up() {
        let (metrics, mut ids) = (Metrics::default(), Ids::default());
        let id = ids.define(&metrics, MetricType::Counter, "c".into());
        assert_eq!(ids.increment(id, 0), Err(Status::BadArgument));
        assert_eq!(ids.increment(id, -1), Err(Status::BadArgument));
        assert_eq!(ids.increment(id, 1), Ok(()));
        assert_eq!(ids.increment(id + 4, 1), Err(Status::NotFound));
    }

    #[test]
    fn a_histogram_is_recorded_and_neither_incremented_nor_read() {
        let (metrics, mut ids) = (Metrics::default(), Ids::default());
        let id = ids.define(&metrics, MetricType::Histogram, "h".into());
        ids.record(id, 3).unwrap();
        ids.record(id, 9).unwrap();
        assert_eq!(ids.increment(id, 1), Err(Status::BadArgument));
        assert_eq!(ids.read(Profile::Envoy, id), Err(Status::BadArgument));
        assert_eq!(ids.read(Profile::Nginx, id), Ok(None));
        let expected = Summary {
            count: 2,
            sum: 12,
            min: 3,
            max: 9,
        };
        assert_eq!(metrics.read("h"), Some(Metric::Histogram(expected)));
    }
}
