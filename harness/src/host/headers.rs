//! A header map with Envoy's manners: ordered, lower-case names, pseudo-headers first.
//!
//! Values are bytes, not text: a proxy hands a guest whatever the client sent.

use std::fmt;

use super::abi::Side;

/// An ordered list of header fields; also used for trailers and gRPC metadata.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Headers(Vec<(Vec<u8>, Vec<u8>)>);

/// Fields of which Envoy keeps one entry in a request: adding to one joins the values. Recorded from 1.40.
const SINGLE_IN_REQUESTS: [&str; 46] = [
    ":authority",
    ":method",
    ":path",
    ":protocol",
    ":scheme",
    "accept",
    "accept-encoding",
    "access-control-request-method",
    "authorization",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "grpc-accept-encoding",
    "grpc-timeout",
    "if-match",
    "if-none-match",
    "keep-alive",
    "origin",
    "pragma",
    "proxy-connection",
    "proxy-status",
    "referer",
    "te",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
    "x-client-trace-id",
    "x-envoy-attempt-count",
    "x-envoy-decorator-operation",
    "x-envoy-downstream-service-cluster",
    "x-envoy-force-trace",
    "x-envoy-internal",
    "x-envoy-ip-tags",
    "x-envoy-max-retries",
    "x-envoy-original-path",
    "x-envoy-retry-on",
    "x-envoy-upstream-rq-timeout-ms",
    "x-forwarded-client-cert",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-request-id",
];

/// The same for responses.
const SINGLE_IN_RESPONSES: [&str; 29] = [
    ":status",
    "access-control-allow-origin",
    "age",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "etag",
    "expires",
    "grpc-message",
    "grpc-status",
    "keep-alive",
    "last-modified",
    "location",
    "proxy-connection",
    "proxy-status",
    "server",
    "transfer-encoding",
    "upgrade",
    "vary",
    "via",
    "x-envoy-attempt-count",
    "x-envoy-degraded",
    "x-envoy-immediate-health-check-fail",
    "x-envoy-ratelimited",
    "x-envoy-upstream-service-time",
    "x-request-id",
];

impl Headers {
    /// An empty map.
    pub fn new() -> Self {
        Self::default()
    }

    /// The first value of `name`.
    pub fn get(&self, name: impl AsRef<[u8]>) -> Option<&[u8]> {
        let name = name.as_ref();
        self.0
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_slice())
    }

    /// The first value of `name`, if it is UTF-8.
    pub fn text(&self, name: impl AsRef<[u8]>) -> Option<&str> {
        self.get(name)
            .and_then(|value| std::str::from_utf8(value).ok())
    }

    /// Adds a field after those that are there.
    pub fn add(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        self.push(name.as_ref().to_ascii_lowercase(), value.as_ref().to_vec());
    }

    /// Adds a field as Envoy does to the head of a request or a response: one that is kept once there is joined.
    pub(super) fn join(&mut self, side: Side, name: Vec<u8>, value: Vec<u8>) {
        let single = match side {
            Side::Request => &SINGLE_IN_REQUESTS[..],
            Side::Response => &SINGLE_IN_RESPONSES[..],
        };
        let name = name.to_ascii_lowercase();
        let single =
            std::str::from_utf8(&name).is_ok_and(|name| single.binary_search(&name).is_ok());
        if single && let Some((_, old)) = self.0.iter_mut().find(|(key, _)| *key == name) {
            old.push(b',');
            old.extend_from_slice(&value);
            return;
        }
        self.push(name, value);
    }

    /// The same fields, as Envoy would have them in the head of a request or a response.
    pub(super) fn joined(self, side: Side) -> Self {
        let mut joined = Self(Vec::with_capacity(self.0.len()));
        for (name, value) in self.0 {
            joined.join(side, name, value);
        }
        joined
    }

    /// All values of `name`, with commas between them.
    pub(super) fn all(&self, name: &str) -> Option<Vec<u8>> {
        let values = self
            .0
            .iter()
            .filter(|(key, _)| key.eq_ignore_ascii_case(name.as_bytes()));
        let values: Vec<_> = values.map(|(_, value)| value.as_slice()).collect();
        (!values.is_empty()).then(|| values.join(&b','))
    }

    /// Puts one field in the place of all fields called `name`.
    pub fn replace(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let name = name.as_ref().to_ascii_lowercase();
        self.remove(&name);
        self.push(name, value.as_ref().to_vec());
    }

    /// Takes out every field called `name`; none is no error.
    pub fn remove(&mut self, name: impl AsRef<[u8]>) {
        let name = name.as_ref();
        self.0.retain(|(key, _)| !key.eq_ignore_ascii_case(name));
    }

    /// The fields in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> + Clone {
        self.0
            .iter()
            .map(|(name, value)| (name.as_slice(), value.as_slice()))
    }

    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no field.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes of all names and values together.
    pub fn byte_size(&self) -> usize {
        self.0
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum()
    }

    fn push(&mut self, name: Vec<u8>, value: Vec<u8>) {
        if name.starts_with(b":") {
            let at = self
                .0
                .iter()
                .take_while(|(key, _)| key.starts_with(b":"))
                .count();
            self.0.insert(at, (name, value));
        } else {
            self.0.push((name, value));
        }
    }
}

impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = self.iter().map(|(name, value)| {
            (
                name.escape_ascii().to_string(),
                value.escape_ascii().to_string(),
            )
        });
        f.debug_map().entries(fields).finish()
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> FromIterator<(N, V)> for Headers {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(fields: I) -> Self {
        let mut headers = Self::new();
        for (name, value) in fields {
            headers.add(name, value);
        }
        headers
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>, const C: usize> From<[(N, V); C]> for Headers {
    fn from(fields: [(N, V); C]) -> Self {
        fields.into_iter().collect()
    }
}

impl IntoIterator for Headers {
    type Item = (Vec<u8>, Vec<u8>);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_of_single_fields_are_sorted_for_the_search() {
        assert!(SINGLE_IN_REQUESTS.is_sorted() && SINGLE_IN_RESPONSES.is_sorted());
    }

    #[test]
    fn a_replaced_pseudo_header_stays_before_the_others() {
        let mut headers = Headers::from([(":path", "/a"), ("x-one", "1")]);
        headers.replace(":path", "/b");
        headers.add(":authority", "h");
        let names: Vec<_> = headers.iter().map(|(name, _)| name.to_vec()).collect();
        assert_eq!(names, [&b":path"[..], b":authority", b"x-one"]);
    }

    #[test]
    fn a_field_kept_once_is_joined_where_it_is_kept_once() {
        let field = |side| {
            let mut headers = Headers::from([("Etag", "a"), ("X-Many", "1")]);
            headers.join(side, b"etag".to_vec(), b"b".to_vec());
            headers.join(side, b"x-many".to_vec(), b"2".to_vec());
            (
                headers.text("etag").map(str::to_owned),
                headers.all("x-many"),
                headers.len(),
            )
        };
        assert_eq!(
            field(Side::Response),
            (Some("a,b".into()), Some(b"1,2".to_vec()), 3)
        );
        assert_eq!(
            field(Side::Request),
            (Some("a".into()), Some(b"1,2".to_vec()), 4)
        );
    }
}
