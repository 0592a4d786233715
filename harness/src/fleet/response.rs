//! The responses that need no model: a text, a JSON document.

use std::convert::Infallible;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use serde_json::Value;

/// The body of any response, whole or token by token.
pub type AnyBody = UnsyncBoxBody<Bytes, Infallible>;

/// A text, of the type that Prometheus asks for.
pub fn plain(status: StatusCode, text: &str) -> Response<AnyBody> {
    whole(
        status,
        "text/plain; version=0.0.4; charset=utf-8",
        text.to_owned(),
    )
}

/// A JSON document.
pub fn json(status: StatusCode, value: &Value) -> Response<AnyBody> {
    whole(status, "application/json", value.to_string())
}

fn whole(status: StatusCode, kind: &'static str, body: String) -> Response<AnyBody> {
    let mut response = Response::new(Full::from(body).boxed_unsync());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
