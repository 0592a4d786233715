//! How load becomes weight, the same on every worker.
//!
//! Each worker keeps what it has seen of an endpoint and publishes it; the leader merges what all have
//! published into weights, and publishes those (see [`crate::load`]). No worker writes what another does,
//! so nothing is lost to a race.

use std::cell::RefCell;
use std::time::Duration;

use crate::config;
use crate::load::{Learned, Part, Report, merge};
use crate::ports::{Host, Kind, Meter};
use crate::report::metrics;
use crate::values::clock::Instant;
use crate::values::units::Weight;

use super::lease::Lane;
use super::member::{EndpointKey, Member, Places};

/// One pool's loads.
pub(super) struct Loads {
    endpoints: Vec<Seen>,
    places: Places,
    pool: String,
    /// Whether weights follow load at all.
    weighs: bool,
    /// The configuration's fingerprint, which weights are published under.
    configuration: u64,
    published: Option<Instant>,
    weighed: Option<Instant>,
    changes: Option<Meter>,
}

struct Seen {
    key: EndpointKey,
    learned: Learned,
    /// When a report of it was read last.
    read: Option<Instant>,
    gauge: Option<Meter>,
}

/// What an entry of the published parts is: an endpoint's key and its part.
const ENTRY: usize = 8 + Part::BYTES;
/// An endpoint that answers a thousand times a second says the same each time.
const READ_EVERY: Duration = Duration::from_millis(500);

impl Loads {
    /// The loads of `pool`'s endpoints; `changes` counts what is agreed on anew.
    pub fn new(
        pool: &config::Pool,
        addresses: &[String],
        configuration: u64,
        changes: Option<Meter>,
        host: &mut dyn Host,
    ) -> Loads {
        let weighs = pool.load.is_some();
        let seen = |address: &String| Seen {
            key: EndpointKey::of(address),
            learned: Learned::default(),
            read: None,
            gauge: weighs
                .then(|| host.define(Kind::Gauge, &metrics::endpoint_weight(&pool.name, address)))
                .flatten(),
        };
        Loads {
            endpoints: addresses.iter().map(seen).collect(),
            places: Places::new(addresses.iter().map(|address| EndpointKey::of(address))),
            pool: pool.name.clone(),
            weighs,
            configuration,
            published: None,
            weighed: None,
            changes,
        }
    }

    /// Whether a report of `endpoint` should be read again.
    pub fn wants_report(&mut self, endpoint: usize, now: Instant) -> bool {
        let Some(seen) = self.endpoints.get_mut(endpoint) else {
            return false;
        };
        let wants = seen.read.is_none_or(|read| now.since(read) >= READ_EVERY);
        if wants {
            seen.read = Some(now);
        }
        wants
    }

    /// `endpoint` told this of its load.
    pub fn on_report(&mut self, endpoint: usize, report: &Report, now: Instant) {
        if let Some(seen) = self.endpoints.get_mut(endpoint) {
            seen.learned.on_report(report, now);
        }
    }

    /// `endpoint` named its weight itself.
    pub fn on_weight(&mut self, endpoint: usize, weight: Weight, now: Instant) {
        if let Some(seen) = self.endpoints.get_mut(endpoint) {
            seen.learned.on_weight(weight, now);
        }
    }

    /// A good answer from `endpoint` has begun.
    pub fn on_first_byte(&mut self, endpoint: usize, first_byte: Duration) {
        if let Some(seen) = self.endpoints.get_mut(endpoint) {
            seen.learned.on_first_byte(first_byte);
        }
    }

    /// Publishes what this worker has seen, twice an interval: so that a weight is never older than one and a half.
    pub fn publish(
        &mut self,
        lane: Lane,
        member: &RefCell<Member>,
        rule: &config::Load,
        now: Instant,
        host: &mut dyn Host,
    ) {
        let slot = member.try_borrow().ok().and_then(|member| member.slot());
        let Some(slot) = slot.filter(|_| is_due(&mut self.published, half(rule.interval), now))
        else {
            return;
        };
        let mut bytes = Vec::with_capacity(self.endpoints.len().saturating_mul(ENTRY));
        for seen in &mut self.endpoints {
            bytes.extend(seen.key.to_bytes());
            bytes.extend(seen.learned.publish(now).encode());
        }
        host.put(&parts_key(lane.own, slot, &self.pool), &bytes);
    }

    /// Computes the weights that all workers go by, and publishes them if any is new: for the leader.
    pub fn weigh(
        &mut self,
        lane: Lane,
        (config, rule): (&config::Pool, &config::Load),
        now: Instant,
        host: &mut dyn Host,
    ) {
        if !is_due(&mut self.weighed, rule.interval, now) {
            return;
        }
        let parts = self.parts(lane, host);
        let mut bytes = Vec::with_capacity(self.endpoints.len().saturating_mul(10));
        bytes.extend(self.configuration.to_le_bytes());
        let endpoints = self.endpoints.iter().zip(&config.endpoints);
        for ((seen, endpoint), its) in endpoints.zip(&parts) {
            let weight = merge(its, now, rule.interval).weight(endpoint.weight);
            bytes.extend(seen.key.to_bytes());
            bytes.extend(weight.value().to_le_bytes());
            if let Some(gauge) = seen.gauge {
                host.record(gauge, weight.value().into());
            }
        }
        let key = weights_key(lane, &self.pool);
        if host.load(&key).is_none_or(|stored| stored.bytes != bytes) {
            host.put(&key, &bytes);
            if let Some(changes) = self.changes {
                host.add(changes, 1);
            }
        }
    }

    /// The weights that are published for this configuration, by the endpoints' places. Another's
    /// start from other weights, and go by other rules.
    pub fn weights(&self, lane: Lane, host: &mut dyn Host) -> Vec<(usize, Weight)> {
        if !self.weighs {
            return Vec::new();
        }
        let stored = host.load(&weights_key(lane, &self.pool));
        let stored = stored.map_or(Vec::new(), |stored| stored.bytes);
        let Some(entries) = stored.strip_prefix(&self.configuration.to_le_bytes()) else {
            return Vec::new();
        };
        let (entries, _) = entries.as_chunks::<10>();
        let entry = |entry: &[u8; 10]| {
            let (key, weight) = entry.split_first_chunk()?;
            let key = EndpointKey::from_bytes(*key);
            let place = self.places.of(key)?;
            let weight = Weight::new(u16::from_le_bytes(weight.try_into().ok()?))?;
            Some((place, weight))
        };
        entries.iter().filter_map(entry).collect()
    }

    /// Where in the pool each endpoint stands.
    pub fn places(&self) -> &Places {
        &self.places
    }

    /// What all workers have published, by the endpoints' places; old parts no longer count by
    /// their dates. Those of the plugin's other configurations count, too: an endpoint's load is
    /// its load, whichever listener its requests came through.
    fn parts(&self, lane: Lane, host: &mut dyn Host) -> Vec<Vec<Part>> {
        let mut parts = vec![Vec::new(); self.endpoints.len()];
        let slots = (0..)
            .take_while(|slot| Member::is_known(*slot, host))
            .count();
        for (slot, lane) in (0..slots).flat_map(|slot| (0..lane.all).map(move |lane| (slot, lane)))
        {
            let Some(stored) = host.load(&parts_key(lane, slot, &self.pool)) else {
                continue;
            };
            let (entries, _) = stored.bytes.as_chunks::<ENTRY>();
            for entry in entries {
                if let Some((key, part)) = entry.split_first_chunk()
                    && let Some(place) = self.places.of(EndpointKey::from_bytes(*key))
                    && let Some(its) = parts.get_mut(place)
                {
                    its.extend(Part::decode(part));
                }
            }
        }
        parts
    }
}

fn half(interval: Duration) -> Duration {
    interval.checked_div(2).unwrap_or(interval)
}

fn is_due(last: &mut Option<Instant>, every: Duration, now: Instant) -> bool {
    let due = last.is_none_or(|last| now.since(last) >= every);
    if due {
        *last = Some(now);
    }
    due
}

fn parts_key(lane: usize, slot: usize, pool: &str) -> String {
    format!("junheng/load/{lane}/{slot}/{pool}")
}

fn weights_key(lane: Lane, pool: &str) -> String {
    format!("junheng/weights/{}/{pool}", lane.own)
}
