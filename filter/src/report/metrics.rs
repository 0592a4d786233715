//! The names of the host's metrics.
//!
//! A host never frees a name, so each comes from the configuration or from a fixed list, never from a
//! request. Pool names cannot hold a dot and addresses are canonical, so that a proxy's tag rules can
//! take the names apart again.

/// Gauge: requests in flight at an endpoint, over all workers.
pub fn endpoint_in_flight(pool: &str, address: &str) -> String {
    format!("junheng.endpoint.{pool}.{address}.in_flight")
}

/// Gauge: input tokens of requests whose answers have not begun at an endpoint, over all workers.
pub fn endpoint_waiting(pool: &str, address: &str) -> String {
    format!("junheng.endpoint.{pool}.{address}.waiting_tokens")
}

/// Counter: requests that an endpoint answered well and in full; 4xx are none.
pub fn endpoint_answered(pool: &str, address: &str) -> String {
    format!("junheng.endpoint.{pool}.{address}.answered")
}

/// Counter: how often an endpoint was left out for its failures, bad probes included.
pub fn endpoint_trips(pool: &str, address: &str) -> String {
    format!("junheng.endpoint.{pool}.{address}.trips")
}

/// Gauge: where an endpoint stands: 0 admitting, 1 ramping (or tripped and spared), 2 probing, 3
/// tripped, 4 resting, 5 unhealthy.
pub fn endpoint_state(pool: &str, address: &str) -> String {
    format!("junheng.endpoint.{pool}.{address}.state")
}

/// Gauge: why an endpoint does not take its whole traffic: 0 it does, 1 failures in a row, 2 the
/// share of failures, 3 `max_fails`, 4 a failed probe, 5 failed checks, 6 overload.
pub fn endpoint_reason(pool: &str, address: &str) -> String {
    format!("junheng.endpoint.{pool}.{address}.reason")
}

/// Gauge: the most requests in flight at an endpoint that has refused some for overload; 0 without
/// a bound.
pub fn endpoint_bound(pool: &str, address: &str) -> String {
    format!("junheng.endpoint.{pool}.{address}.in_flight_bound")
}

/// Gauge: what an endpoint weighs by its load, before health and ramp.
pub fn endpoint_weight(pool: &str, address: &str) -> String {
    format!("junheng.endpoint.{pool}.{address}.weight")
}

/// Counter: how often something was agreed on anew that all workers go by: standings and weights.
pub const CHANGES: &str = "junheng.fleet.changes";

/// Gauge: requests in flight in a pool that hashes, over all workers.
pub fn pool_in_flight(pool: &str) -> String {
    format!("junheng.pool.{pool}.in_flight")
}

/// Counter: requests answered by a pool, by the class of their status.
pub fn pool_requests(pool: &str, class: StatusClass) -> String {
    format!("junheng.pool.{pool}.requests_{}", class.name())
}

/// Counter: estimated input tokens sent to a pool.
pub fn pool_input_tokens(pool: &str) -> String {
    format!("junheng.pool.{pool}.input_tokens")
}

/// Counter: attempts of a pool's requests that failed before an answer and were retried elsewhere.
pub fn pool_retries(pool: &str) -> String {
    format!("junheng.pool.{pool}.retries")
}

/// Counter: load reports of a pool's endpoints (`endpoint-load-metrics`) that could not be read.
pub fn pool_refused_reports(pool: &str) -> String {
    format!("junheng.pool.{pool}.refused_load_reports")
}

/// Histogram: milliseconds from a decision to the beginning of the answer, which is the first event
/// with data of a stream, and the first byte of any other body.
pub fn pool_ttft(pool: &str) -> String {
    format!("junheng.pool.{pool}.ttft_ms")
}

/// Counter: requests that a limit refused.
pub fn quota_refused(limit: &str) -> String {
    format!("junheng.quota.{limit}.refused")
}

/// Counter: tokens that a limit charged, input and output.
pub fn quota_tokens(limit: &str) -> String {
    format!("junheng.quota.{limit}.tokens")
}

/// Counter: requests that a limit charged for by an estimate, as their answers did not say what they used.
pub fn quota_estimated(limit: &str) -> String {
    format!("junheng.quota.{limit}.estimated")
}

/// Counter: requests that a limit of the fleet decided by its `on_error`, as its engine did not answer.
pub fn quota_unasked(limit: &str) -> String {
    format!("junheng.quota.{limit}.unasked")
}

/// Counter: questions about limits of the fleet, reports of what was used included.
pub const ENGINE_ASKED: &str = "junheng.quota_engine.asked";

/// Counter: questions about limits of the fleet that were not answered.
pub const ENGINE_FAILED: &str = "junheng.quota_engine.failed";

/// Counter: requests refused, by the refusal's code.
pub fn refused(code: &str) -> String {
    format!("junheng.refused.{code}")
}

/// Counter: key sets asked for.
pub const KEY_FETCHES: &str = "junheng.identity.key_fetches";

/// Counter: key sets asked for that did not come, or were none.
pub const KEY_FETCHES_FAILED: &str = "junheng.identity.key_fetches_failed";

/// Counter: issuers asked about a token.
pub const INTROSPECTIONS: &str = "junheng.identity.introspections";

/// Counter: issuers asked about a token that gave no answer.
pub const INTROSPECTIONS_FAILED: &str = "junheng.identity.introspections_failed";

/// How a request ended, as far as its status tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusClass {
    /// Informational, success, redirect: below 400.
    Success,
    /// 400 to 499.
    ClientError,
    /// 500 and above.
    ServerError,
    /// A good answer that broke off: the client left, or the endpoint did.
    Cut,
    /// The stream ended before there was a status: the client left.
    None,
}

impl StatusClass {
    /// All of them, in the order of their discriminants.
    pub const ALL: [StatusClass; 5] = [
        StatusClass::Success,
        StatusClass::ClientError,
        StatusClass::ServerError,
        StatusClass::Cut,
        StatusClass::None,
    ];

    /// The class of `status`, where there is one, of an answer that is `complete` or broke off.
    pub const fn of(status: Option<u16>, complete: bool) -> StatusClass {
        match status {
            None => StatusClass::None,
            Some(..400) if !complete => StatusClass::Cut,
            Some(..400) => StatusClass::Success,
            Some(400..500) => StatusClass::ClientError,
            Some(500..) => StatusClass::ServerError,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            StatusClass::Success => "ok",
            StatusClass::ClientError => "4xx",
            StatusClass::ServerError => "5xx",
            StatusClass::Cut => "cut",
            StatusClass::None => "unanswered",
        }
    }
}
