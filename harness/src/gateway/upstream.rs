//! A request's attempts: which endpoints, in which order, and when to give up.
//!
//! An attempt that brought no response (refused, timed out at connecting, reset before the headers)
//! is repeated at the next endpoint. A response, whatever its status, never is: a generation that a
//! client may already be paying for is not started twice.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;

use http::{Response, StatusCode};
use hyper::body::Incoming;

use super::clusters::Plan;
use super::feed::Feed;
use super::fields;
use super::pool::{AttemptError, Lease};
use super::stream::Refusal;
use super::worker::Worker;
use crate::host::Headers;

/// The endpoints to try, best first, as the Gateway API's endpoint picker protocol names the header.
pub const DESTINATION: &str = "x-gateway-destination-endpoint";

/// How a request fared.
pub struct Outcome {
    /// The response, or what to say instead.
    pub result: Result<(Response<Incoming>, Lease), Refusal>,
    /// The endpoint of the last attempt.
    pub address: Option<SocketAddr>,
    /// How many attempts there were.
    pub attempts: u64,
    /// The cluster, if it was known.
    pub cluster: Option<String>,
}

/// Sends the request that `request` describes to the cluster that its headers choose.
pub async fn exchange(worker: &Worker, request: &Headers, feed: &Rc<Feed>) -> Outcome {
    let options = &worker.shared.options;
    let cluster = request
        .text(&options.cluster_header)
        .or(options.default_cluster.as_deref());
    let Some((name, endpoints)) = cluster.and_then(|name| options.clusters.get_key_value(name))
    else {
        return Outcome::none(None, Refusal::new(StatusCode::SERVICE_UNAVAILABLE, ""));
    };
    exchange_with(worker, name, endpoints, request, feed, options.retries).await
}

/// Sends a request to one of `endpoints`, with at most `retries` further attempts.
pub async fn exchange_with(
    worker: &Worker,
    cluster: &str,
    endpoints: &[SocketAddr],
    request: &Headers,
    feed: &Rc<Feed>,
    retries: u32,
) -> Outcome {
    let cluster = Some(cluster.to_owned());
    let Some(head) = fields::to_request(request) else {
        return Outcome::none(
            cluster,
            Refusal::new(StatusCode::BAD_REQUEST, "Bad Request"),
        );
    };
    let counters = &worker.shared.counters;
    let plan = Plan::new(endpoints, request.text(DESTINATION), &worker.turn);
    let (mut last, mut attempts) = (None, 0);
    for address in plan.take(retries as usize + 1) {
        attempts += 1;
        counters.upstream_requests.fetch_add(1, Relaxed);
        counters
            .upstream_retries
            .fetch_add(u64::from(attempts > 1), Relaxed);
        match worker.pool.send(address, &head, feed).await {
            Ok(response) => {
                return Outcome {
                    result: Ok(response),
                    address: Some(address),
                    attempts,
                    cluster,
                };
            }
            Err(error) => last = Some((address, error)),
        }
        counters.upstream_failures.fetch_add(1, Relaxed);
        if !feed.replayable() {
            break;
        }
    }
    match last {
        None => Outcome::none(
            cluster,
            Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "no healthy upstream"),
        ),
        Some((address, error)) => Outcome {
            result: Err(refusal(error, attempts)),
            address: Some(address),
            attempts,
            cluster,
        },
    }
}

impl Outcome {
    fn none(cluster: Option<String>, refusal: Refusal) -> Outcome {
        Outcome {
            result: Err(refusal),
            address: None,
            attempts: 0,
            cluster,
        }
    }
}

fn refusal(error: AttemptError, attempts: u64) -> Refusal {
    let how = if attempts > 1 {
        "retried and the latest reset reason"
    } else {
        "reset reason"
    };
    let text = format!(
        "upstream connect error or disconnect/reset before headers. {how}: {}",
        error.reason()
    );
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, text)
}
