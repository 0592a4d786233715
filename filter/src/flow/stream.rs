//! One request and its response, from the first header to the end.

use crate::answer::{Fault, OpeningReader, Relay, UsageReader};
use crate::balance::Order;
use crate::config::{ModelId, PoolId, RouteId};
use crate::health::Caller;
use crate::report::decision::DroppedBy;
use crate::values::clock::Instant;
use crate::values::units::Tokens;

use super::quota::Reservation;
use super::request::Asked;
use super::retries::Hides;

/// One request and its response.
///
/// Whoever drives it calls [`Stream::on_end`] exactly once, however the stream ends: that is what takes
/// the request out of the in-flight counts.
pub struct Stream {
    /// Its name in the worker.
    pub(super) id: u32,
    /// What the headers asked for; there until the request is decided.
    pub(super) asked: Option<Asked>,
    /// Where the request went; there from the decision to the end.
    pub(super) placed: Option<Placed>,
    /// Whether the caller may see the decision.
    pub(super) shown: bool,
}

impl Stream {
    /// A stream of a name that no other of the worker has.
    pub fn new(id: u32) -> Stream {
        Stream {
            id,
            asked: None,
            placed: None,
            shown: false,
        }
    }
}

/// A request that was sent to an endpoint.
pub(super) struct Placed {
    pub(super) route: RouteId,
    pub(super) pool: PoolId,
    /// The endpoints in the order they are tried; the first is the choice.
    pub(super) order: Order,
    /// The endpoint that carries the request in the in-flight counts.
    pub(super) carrier: usize,
    /// Input tokens that still wait at the carrier for the answer to begin.
    pub(super) waiting: u32,
    /// The probe's token, if the first endpoint is asked whether it is back.
    pub(super) probe: Option<u32>,
    /// Whether the carrier has been judged by it.
    pub(super) judged: bool,
    /// Who sent it, if its headers tell.
    pub(super) caller: Option<Caller>,
    /// Requests in flight at the carrier, this one included, when it was placed there.
    pub(super) in_flight: u32,
    /// Whether the carrier is known to have carried nothing else then.
    pub(super) alone: bool,
    /// What a retry hides, beside failures.
    pub(super) hides: Hides,
    /// When it was sent first.
    pub(super) sent: Instant,
    /// Whether more than one endpoint was tried, or may have been.
    pub(super) retried: bool,
    pub(super) input: Option<Tokens>,
    pub(super) output: Option<Tokens>,
    /// Whether more than one answer was asked for.
    pub(super) several: bool,
    pub(super) dropped: Vec<(PoolId, DroppedBy)>,
    /// Collects what the response says of the prompt's length.
    pub(super) learning: Option<Learning>,
    /// What limits it has taken from, where there are any.
    pub(super) reserved: Option<Box<Reservation>>,
    /// Whether usage was asked for that the caller did not ask for.
    pub(super) unasked_usage: bool,
    /// Counts the response, and changes it where it has to be; there from its headers on, if it is needed.
    pub(super) relay: Option<Box<Relay>>,
    /// Whether its method is `CONNECT`.
    pub(super) connects: bool,
    /// The response's status, once there is one; of a stream that failed before it began its
    /// error's.
    pub(super) status: Option<u16>,
    /// How far the answer has come to begin.
    pub(super) beginning: Beginning,
    /// Whether the whole of the response has come.
    pub(super) complete: bool,
}

/// How far an answer has come to begin.
#[derive(Default)]
pub(super) struct Beginning {
    /// Whether it has begun, or failed before.
    pub(super) begun: bool,
    /// Reads a stream until that is known.
    pub(super) opening: Option<Box<OpeningReader>>,
    /// The error that stands in a stream instead of an answer.
    pub(super) fault: Option<Fault>,
    /// Whether the worker watches how long that takes.
    pub(super) timed: bool,
}

impl Placed {
    /// Whether anything reads the response's body.
    pub(super) fn reads_response(&self) -> bool {
        self.beginning.opening.is_some() || self.learning.is_some() || self.relay.is_some()
    }
}

/// An estimate that waits for the truth.
pub(super) struct Learning {
    pub(super) models: [Option<ModelId>; 2],
    pub(super) estimated: Tokens,
    pub(super) usage: UsageReader,
}
