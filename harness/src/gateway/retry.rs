//! When a request goes to the next endpoint: the route's policy, and what a filter orders for one request.
//!
//! The orders are the request headers that Envoy's router consumes, and the rules are those of its
//! `RetryStateImpl`: the reasons in `x-envoy-retry-on` are added to the route's, the number in
//! `x-envoy-max-retries` takes the place of the route's. So a filter written for Envoy is obeyed here in
//! the same words. None of these headers goes upstream.

use std::time::Duration;

use http::{HeaderMap, HeaderName, Response};

use super::pool::AttemptError;
use crate::host::Headers;

const RETRY_ON: &str = "x-envoy-retry-on";
const MAX_RETRIES: &str = "x-envoy-max-retries";
const STATUS_CODES: &str = "x-envoy-retriable-status-codes";
const PER_TRY_TIMEOUT: &str = "x-envoy-upstream-rq-per-try-timeout-ms";

/// What a filter orders with. Of clients, only one on this machine is believed to be a filter's.
const ORDERS: [&str; 4] = [RETRY_ON, MAX_RETRIES, STATUS_CODES, PER_TRY_TIMEOUT];

/// A response with this header comes from an Envoy that limits rates: it means what it says.
const RATE_LIMITED: &str = "x-envoy-ratelimited";

/// Reasons to repeat a request, as Envoy names them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetryOn {
    /// `5xx`: any such status, and every attempt that brought none.
    pub server_error: bool,
    /// `gateway-error`: 502, 503, 504, and every attempt that brought no status.
    pub gateway_error: bool,
    /// `reset`: every attempt that brought no status.
    pub reset: bool,
    /// `connect-failure`: no connection, or not in time.
    pub connect_failure: bool,
    /// `retriable-4xx`: 409.
    pub conflict: bool,
    /// `retriable-status-codes`: those that the request lists.
    pub listed: bool,
}

impl RetryOn {
    /// What Junheng's configuration of Envoy gives its route: whatever has brought no response yet. A
    /// response, whatever its status, is none: a generation that a client may be paying for is not
    /// started twice unless a filter says so.
    pub const UNANSWERED: RetryOn = RetryOn {
        server_error: false,
        gateway_error: false,
        reset: true,
        connect_failure: true,
        conflict: false,
        listed: false,
    };

    /// Adds the reasons that `list` names, separated by commas. `refused-stream` cannot happen over
    /// HTTP/1.1; it is ignored, as names that nobody knows are.
    fn add(&mut self, list: &str) {
        for name in list.split(',') {
            match name.trim() {
                "5xx" => self.server_error = true,
                "gateway-error" => self.gateway_error = true,
                "reset" => self.reset = true,
                "connect-failure" => self.connect_failure = true,
                "retriable-4xx" => self.conflict = true,
                "retriable-status-codes" => self.listed = true,
                _ => {}
            }
        }
    }
}

/// How often and why one request is repeated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// The reasons.
    pub on: RetryOn,
    /// Attempts after the first.
    pub retries: u32,
    /// How long an attempt may take from its connection and the request's end to the response's headers.
    pub per_try_timeout: Option<Duration>,
    statuses: Vec<u16>,
}

impl Policy {
    /// The policy of a route.
    pub fn new(on: RetryOn, retries: u32) -> Policy {
        Policy {
            on,
            retries,
            ..Policy::default()
        }
    }

    /// The route's policy with what the headers of `request` order. What cannot be read orders nothing.
    pub fn ordered_by(mut self, request: &Headers) -> Policy {
        if let Some(list) = request.text(RETRY_ON) {
            self.on.add(list);
        }
        if let Some(retries) = number(request, MAX_RETRIES) {
            self.retries = retries;
        }
        if let Some(list) = request.text(STATUS_CODES) {
            self.statuses = list.split(',').flat_map(|s| s.trim().parse()).collect();
        }
        let patience = number(request, PER_TRY_TIMEOUT).filter(|millis| *millis > 0);
        self.per_try_timeout = patience.map(|millis| Duration::from_millis(millis.into()));
        self
    }

    /// Whether an attempt that failed so is to be repeated.
    pub fn covers_error(&self, error: AttemptError) -> bool {
        let on = self.on;
        let connecting = matches!(error, AttemptError::Refused | AttemptError::ConnectTimeout);
        on.reset || on.server_error || on.gateway_error || on.connect_failure && connecting
    }

    /// Whether this response is to be dropped and its request repeated.
    pub fn covers_response(&self, response: &Response<impl Sized>) -> bool {
        let (on, status) = (self.on, response.status().as_u16());
        let covered = match status {
            409 if on.conflict => true,
            502..=504 if on.gateway_error => true,
            500..=599 if on.server_error => true,
            _ => on.listed && self.statuses.contains(&status),
        };
        covered && !response.headers().contains_key(RATE_LIMITED)
    }
}

/// Takes the orders out of what goes upstream.
pub fn consume(headers: &mut HeaderMap) {
    for name in ORDERS {
        headers.remove(name);
    }
}

/// Whether a header is an order to the proxy, which no stranger may give.
pub fn is_order(name: &HeaderName) -> bool {
    ORDERS.contains(&name.as_str())
}

fn number(request: &Headers, name: &str) -> Option<u32> {
    request.text(name)?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ordered(orders: &[(&str, &str)]) -> Policy {
        let request = Headers::from_iter(orders.iter().copied());
        Policy::new(RetryOn::default(), 1).ordered_by(&request)
    }

    fn response(status: u16) -> Response<()> {
        Response::builder().status(status).body(()).unwrap()
    }

    #[test]
    fn each_reason_covers_what_it_covers_in_envoy() {
        use AttemptError::{ConnectTimeout, PerTryTimeout, Protocol, Refused, Reset};
        let connecting = &[Refused, ConnectTimeout][..];
        let all = &[Refused, ConnectTimeout, Reset, Protocol, PerTryTimeout][..];
        let cases: [(&str, &[AttemptError], &[u16]); 8] = [
            ("5xx", all, &[500, 502, 503, 504, 529]),
            ("gateway-error", all, &[502, 503, 504]),
            ("reset", all, &[]),
            ("connect-failure", connecting, &[]),
            ("refused-stream", &[], &[]),
            ("retriable-4xx", &[], &[409]),
            ("nonsense, retriable-status-codes", &[], &[404, 429]),
            ("Reset,5XX", &[], &[]),
        ];
        for (list, errors, statuses) in cases {
            let policy = ordered(&[(RETRY_ON, list), (STATUS_CODES, "429, 404,x")]);
            for error in all {
                let covered = policy.covers_error(*error);
                assert_eq!(covered, errors.contains(error), "{list}: {error:?}");
            }
            for status in [200, 302, 404, 409, 429, 500, 502, 503, 504, 529] {
                let covered = policy.covers_response(&response(status));
                assert_eq!(covered, statuses.contains(&status), "{list}: {status}");
            }
        }
    }

    #[test]
    fn reasons_add_up_and_a_number_takes_the_place_of_the_routes() {
        let route = Policy::new(RetryOn::UNANSWERED, 2);
        let request = Headers::from([(RETRY_ON, "5xx"), (MAX_RETRIES, "0")]);
        let policy = route.clone().ordered_by(&request);
        assert!(policy.on.connect_failure && policy.on.reset && policy.on.server_error);
        assert_eq!(policy.retries, 0);
        let nonsense = Headers::from([(MAX_RETRIES, "many"), (PER_TRY_TIMEOUT, "0")]);
        assert_eq!(route.clone().ordered_by(&nonsense), route);
    }

    #[test]
    fn what_another_proxy_limits_is_not_repeated() {
        let mut limited = response(503);
        limited
            .headers_mut()
            .insert(RATE_LIMITED, http::HeaderValue::from_static("true"));
        assert!(!ordered(&[(RETRY_ON, "5xx")]).covers_response(&limited));
    }
}
