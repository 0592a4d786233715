//! A header map with Envoy's manners: ordered, lower-case names, pseudo-headers first.
//!
//! Values are bytes, not text: a proxy hands a guest whatever the client sent.

/// An ordered list of header fields; also used for trailers and gRPC metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(Vec<u8>, Vec<u8>)>);

/// Fields of which Envoy keeps one entry: adding to them joins the values instead of adding a line.
///
/// From the `INLINE_*_HEADERS` lists of Envoy's `header_map.h`.
const SINGLE: [&str; 31] = [
    ":authority",
    ":method",
    ":path",
    ":protocol",
    ":scheme",
    ":status",
    "connection",
    "content-length",
    "content-type",
    "date",
    "expect",
    "grpc-message",
    "grpc-status",
    "grpc-timeout",
    "host",
    "keep-alive",
    "proxy-connection",
    "proxy-status",
    "server",
    "te",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
    "x-client-trace-id",
    "x-envoy-attempt-count",
    "x-forwarded-client-cert",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
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

    /// Adds a field after those that are there; one that can only be there once is joined with a comma.
    pub fn add(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let name = name.as_ref().to_ascii_lowercase();
        let single =
            std::str::from_utf8(&name).is_ok_and(|name| SINGLE.binary_search(&name).is_ok());
        if single && let Some((_, old)) = self.0.iter_mut().find(|(key, _)| *key == name) {
            old.push(b',');
            old.extend_from_slice(value.as_ref());
            return;
        }
        self.push(name, value.as_ref().to_vec());
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
    fn the_list_of_single_fields_is_sorted_for_the_search() {
        assert!(SINGLE.is_sorted());
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
    fn adding_to_a_single_field_joins_and_adding_to_another_does_not() {
        let mut headers = Headers::from([("Content-Type", "a"), ("X-Many", "1")]);
        headers.add("content-type", "b");
        headers.add("x-many", "2");
        assert_eq!(headers.text("content-type"), Some("a,b"));
        assert_eq!(headers.len(), 3);
    }
}
