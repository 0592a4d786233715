//! What each worker has learned of an endpoint's load, and what all of them have.
//!
//! A response passes one worker, and the metrics page is read by one; yet the weight must be the same on
//! every worker. So each keeps what it saw itself ([`Learned`]) and publishes it each interval as a
//! [`Part`] of fixed size; the leader merges the parts into one [`Load`] and publishes the weight. No
//! worker ever writes another's part, so there is nothing to compare and swap.
//!
//! Merging takes the latest of each quantity by itself: a response that tells of the KV cache must not
//! wipe out the GPU utilisation that the metrics page told a second ago. Times to first byte are not
//! reports but samples, so there all fresh ones count, each worker's by their number.
//!
//! Instants are compared across workers. They are readings of one clock, as all workers are of one host.

use std::time::Duration;

use crate::values::clock::Instant;
use crate::values::units::Weight;

use super::report::{Report, Share};
use super::weight;

/// How many intervals a report counts for.
const FRESH: u32 = 3;

/// What one worker has learned of one endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Learned {
    part: Part,
    /// Since the last [`Learned::publish`].
    open: FirstBytes,
}

impl Learned {
    /// The endpoint told this of its load at `at`; what it did not tell stays as it was.
    pub fn on_report(&mut self, report: &Report, at: Instant) {
        let dated = |count: Option<u32>| Dated::of(count.map(|count| count.min(MOST)), at);
        let part = &mut self.part;
        part.gpu = part.gpu.max(Dated::of(report.gpu, at));
        part.kv_cache = part.kv_cache.max(Dated::of(report.kv_cache, at));
        part.waiting = part.waiting.max(dated(report.waiting));
        part.running = part.running.max(dated(report.running));
    }

    /// The endpoint named its weight itself at `at`, in [`weight::HEADER`].
    pub fn on_weight(&mut self, weight: Weight, at: Instant) {
        self.part.weight = self.part.weight.max(Dated::of(Some(weight), at));
    }

    /// The first byte of a good answer came `first_byte` after the request was sent.
    ///
    /// Never for a failure: one that fails fast must not look quick.
    pub fn on_first_byte(&mut self, first_byte: Duration) {
        let micros = u64::try_from(first_byte.as_micros()).unwrap_or(u64::MAX);
        self.open.count = self.open.count.saturating_add(1).min(MOST);
        self.open.micros = self.open.micros.saturating_add(micros);
    }

    /// The part to publish at `now`. Times to first byte start anew; while there are none, those of the last
    /// interval that had some remain, and grow old as a report does.
    pub fn publish(&mut self, now: Instant) -> Part {
        let open = std::mem::take(&mut self.open);
        if open.count > 0 {
            self.part.first_bytes = Dated::of(Some(open), now);
        }
        self.part
    }
}

/// What one worker tells the others of one endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Part {
    gpu: Option<Dated<Share>>,
    kv_cache: Option<Dated<Share>>,
    waiting: Option<Dated<u32>>,
    running: Option<Dated<u32>>,
    weight: Option<Dated<Weight>>,
    first_bytes: Option<Dated<FirstBytes>>,
}

impl Part {
    /// How many bytes a part is.
    pub const BYTES: usize = 6 * CELL + 8;

    /// The part as bytes, to lie beside those of the other endpoints: for each quantity its value (all ones
    /// where there is none) and the nanoseconds of its instant, and the sum of the times to first byte in
    /// microseconds; all little endian.
    pub fn encode(&self) -> [u8; Part::BYTES] {
        let shares = [self.gpu, self.kv_cache]
            .map(|share| share.map(|share| (u32::from(share.value.basis_points()), share.at)));
        let counts =
            [self.waiting, self.running].map(|count| count.map(|count| (count.value, count.at)));
        let weight = self
            .weight
            .map(|weight| (u32::from(weight.value.value()), weight.at));
        let first = self.first_bytes.map(|first| (first.value.count, first.at));
        let [gpu, kv_cache] = shares;
        let [waiting, running] = counts;

        let mut bytes = [0; Part::BYTES];
        let (cells, sum) = bytes.as_chunks_mut::<CELL>();
        for (cell, value) in cells
            .iter_mut()
            .zip([gpu, kv_cache, waiting, running, weight, first])
        {
            let (value, at) = value.unwrap_or((ABSENT, Instant::default()));
            let (value_bytes, at_bytes) = cell.split_at_mut(4);
            value_bytes.copy_from_slice(&value.to_le_bytes());
            at_bytes.copy_from_slice(&at.as_nanos().to_le_bytes());
        }
        let micros = self.first_bytes.map_or(0, |first| first.value.micros);
        sum.copy_from_slice(&micros.to_le_bytes());
        bytes
    }

    /// The part that [`Part::encode`] made these bytes of; `None` if it made no such.
    pub fn decode(bytes: &[u8]) -> Option<Part> {
        let bytes: &[u8; Part::BYTES] = bytes.try_into().ok()?;
        let (cells, sum) = bytes.as_chunks::<CELL>();
        let &[gpu, kv_cache, waiting, running, weight, first] = cells else {
            return None;
        };
        let small = |value| u16::try_from(value).ok();
        let share = |value| Share::from_basis_points(small(value)?);
        let micros = u64::from_le_bytes(sum.try_into().ok()?);
        let first_bytes = cell(first, |count| {
            (count > 0).then_some(FirstBytes { count, micros })
        })?;
        (first_bytes.is_some() || micros == 0).then_some(())?;
        Some(Part {
            gpu: cell(gpu, share)?,
            kv_cache: cell(kv_cache, share)?,
            waiting: cell(waiting, Some)?,
            running: cell(running, Some)?,
            weight: cell(weight, |value| Weight::new(small(value)?))?,
            first_bytes,
        })
    }
}

/// What is known of an endpoint's load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// The latest that it told of each quantity.
    pub report: Report,
    /// The weight that it named itself.
    pub named: Option<Weight>,
    /// The mean time to first byte.
    pub latency: Option<Duration>,
}

impl Load {
    /// What the endpoint weighs now, `base` being its configured weight: what it named, else what
    /// [`weight::weight`] gives. One that the configuration drains stays drained whatever it names.
    pub fn weight(&self, base: Weight) -> Weight {
        match self.named {
            Some(named) if !base.is_drained() => named,
            _ => weight::weight(base, &self.report, self.latency),
        }
    }
}

/// What all workers' `parts` of one endpoint say together at `now`, whatever their order; what is older
/// than three times `interval`, the time between two refreshes, no longer counts.
pub fn merge<'a>(
    parts: impl IntoIterator<Item = &'a Part>,
    now: Instant,
    interval: Duration,
) -> Load {
    let mut latest = Part::default();
    let mut first = FirstBytes::default();
    for part in parts {
        latest.gpu = latest.gpu.max(fresh(part.gpu, now, interval));
        latest.kv_cache = latest.kv_cache.max(fresh(part.kv_cache, now, interval));
        latest.waiting = latest.waiting.max(fresh(part.waiting, now, interval));
        latest.running = latest.running.max(fresh(part.running, now, interval));
        latest.weight = latest.weight.max(fresh(part.weight, now, interval));
        if let Some(Dated { value, .. }) = fresh(part.first_bytes, now, interval) {
            first.count = first.count.saturating_add(value.count);
            first.micros = first.micros.saturating_add(value.micros);
        }
    }
    Load {
        report: Report {
            gpu: latest.gpu.map(|gpu| gpu.value),
            kv_cache: latest.kv_cache.map(|kv_cache| kv_cache.value),
            waiting: latest.waiting.map(|waiting| waiting.value),
            running: latest.running.map(|running| running.value),
        },
        named: latest.weight.map(|weight| weight.value),
        latency: first
            .micros
            .checked_div(u64::from(first.count))
            .map(Duration::from_micros),
    }
}

/// A value and when it was told. The later one is the greater; of two at one instant, the greater value is,
/// so that an order of merging does not show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Dated<T> {
    at: Instant,
    value: T,
}

impl<T> Dated<T> {
    fn of(value: Option<T>, at: Instant) -> Option<Dated<T>> {
        value.map(|value| Dated { at, value })
    }
}

/// Times to first byte: how many, and their sum in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct FirstBytes {
    count: u32,
    micros: u64,
}

/// A value of four bytes and an instant of eight.
const CELL: usize = 12;
/// What stands for no value.
const ABSENT: u32 = u32::MAX;
/// The greatest count that can be written.
const MOST: u32 = ABSENT - 1;

/// `value`, unless it is too old. One from far in the future is no reading of this clock, and would win over
/// all that are.
fn fresh<T>(value: Option<Dated<T>>, now: Instant, interval: Duration) -> Option<Dated<T>> {
    value.filter(|value| {
        now.since(value.at) <= interval.saturating_mul(FRESH) && value.at.since(now) <= interval
    })
}

/// A cell's value, read by `read`; the outer `None` if there can be no such cell.
fn cell<T>(bytes: [u8; CELL], read: impl Fn(u32) -> Option<T>) -> Option<Option<Dated<T>>> {
    let (value, at) = bytes.split_first_chunk()?;
    let value = u32::from_le_bytes(*value);
    let nanos = u64::from_le_bytes(at.try_into().ok()?);
    if value == ABSENT {
        return (nanos == 0).then_some(None);
    }
    let value = read(value)?;
    Some(Dated::of(Some(value), Instant::from_nanos(nanos)))
}

#[cfg(test)]
#[path = "part_tests.rs"]
mod tests;
