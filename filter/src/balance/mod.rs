//! Choosing an endpoint: one file an algorithm, one trait.
//!
//! # What a decision may look at
//!
//! The exact number of requests in flight at an endpoint, over all workers, is a counter of the
//! host's. Reading one costs 0.2 µs, reading sixty-four of them more than everything else together.
//! So a decision looks at two things: at the worker's own [`View`] for all endpoints (its own steps
//! at once, the others' as of the last tick) and at the exact [`Gauges`] for the few that it is
//! about to choose. Views alone would herd, as each worker believes its own least loaded endpoint to
//! be free; exact gauges alone are too dear.
//!
//! A choice and its claim are one step here, not two: between "it has room" and "I take it" other
//! workers choose as well, and a bound that is checked first and counted later is no bound.
//!
//! # What a decision costs
//!
//! No allocation, and nothing that grows with the pool beyond a logarithm: sums are kept as weights
//! change, and above [`SCAN`] endpoints the best are sought among a random sample
//! (Mitzenmacher, "The Power of Two Choices in Randomized Load Balancing", 2001: with sixty-four
//! choices in place of two, a pool of 640 fills to within one request of even).

mod bounds;
mod consistent_hash;
mod endpoint;
mod least_connections;
mod order;
mod response_time;
mod ring;
mod round_robin;
mod shortlist;
mod tournament;
mod view;
mod weighted_round_robin;

#[cfg(test)]
mod world;

use crate::values::clock::Instant;
use crate::values::rng::Rng;
use crate::values::units::{Share, Weight};

pub use endpoint::Experience;
pub use order::Order;
pub use shortlist::SCAN;
pub use view::View;

/// How the endpoints of a pool are chosen among.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// One after the other; weights count only as drained or not.
    RoundRobin,
    /// In proportion to the weights, as evenly as can be.
    WeightedRoundRobin,
    /// The fewest requests in flight for its weight.
    LeastConnections,
    /// The smallest mean time to first byte × requests in flight, for its weight.
    ResponseTime,
    /// By a key, the same for the same key, unless that endpoint has more than its share.
    ConsistentHash,
}

/// What is asked of a balancer for one request.
#[derive(Clone, Copy, Debug)]
pub struct Ask {
    /// What [`Algorithm::ConsistentHash`] goes by, already hashed; without one it draws a key.
    pub key: Option<u64>,
    /// The time of the request.
    pub now: Instant,
    /// How many endpoints the order should name, the retries' included: 1 to [`Order::LONGEST`],
    /// and clamped to that.
    pub attempts: usize,
}

impl Ask {
    fn attempts(&self) -> usize {
        self.attempts.clamp(1, Order::LONGEST)
    }
}

/// The exact counts of requests in flight, over all workers, of one pool.
///
/// Endpoints are numbered as in the pool's [`View`].
pub trait Gauges {
    /// Requests in flight at `endpoint`; `None` if the host cannot tell, and the view stands.
    fn in_flight(&mut self, endpoint: usize) -> Option<u64>;

    /// Requests in flight in the pool: never less than its endpoints' counts together. `None` if
    /// the host cannot tell, and the view's sum stands.
    ///
    /// Only [`Algorithm::ConsistentHash`] asks. Kept as one more counter, which is raised before
    /// an endpoint's and lowered after it, it errs to the safe side while others are at work.
    fn total(&mut self) -> Option<u64>;

    /// Adds one request to `endpoint`; takes it back and returns false if that makes more than
    /// `at_most`. Always true without a bound, or where the host cannot tell.
    fn claim(&mut self, endpoint: usize, at_most: Option<u64>) -> bool;

    /// Takes one request of this worker's from `endpoint` again.
    fn release(&mut self, endpoint: usize);
}

/// One pool as one worker balances it: the endpoints as it sees them, and an algorithm.
pub struct Pool {
    view: View,
    balancer: Box<dyn Balancer>,
}

impl Pool {
    /// A pool of `endpoints` (address and weight), numbered in their order.
    ///
    /// `rng` gives each worker a phase of its own; without it they would all start at the first.
    pub fn new<'a>(
        algorithm: Algorithm,
        endpoints: impl IntoIterator<Item = (&'a str, Weight)>,
        rng: &mut Rng,
    ) -> Pool {
        let view = View::new(endpoints);
        let balancer: Box<dyn Balancer> = match algorithm {
            Algorithm::RoundRobin => Box::new(round_robin::RoundRobin::new(&view, rng)),
            Algorithm::WeightedRoundRobin => {
                Box::new(weighted_round_robin::WeightedRoundRobin::new(&view, rng))
            }
            Algorithm::LeastConnections => Box::new(least_connections::LeastConnections),
            Algorithm::ResponseTime => Box::new(response_time::ResponseTime),
            Algorithm::ConsistentHash => Box::new(consistent_hash::ConsistentHash::new(&view)),
        };
        Pool { view, balancer }
    }

    /// Chooses an endpoint, claims it in the gauges and in the view, and names where retries go.
    ///
    /// Empty when every endpoint is drained or at its bound, or when a bound was lost to other
    /// workers eight times in a row. The claim is the caller's to release, in the gauges and by
    /// [`View::on_release`].
    pub fn pick(&mut self, ask: &Ask, gauges: &mut dyn Gauges, rng: &mut Rng) -> Order {
        let order = self.balancer.pick(&mut self.view, ask, gauges, rng);
        match self.view.has_bounds() {
            true => bounds::keep(&mut self.view, order, ask, gauges, rng),
            false => order,
        }
    }

    /// Changes what `endpoint` weighs, from the next decision on, and which share of the traffic that its
    /// weight brings is let through to it.
    pub fn set_weight(&mut self, endpoint: usize, weight: Weight, share: Share) {
        self.view.set_weight(endpoint, weight, share);
        self.balancer.on_weight(&self.view, endpoint);
    }

    /// The endpoints as this worker sees them.
    pub fn view(&self) -> &View {
        &self.view
    }

    /// The same, to tell it what happened.
    pub fn view_mut(&mut self) -> &mut View {
        &mut self.view
    }
}

/// An algorithm, with what it has to remember between two decisions.
trait Balancer {
    /// As [`Pool::pick`].
    fn pick(&mut self, view: &mut View, ask: &Ask, gauges: &mut dyn Gauges, rng: &mut Rng)
    -> Order;

    /// The weight of `endpoint`, or its share, has changed. For those who keep a schedule.
    fn on_weight(&mut self, _view: &View, _endpoint: usize) {}
}
