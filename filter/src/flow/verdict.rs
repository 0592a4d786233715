//! What a flow wants done with a request.

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
/// Downstream: how the endpoint was chosen.
pub const DECISION: &str = "x-junheng-decision";

/// Whether a client's header of this name is removed: it speaks in our name.
pub fn is_ours(name: &[u8]) -> bool {
    let starts = |prefix: &str| {
        name.get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
    };
    starts("x-junheng-") || name.eq_ignore_ascii_case(DESTINATION.as_bytes())
}
