//! Requests that Junheng answers itself, in the shape that OpenAI's clients read:
//! `{"error":{"message","type","param","code"}}`.

use std::borrow::Cow;
use std::time::Duration;

use serde::Serialize;

use crate::identity::Denial;
use crate::quota::seconds;
use crate::request;
use crate::values::units::Tokens;

use super::watch::Absent;

/// An answer instead of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// What a program can go by; from a fixed list, as it names a metric.
    pub code: &'static str,
    /// The field of the request that is at fault.
    pub param: Option<String>,
    /// What is wrong and what would be right.
    pub message: Cow<'static, str>,
    /// Seconds after which it is worth to try again.
    pub retry_after: Option<u32>,
    /// More headers.
    pub headers: Vec<(&'static str, String)>,
}

impl Refusal {
    /// The body is not one that has exactly one meaning.
    pub(super) fn body(error: &request::Error) -> Refusal {
        Refusal {
            status: 400,
            code: error.code(),
            param: error.param().map(str::to_owned),
            message: error.to_string().into(),
            retry_after: None,
            headers: Vec::new(),
        }
    }

    /// The body is over the limit, whose bytes are given.
    pub(super) fn too_large(limit: usize) -> Refusal {
        let message = format!("The request body is over the limit of {limit} bytes.");
        Refusal::new(413, "request_too_large", message)
    }

    /// The path and the headers that rules look at are over the limit, whose bytes are given.
    pub(super) fn headers_too_large(limit: usize) -> Refusal {
        let message =
            format!("The path and the headers that requests are routed by are over {limit} bytes.");
        Refusal::new(431, "headers_too_large", message)
    }

    /// The body is compressed, and cannot be read.
    pub(super) fn encoded() -> Refusal {
        let message = "The request body is content-encoded; send it as plain JSON, without a Content-Encoding header.";
        Refusal::new(415, "unsupported_content_encoding", message)
    }

    /// No pool's context window holds the request.
    pub(super) fn too_long(input: Tokens, output: Option<Tokens>, largest: Tokens) -> Refusal {
        let output = output.map_or_else(String::new, |output| {
            format!(" and {output} tokens of output asked for")
        });
        let message = format!(
            "The largest context window for this model is {largest} tokens; this request has about {input} tokens of \
             input{output}. Shorten the input or ask for less output."
        );
        Refusal {
            param: Some("messages".into()),
            ..Refusal::new(400, "context_length_exceeded", message)
        }
    }

    /// A rule matched, and none of its pools serves the model, or no rule is for the model.
    pub(super) fn no_model(model: &str) -> Refusal {
        let message = format!("The model `{model}` does not exist or is not served here.");
        Refusal {
            param: Some("model".into()),
            ..Refusal::new(404, "model_not_found", message)
        }
    }

    /// No rule is for a request that names no model.
    pub(super) fn no_route() -> Refusal {
        Refusal::new(
            404,
            "no_route",
            "No rule routes requests like this one; check the method and the path.",
        )
    }

    /// Pools would do, but none has an endpoint.
    pub(super) fn no_endpoint(retry_after: Option<u32>, absent: &Absent, shown: bool) -> Refusal {
        let why = match shown {
            true => format!(" ({absent})"),
            false => String::new(),
        };
        let message =
            format!("No endpoint can take the request at the moment{why}; try again later.");
        let otherwise = match absent.overloaded {
            0 => NO_ENDPOINT_RETRY,
            _ => OVERLOADED_RETRY,
        };
        Refusal {
            retry_after: Some(retry_after.unwrap_or(otherwise)),
            ..Refusal::new(503, "no_endpoint", message)
        }
    }

    /// An upgrade where none is let through.
    pub(super) fn upgrade() -> Refusal {
        Refusal::new(
            403,
            "upgrade_refused",
            "Protocol upgrades are not let through here.",
        )
    }

    /// The host did not hand over what it promised.
    pub fn unreadable() -> Refusal {
        Refusal::new(
            500,
            "unreadable_request",
            "The proxy could not read the request; try again.",
        )
    }

    /// The caller may not do this, or has not shown who it is.
    pub(super) fn denied(denial: Denial) -> Refusal {
        let challenge = denial.authenticate;
        Refusal {
            retry_after: denial.retry_after,
            headers: challenge
                .map(|challenge| ("www-authenticate", challenge))
                .into_iter()
                .collect(),
            ..Refusal::new(denial.status, denial.code, denial.message)
        }
    }

    /// A limit is used up; it has room for the request after `wait`.
    pub(super) fn over_limit(limit: &str, unit: &str, wait: Duration) -> Refusal {
        let millis = wait.as_nanos().div_ceil(1_000_000);
        let message = format!(
            "The limit `{limit}` has no room for the {unit} of this request; try again in {millis} ms."
        );
        Refusal {
            retry_after: Some(u32::try_from(seconds(wait)).unwrap_or(u32::MAX).max(1)),
            headers: vec![("retry-after-ms", millis.to_string())],
            ..Refusal::new(429, "rate_limit_exceeded", message)
        }
    }

    /// A limit never has room for the request, which costs so many of a unit; `assumed` of them are for its output, where it
    /// declares no bound.
    pub(super) fn above_burst(
        limit: &str,
        (cost, unit): (u64, &str),
        assumed: Option<u32>,
        burst: u32,
    ) -> Refusal {
        let remedy = match assumed {
            Some(output) => format!(
                "It declares no bound on its output, for which {output} are reserved: declare one (`max_tokens`), or \
                 shorten the input"
            ),
            None => "Shorten the input or ask for less output".to_owned(),
        };
        let message = format!(
            "This request needs up to {cost} {unit}, input and output together, and the limit `{limit}` allows {burst} at \
             once. {remedy}; to try again is of no use."
        );
        Refusal {
            headers: vec![("x-should-retry", "false".to_owned())],
            ..Refusal::new(400, "request_above_limit", message)
        }
    }

    /// The proxy does not say what is left of a limit.
    pub(super) fn unknown_limit() -> Refusal {
        let message = "What is left of a limit cannot be read at the moment; try again.";
        Refusal {
            retry_after: Some(1),
            ..Refusal::new(503, "limit_unavailable", message)
        }
    }

    /// What the requests that are held take of the VM's memory leaves no room for another.
    pub(super) fn too_many_held() -> Refusal {
        let message = "Too many requests wait here for their bodies, or for an answer; try again.";
        Refusal {
            retry_after: Some(1),
            ..Refusal::new(503, "too_many_requests_held", message)
        }
    }

    fn new(status: u16, code: &'static str, message: impl Into<Cow<'static, str>>) -> Refusal {
        Refusal {
            status,
            code,
            param: None,
            message: message.into(),
            retry_after: None,
            headers: Vec::new(),
        }
    }

    /// The answer's body.
    pub fn json(&self) -> String {
        let kind = match self.status {
            429 => "rate_limit_error",
            400..500 => "invalid_request_error",
            _ => "server_error",
        };
        let error = Error {
            message: &self.message,
            kind,
            param: self.param.as_deref(),
            code: self.code,
        };
        serde_json::to_string(&Body { error }).unwrap_or_default()
    }
}

/// Seconds told to a caller when nothing can take its request and nobody knows when something can: a
/// change of configuration takes about as long, and so does the next round of health checks.
const NO_ENDPOINT_RETRY: u32 = 5;

/// The same where endpoints are at their bounds: each answer that ends makes room.
const OVERLOADED_RETRY: u32 = 1;

#[derive(Serialize)]
struct Body<'a> {
    error: Error<'a>,
}

#[derive(Serialize)]
struct Error<'a> {
    message: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    param: Option<&'a str>,
    code: &'static str,
}
