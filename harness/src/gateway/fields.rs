//! Header fields between hyper's maps and the guest's: pseudo-headers, hop-by-hop fields, Envoy's additions.

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode, Uri, Version, request, response};

use super::retry;
use crate::host::Headers;

/// Fields of one connection only (RFC 9110 §7.6.1), which no proxy passes on.
const HOP_BY_HOP: [HeaderName; 5] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::TE,
    header::PROXY_AUTHENTICATE,
];

/// What a request says, as Envoy shows it to a filter.
pub fn of_request(head: &request::Parts, upgrade: bool, client: SocketAddr) -> Headers {
    let authority = head
        .uri
        .authority()
        .map(|authority| authority.as_str().as_bytes());
    let authority = authority.or_else(|| head.headers.get(header::HOST).map(HeaderValue::as_bytes));
    let mut fields = Headers::new();
    fields.add(":authority", authority.unwrap_or_default());
    fields.add(
        ":path",
        head.uri.path_and_query().map_or("/", |path| path.as_str()),
    );
    fields.add(":method", head.method.as_str());
    fields.add(":scheme", "http");
    for (name, value) in &head.headers {
        let kept = if upgrade {
            name != header::TRANSFER_ENCODING
        } else {
            !is_hop_by_hop(name)
        };
        // What orders retries is a filter's to say. This machine's own clients are Envoy's "internal"
        // ones, as in the configuration that Junheng ships.
        let kept = kept && (client.ip().is_loopback() || !retry::is_order(name));
        // The gateway itself says "100 Continue", so the upstream must not be asked to.
        if kept && name != header::HOST && name != header::EXPECT {
            fields.add(name, value);
        }
    }
    // `use_remote_address`: the client's address is the connection's, whatever it claims to have passed.
    fields.add("x-forwarded-for", client.ip().to_string());
    if fields.get("x-forwarded-proto").is_none() {
        fields.add("x-forwarded-proto", "http");
    }
    if fields.get("x-request-id").is_none() {
        fields.add("x-request-id", request_id());
    }
    fields
}

/// What a response says, as Envoy shows it to a filter.
pub fn of_response(head: &response::Parts) -> Headers {
    let mut fields = Headers::new();
    fields.add(":status", head.status.as_str());
    for (name, value) in &head.headers {
        if !is_hop_by_hop(name) || head.status == StatusCode::SWITCHING_PROTOCOLS {
            fields.add(name, value);
        }
    }
    fields
}

/// Trailers as a filter sees them.
pub fn of_trailers(trailers: &HeaderMap) -> Headers {
    trailers.iter().collect()
}

/// The request that `fields` describe, in origin form for HTTP/1.1; none if its method or path is impossible.
pub fn to_request(fields: &Headers) -> Option<request::Parts> {
    let (mut head, ()) = http::Request::new(()).into_parts();
    head.method = Method::from_bytes(fields.get(":method")?).ok()?;
    head.uri = Uri::try_from(fields.get(":path")?).ok()?;
    head.version = Version::HTTP_11;
    head.headers = to_map(fields);
    head.headers.insert(
        header::HOST,
        HeaderValue::from_bytes(fields.get(":authority")?).ok()?,
    );
    Some(head)
}

/// The response that `fields` describe; a status that is none becomes 502.
pub fn to_response(fields: &Headers) -> response::Parts {
    let (mut head, ()) = http::Response::new(()).into_parts();
    let status = fields
        .get(":status")
        .and_then(|status| StatusCode::from_bytes(status).ok());
    head.status = status.unwrap_or(StatusCode::BAD_GATEWAY);
    head.headers = to_map(fields);
    head
}

/// All but pseudo-headers; a field that no wire could carry is left out.
pub fn to_map(fields: &Headers) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(fields.len());
    for (name, value) in fields.iter() {
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
        {
            map.append(name, value);
        }
    }
    map
}

/// Whether the client asks for another protocol on this connection.
pub fn wants_upgrade(head: &request::Parts) -> bool {
    let named = |value: &HeaderValue| {
        let tokens = value.to_str().unwrap_or_default().split(',');
        tokens
            .map(str::trim)
            .any(|token| token.eq_ignore_ascii_case("upgrade"))
    };
    head.version == Version::HTTP_11
        && head.headers.contains_key(header::UPGRADE)
        && head.headers.get_all(header::CONNECTION).iter().any(named)
}

fn is_hop_by_hop(name: &HeaderName) -> bool {
    HOP_BY_HOP.contains(name) || name == "keep-alive" || name == "proxy-connection"
}

/// A UUID of version 4, of the randomness that hash maps are seeded with: an identifier, not a secret.
fn request_id() -> String {
    let random = RandomState::new();
    let (a, b) = (random.hash_one(0u8), random.hash_one(1u8));
    let (b, c) = (
        b & 0x0fff | 0x4000,
        random.hash_one(2u8) & 0x3fff_ffff_ffff_ffff | 0x8000_0000_0000_0000,
    );
    format!(
        "{:08x}-{:04x}-{b:04x}-{:04x}-{:012x}",
        a >> 32,
        a >> 16 & 0xffff,
        c >> 48,
        c & 0xffff_ffff_ffff
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_stranger_orders_retries() {
        let request = http::Request::get("/").header("x-envoy-max-retries", "9");
        let (head, ()) = request.body(()).unwrap().into_parts();
        for (client, ordered) in [("127.0.0.1:1", Some("9")), ("192.0.2.1:1", None)] {
            let fields = of_request(&head, false, client.parse().unwrap());
            assert_eq!(fields.text("x-envoy-max-retries"), ordered, "{client}");
        }
    }
}
