//! What a flow wants done with a request.

use crate::load::orca;

pub use super::refusal::Refusal;

/// What to do with a request now.
#[derive(Debug)]
pub enum Verdict {
    /// Hold it until the body is complete.
    Hold,
    /// Send it on.
    Forward(Forward),
    /// Answer it.
    Refuse(Refusal),
}

/// How to send a request on.
#[derive(Debug)]
pub struct Forward {
    /// Request headers to set, replacing what is there.
    pub headers: Vec<(&'static str, String)>,
    /// Request headers to remove.
    pub removed: Vec<String>,
    /// The body to send instead of the one that came.
    pub body: Option<Vec<u8>>,
}

/// Upstream: `ip:port[,ip:port…]`, first choice first, then where retries go.
pub const DESTINATION: &str = "x-gateway-destination-endpoint";
/// Upstream: the proxy's cluster that holds the destination.
pub const CLUSTER: &str = "x-junheng-cluster";
/// Upstream: the pool.
pub const POOL: &str = "x-junheng-pool";
/// Upstream: the first choice's weight.
pub const WEIGHT: &str = "x-junheng-weight";
/// To Envoy, which takes it out: after what to try the next destination.
pub const RETRY_ON: &str = "x-envoy-retry-on";
/// To Envoy: how often.
pub const MAX_RETRIES: &str = "x-envoy-max-retries";
/// To Envoy: further statuses after which to try the next one.
pub const RETRIABLE_STATUS: &str = "x-envoy-retriable-status-codes";
/// To Envoy: milliseconds in which an answer must begin.
pub const TRY_TIMEOUT: &str = "x-envoy-upstream-rq-per-try-timeout-ms";
/// Downstream: how the endpoint was chosen.
pub const DECISION: &str = "x-junheng-decision";

/// What Envoy's router is told of time: a client that sets a millisecond for its answer makes a failure of every endpoint.
/// In responses Envoy itself writes such headers.
const UPSTREAM: &str = "x-envoy-upstream-";

/// Whether a client's header of this name is removed: it speaks in our name, or tells Envoy's router how to try endpoints
/// and how long.
pub fn is_ours(name: &[u8]) -> bool {
    // Few other names have such a third byte, and most names are looked at no further.
    if !matches!(
        name,
        [
            b'x' | b'X',
            b'-',
            b'e' | b'E' | b'g' | b'G' | b'j' | b'J',
            ..
        ]
    ) {
        return false;
    }
    let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
    starts(name, "x-junheng-")
        || is(DESTINATION)
        || starts(name, "x-envoy-retr")
        || is(MAX_RETRIES)
        || starts(name, UPSTREAM)
        || is("x-envoy-hedge-on-per-try-timeout")
        || is("x-envoy-expected-rq-timeout-ms")
}

/// Whether a response's header of this name is kept from the client: it is from an endpoint to us, or would
/// speak in our name.
pub fn is_for_us(name: &[u8]) -> bool {
    (is_ours(name) && !starts(name, UPSTREAM))
        || name.eq_ignore_ascii_case(orca::HEADER.as_bytes())
        || name.eq_ignore_ascii_case(orca::HEADER_BIN.as_bytes())
}

// Inlined, the comparison is unrolled for each prefix: 3 KB of the artifact.
#[inline(never)]
fn starts(name: &[u8], prefix: &str) -> bool {
    name.get(..prefix.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
}
