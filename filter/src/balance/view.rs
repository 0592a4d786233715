//! What one worker sees of one pool: the endpoints, and what it has learned of each.
//!
//! A number beyond the pool's endpoints is ignored, not refused: it can only stem from a request that
//! was sent before the pool changed, and its end must not take the worker down.

use std::time::Duration;

use crate::values::clock::Instant;
use crate::values::units::{Bound, Share, Weight};

use super::Gauges;
use super::endpoint::{Endpoint, Experience, Mean};

/// The endpoints of a pool as one worker sees them.
#[derive(Clone, Debug)]
pub struct View {
    addresses: Vec<Box<str>>,
    endpoints: Vec<Endpoint>,
    /// The numbers of those with a weight, ascending.
    candidates: Vec<u32>,
    total_pull: u64,
    /// How many endpoints have a bound.
    bounded: usize,
    first_byte: Mean,
}

impl View {
    pub(super) fn new<'a>(endpoints: impl IntoIterator<Item = (&'a str, Weight)>) -> View {
        let (addresses, endpoints): (Vec<Box<str>>, Vec<Endpoint>) = endpoints
            .into_iter()
            .map(|(address, weight)| (Box::from(address), Endpoint::new(weight)))
            .unzip();
        let candidates = (0..)
            .zip(&endpoints)
            .filter_map(|(number, endpoint)| (!endpoint.weight.is_drained()).then_some(number))
            .collect();
        let total_pull = endpoints.iter().map(|e| u64::from(e.pull())).sum();
        View {
            addresses,
            endpoints,
            candidates,
            total_pull,
            bounded: 0,
            first_byte: Mean::default(),
        }
    }

    /// How many endpoints there are, drained ones included.
    pub fn len(&self) -> usize {
        self.endpoints.len()
    }

    /// Whether there are none at all.
    pub fn is_empty(&self) -> bool {
        self.endpoints.is_empty()
    }

    /// The address of `endpoint`, as it was given.
    pub fn address(&self, endpoint: usize) -> Option<&str> {
        self.addresses.get(endpoint).map(|address| &**address)
    }

    /// What `endpoint` weighs now; drained if there is no such endpoint.
    pub fn weight(&self, endpoint: usize) -> Weight {
        self.endpoints
            .get(endpoint)
            .map_or(Weight::DRAINED, |e| e.weight)
    }

    /// Which part of what its weight brings is let through to `endpoint`.
    pub fn share(&self, endpoint: usize) -> Share {
        self.endpoints
            .get(endpoint)
            .map_or(Share::WHOLE, |e| e.share)
    }

    /// What `endpoint` draws of the traffic, relative to the others': its weight by its share.
    pub(super) fn pull(&self, endpoint: usize) -> u32 {
        self.endpoints.get(endpoint).map_or(0, Endpoint::pull)
    }

    /// Whether a request that drew `draw` of [`Share::WHOLE`]'s thousandths may go to `endpoint`: for algorithms
    /// that do not go by pull.
    pub(super) fn admits(&self, endpoint: u32, draw: u16) -> bool {
        self.endpoint(endpoint)
            .is_some_and(|e| draw < e.share.thousandths())
    }

    /// Bounds the requests in flight at `endpoint`, or lifts its bound.
    pub fn set_bound(&mut self, endpoint: usize, bound: Option<Bound>) {
        let Some(endpoint) = self.endpoints.get_mut(endpoint) else {
            return;
        };
        let was = std::mem::replace(&mut endpoint.bound, bound).is_some();
        self.bounded = self
            .bounded
            .saturating_add(bound.is_some().into())
            .saturating_sub(was.into());
    }

    /// The requests in flight that `endpoint` is trusted with; `None` without a bound.
    pub fn bound(&self, endpoint: usize) -> Option<Bound> {
        self.endpoints.get(endpoint)?.bound
    }

    /// Whether one more request is within the bound of `endpoint`, as far as this worker knows.
    pub fn has_room(&self, endpoint: usize) -> bool {
        let most = self.bound(endpoint).map(|bound| bound.most);
        self.is_below(endpoint, most)
    }

    /// Whether `endpoint` carries nothing, has no bound, or has proven room for two requests.
    pub fn has_room_to_spare(&self, endpoint: usize) -> bool {
        let in_flight = self.in_flight(endpoint);
        let bound = self.bound(endpoint);
        in_flight == 0 || bound.is_none_or(|bound| in_flight.saturating_add(2) <= bound.proven)
    }

    /// Whether fewer than `most` requests are in flight at `endpoint`, as far as this worker knows.
    pub(super) fn is_below(&self, endpoint: usize, most: Option<u32>) -> bool {
        let endpoint = self.endpoints.get(endpoint);
        endpoint.is_some_and(|endpoint| most.is_none_or(|most| endpoint.in_flight < most))
    }

    /// Whether any endpoint has a bound.
    pub fn has_bounds(&self) -> bool {
        self.bounded > 0
    }

    /// Requests in flight at `endpoint`, as far as this worker knows.
    pub fn in_flight(&self, endpoint: usize) -> u32 {
        self.endpoints.get(endpoint).map_or(0, |e| e.in_flight)
    }

    /// The tick has read the exact count of `endpoint`, this worker's own requests included.
    pub fn sync_in_flight(&mut self, endpoint: usize, exact: u64) {
        if let Some(endpoint) = self.endpoints.get_mut(endpoint) {
            endpoint.in_flight = u32::try_from(exact).unwrap_or(u32::MAX);
        }
    }

    /// This worker has sent a request to `endpoint` other than by a pick: a retry.
    pub fn on_claim(&mut self, endpoint: usize) {
        if let Some(endpoint) = self.endpoints.get_mut(endpoint) {
            endpoint.in_flight = endpoint.in_flight.saturating_add(1);
        }
    }

    /// A request of this worker's has left `endpoint`, well or not.
    pub fn on_release(&mut self, endpoint: usize) {
        if let Some(endpoint) = self.endpoints.get_mut(endpoint) {
            endpoint.in_flight = endpoint.in_flight.saturating_sub(1);
        }
    }

    /// A good answer from `endpoint` began, `first_byte` after the request was sent.
    ///
    /// Never for a failure, however fast: that is [`View::on_failure`].
    pub fn on_first_byte(&mut self, endpoint: usize, first_byte: Duration, now: Instant) {
        if let Some(endpoint) = self.endpoints.get_mut(endpoint) {
            endpoint.first_byte.learn(first_byte, Mean::OWN_WINDOW, now);
            self.first_byte.learn(first_byte, Mean::POOL_WINDOW, now);
        }
    }

    /// `endpoint` has answered in full: half of its penalty is forgiven.
    pub fn on_answer(&mut self, endpoint: usize) {
        if let Some(endpoint) = self.endpoints.get_mut(endpoint) {
            endpoint.penalty.on_answer();
        }
    }

    /// `endpoint` has failed a request: it counts as busier, twice as much as before. O(n), as failures are rare.
    pub fn on_failure(&mut self, endpoint: usize, now: Instant) {
        let usual = self.total_in_flight() as f32 / self.endpoints.len().max(1) as f32;
        if let Some(endpoint) = self.endpoints.get_mut(endpoint) {
            endpoint.penalty.on_failure(usual, now);
        }
    }

    /// What was learned of `endpoint`, if anything was.
    pub fn experience(&self, endpoint: usize) -> Option<Experience> {
        let Endpoint {
            penalty,
            first_byte,
            ..
        } = *self.endpoints.get(endpoint)?;
        let known = !penalty.is_empty() || !first_byte.is_empty();
        known.then_some(Experience {
            penalty,
            first_byte,
            pool: self.first_byte,
        })
    }

    /// Goes on with what was learned of `endpoint` in another view of its pool.
    pub fn restore(&mut self, endpoint: usize, experience: Experience) {
        if let Some(endpoint) = self.endpoints.get_mut(endpoint) {
            endpoint.penalty = experience.penalty;
            endpoint.first_byte = experience.first_byte;
            self.first_byte = experience.pool;
        }
    }

    pub(super) fn set_weight(&mut self, number: usize, weight: Weight, share: Share) {
        let Some(endpoint) = self.endpoints.get_mut(number) else {
            return;
        };
        let old = endpoint.pull();
        (endpoint.weight, endpoint.share) = (weight, share);
        self.total_pull = self
            .total_pull
            .saturating_sub(old.into())
            .saturating_add(endpoint.pull().into());
        let number = number as u32;
        match self.candidates.binary_search(&number) {
            Ok(place) if weight.is_drained() => drop(self.candidates.remove(place)),
            Err(place) if !weight.is_drained() => self.candidates.insert(place, number),
            _ => {}
        }
    }

    /// The numbers of those that may be chosen, ascending.
    pub(super) fn candidates(&self) -> &[u32] {
        &self.candidates
    }

    pub(super) fn endpoint(&self, number: u32) -> Option<&Endpoint> {
        self.endpoints.get(number as usize)
    }

    /// Takes over the exact count of `endpoint`, if the host can tell it.
    pub(super) fn refresh(&mut self, endpoint: usize, gauges: &mut dyn Gauges) {
        if let Some(exact) = gauges.in_flight(endpoint) {
            self.sync_in_flight(endpoint, exact);
        }
    }

    /// Requests in flight in the pool as far as this worker knows. O(n): for want of the exact one.
    pub fn total_in_flight(&self) -> u64 {
        self.endpoints
            .iter()
            .map(|endpoint| u64::from(endpoint.in_flight))
            .sum()
    }

    pub(super) fn total_pull(&self) -> u64 {
        self.total_pull
    }

    /// The mean time to first byte over the whole pool.
    pub(super) fn first_byte(&self) -> &Mean {
        &self.first_byte
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn candidates_and_their_weight_follow_every_change(
            changes in prop::collection::vec((0..12usize, 0..=1000u16), 0..60),
        ) {
            let mut view = View::new([("a", Weight::DEFAULT); 10]);
            for (endpoint, weight) in changes {
                view.set_weight(endpoint, Weight::new(weight % 4 * 250).unwrap(), Share::new(100 + weight % 901));
                let expected: Vec<u32> =
                    (0..10).filter(|&e| !view.weight(e as usize).is_drained()).collect();
                prop_assert_eq!(view.candidates(), &expected);
                let sum: u64 = (0..10).map(|e| u64::from(view.pull(e))).sum();
                prop_assert_eq!(view.total_pull(), sum);
            }
        }
    }

    #[test]
    fn what_concerns_an_endpoint_that_is_gone_is_ignored() {
        let mut view = View::new([("a", Weight::DEFAULT)]);
        view.on_claim(7);
        view.on_release(7);
        view.on_release(0);
        view.on_failure(7, Instant::default());
        view.sync_in_flight(7, 3);
        assert_eq!((view.in_flight(7), view.in_flight(0)), (0, 0));
        assert_eq!(view.address(7), None);
    }
}
