//! A request's attempts: which endpoints, in which order, and when to give up.
//!
//! What is repeated, and how often, the [`Policy`] says: the route's, with what the request itself
//! orders. An attempt goes to the next endpoint at once: another machine is nothing to wait for.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;

use http::{Response, StatusCode};
use hyper::body::{Body, Incoming};

use super::clusters::Plan;
use super::feed::Feed;
use super::pool::{AttemptError, Lease};
use super::retry::Policy;
use super::stream::Refusal;
use super::worker::Worker;
use super::{fields, retry};
use crate::host::Headers;

/// The endpoints to try, best first, as the Gateway API's endpoint picker protocol names the header.
pub const DESTINATION: &str = "x-gateway-destination-endpoint";

/// A response, or what to say instead.
pub type Outcome = Result<(Response<Incoming>, Lease), Refusal>;

/// An attempt that begins.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// The first is 1.
    pub number: u64,
    /// The endpoint.
    pub address: SocketAddr,
    /// Its cluster.
    pub cluster: &'a str,
}

/// Sends the request that `request` describes to the cluster that its headers choose; `tell` hears of
/// every attempt.
pub async fn exchange(
    worker: &Worker,
    request: &Headers,
    feed: &Rc<Feed>,
    tell: &dyn Fn(Attempt<'_>),
) -> Outcome {
    let options = &worker.shared.options;
    let cluster = request
        .text(&options.cluster_header)
        .or(options.default_cluster.as_deref());
    let cluster = cluster.and_then(|name| options.clusters.get_key_value(name));
    let (name, endpoints) = cluster.ok_or_else(|| unavailable("", "cluster_not_found"))?;
    let policy = Policy::new(options.retry_on, options.retries);
    exchange_with(worker, name, endpoints, request, feed, policy, tell).await
}

/// Sends a request to one of `endpoints`, and to others as `policy` and the request's own orders say.
pub async fn exchange_with(
    worker: &Worker,
    cluster: &str,
    endpoints: &[SocketAddr],
    request: &Headers,
    feed: &Rc<Feed>,
    policy: Policy,
    tell: &dyn Fn(Attempt<'_>),
) -> Outcome {
    let mut head = fields::to_request(request).ok_or_else(|| {
        let details = "filter_removed_required_request_headers";
        Refusal::new(StatusCode::BAD_REQUEST, "Bad Request", details)
    })?;
    retry::consume(&mut head.headers);
    let policy = policy.ordered_by(request);
    let counters = &worker.shared.counters;
    let plan = Plan::new(endpoints, request.text(DESTINATION), &worker.turn);
    for (address, number) in plan.zip(1..) {
        tell(Attempt {
            number,
            address,
            cluster,
        });
        counters.upstream_requests.fetch_add(1, Relaxed);
        counters
            .upstream_retries
            .fetch_add(u64::from(number > 1), Relaxed);
        let sent = worker
            .pool
            .send(address, &head, feed, policy.per_try_timeout)
            .await;
        let covered = match &sent {
            Ok((response, _)) => policy.covers_response(response),
            Err(error) => {
                counters.upstream_failures.fetch_add(1, Relaxed);
                policy.covers_error(*error)
            }
        };
        if !covered || number > u64::from(policy.retries) || !feed.replayable() {
            return sent.map_err(|error| refusal(error, number));
        }
        // Unread bodies are not worth reading: dropping one closes its connection.
        if let Ok((response, lease)) = sent
            && response.body().is_end_stream()
        {
            lease.give_back();
        }
    }
    Err(unavailable("no healthy upstream", "no_healthy_upstream"))
}

fn refusal(error: AttemptError, attempts: u64) -> Refusal {
    let reason = error.reason();
    if error == AttemptError::PerTryTimeout {
        return Refusal::new(StatusCode::GATEWAY_TIMEOUT, reason, error.details());
    }
    let how = if attempts > 1 {
        "retried and the latest reset reason"
    } else {
        "reset reason"
    };
    let status = match error {
        AttemptError::Protocol => StatusCode::BAD_GATEWAY,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    Refusal::new(
        status,
        format!("upstream connect error or disconnect/reset before headers. {how}: {reason}"),
        format!(
            "upstream_reset_before_response_started{{{}}}",
            error.details()
        ),
    )
}

fn unavailable(text: &'static str, details: &'static str) -> Refusal {
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, text, details)
}
