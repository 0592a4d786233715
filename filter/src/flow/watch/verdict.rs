//! What requests show of endpoints.

use std::time::Duration;

use crate::health::{Caller, Proof};
use crate::values::clock::Instant;

use crate::flow::retries::Hides;

/// What a request has shown of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::flow) enum Verdict {
    /// It answers.
    Good,
    /// It failed, with this status; 0 where there was none.
    Bad(Proof, u16),
    /// Another endpoint served it after a retry.
    Hidden,
    /// It has too much to do, and said for how long or did not.
    Overloaded(Option<Duration>),
    /// It has answered 429: it has too much to do, or its caller asks too often.
    Limited(Option<Duration>),
    /// Nothing: its caller left before, the proxy did not send it, or it failed elsewhere as well.
    /// Of use for a probe only.
    Nothing,
}

/// A request that has come to the point where it shows something of its endpoint.
#[derive(Clone, Copy, Debug)]
pub(in crate::flow) struct Seen {
    /// What it shows.
    pub verdict: Verdict,
    /// The probe's token, if it was one.
    pub probe: Option<u32>,
    /// When it was sent.
    pub sent: Instant,
    /// Who sent it, if that is known without asking the host.
    pub caller: Option<Caller>,
    /// Requests in flight at the endpoint, this one included, when it was sent.
    pub in_flight: u32,
    /// Whether the endpoint carried nothing else then, in any worker.
    pub alone: bool,
    /// What a retry hides, beside failures.
    pub hides: Hides,
}
