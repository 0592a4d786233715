//! The few best endpoints of a pool, and the choice among them that two algorithms share.

use crate::values::clock::Instant;
use crate::values::rng::Rng;

use super::endpoint::Endpoint;
use super::{Ask, Gauges, Order, View};

/// Endpoints that a decision looks at: all of a pool up to so many, as many at random of a larger one.
pub const SCAN: usize = 64;

/// Chooses the endpoint with the least `score`, given the endpoint and its requests in flight.
///
/// All are scored as this worker sees them, the best two once more by their exact gauges: the
/// best of a stale view is where every other worker is going, too. What was read corrects the view.
pub(super) fn pick_least(
    view: &mut View,
    ask: &Ask,
    gauges: &mut dyn Gauges,
    rng: &mut Rng,
    score: impl Fn(&View, &Endpoint, u32) -> f32,
) -> Order {
    let keep = ask.attempts().max(2);
    let mut list = Shortlist::new(view, SCAN, keep, rng, |endpoint: &Endpoint| {
        score(view, endpoint, endpoint.in_flight)
    });
    if let [best, second, ..] = list.entries_mut() {
        for finalist in [&mut *best, &mut *second] {
            let number = finalist.endpoint;
            view.refresh(number as usize, gauges);
            if let Some(endpoint) = view.endpoint(number) {
                finalist.rank = rank(score(view, endpoint, endpoint.in_flight), rng.bits());
            }
        }
        if second.rank < best.rank {
            std::mem::swap(best, second);
        }
    }
    let mut order = Order::default();
    list.endpoints()
        .for_each(|endpoint| order.push(endpoint, ask.attempts()));
    if let Some(first) = order.first() {
        gauges.claim(first, None);
        view.on_claim(first);
    }
    order
}

/// Scores an endpoint by its requests in flight and its penalty, for its weight.
pub(super) fn idle(now: Instant) -> impl Fn(&Endpoint) -> f32 {
    move |endpoint| endpoint.load(endpoint.in_flight, now) / endpoint.divisor()
}

/// The best of those looked at, the best first; equals in random order.
pub(super) struct Shortlist {
    entries: [Entry; Order::LONGEST],
    len: usize,
    /// The rank of the last one kept; most are worse, and cost one comparison.
    worst: u64,
}

#[derive(Clone, Copy)]
struct Entry {
    rank: u64,
    endpoint: u32,
}

impl Shortlist {
    /// The `keep` candidates of the least scores among at most `sample` of them.
    pub fn new(
        view: &View,
        sample: usize,
        keep: usize,
        rng: &mut Rng,
        score: impl Fn(&Endpoint) -> f32,
    ) -> Shortlist {
        let mut list = Shortlist {
            entries: [Entry::FREE; Order::LONGEST],
            len: 0,
            worst: u64::MAX,
        };
        let keep = keep.min(Order::LONGEST);
        let mut consider = |candidate: u32, ties: u64| {
            if let Some(endpoint) = view.endpoint(candidate) {
                list.insert(
                    Entry {
                        rank: rank(score(endpoint), ties),
                        endpoint: candidate,
                    },
                    keep,
                );
            }
        };
        let candidates = view.candidates();
        if candidates.len() <= sample {
            for &candidate in candidates {
                consider(candidate, rng.bits());
            }
            return list;
        }
        // One from each of as many equal stretches of the list, which begin at random: distinct
        // without remembering any, and each candidate equally likely.
        let len = candidates.len() as u64;
        let turn = rng.below(candidates.len());
        let (head, tail) = candidates.split_at_checked(turn).unwrap_or_default();
        let edge = |stretch: u64| {
            stretch
                .saturating_mul(len)
                .checked_div(sample as u64)
                .unwrap_or_default()
        };
        for stretch in 0..sample as u64 {
            let (from, to) = (edge(stretch), edge(stretch.saturating_add(1)));
            let bits = rng.bits();
            let within = to.saturating_sub(from).saturating_mul(bits >> 32) >> 32;
            let place = from.saturating_add(within) as usize;
            let candidate = match tail.get(place) {
                Some(candidate) => Some(candidate),
                None => head.get(place.saturating_sub(tail.len())),
            };
            if let Some(&candidate) = candidate {
                consider(candidate, bits);
            }
        }
        list
    }

    /// The endpoints, the best first.
    pub fn endpoints(&self) -> impl Iterator<Item = u32> + '_ {
        self.entries
            .iter()
            .take(self.len)
            .map(|entry| entry.endpoint)
    }

    fn entries_mut(&mut self) -> &mut [Entry] {
        self.entries.get_mut(..self.len).unwrap_or_default()
    }

    fn insert(&mut self, entry: Entry, keep: usize) {
        if self.len < keep {
            self.len = self.len.saturating_add(1);
        } else if entry.rank >= self.worst {
            return;
        }
        let mut carried = entry;
        for slot in self.entries.iter_mut().take(self.len) {
            if carried.rank < slot.rank {
                std::mem::swap(slot, &mut carried);
            }
            self.worst = slot.rank;
        }
    }
}

impl Entry {
    const FREE: Entry = Entry {
        rank: u64::MAX,
        endpoint: u32::MAX,
    };
}

/// Orders by score, and equal scores by the low bits of `ties`: positive floats sort as integers.
fn rank(score: f32, ties: u64) -> u64 {
    u64::from(score.to_bits()) << 32 | (ties & 0xffff_ffff)
}
