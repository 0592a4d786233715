//! Envoy's admin interface, as far as the harness asks it: readiness, listeners, metrics.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Why the admin gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// No connection to the admin.
    #[error("Envoy's admin at {0} cannot be reached: {1}")]
    Connect(SocketAddr, std::io::Error),
    /// The answer broke off.
    #[error("Envoy's admin at {0} broke off: {1}")]
    Http(SocketAddr, hyper::Error),
    /// The admin's answer is not what was asked for.
    #[error("Envoy's admin answered {path} with {status}: {body}")]
    Answer {
        /// What was asked.
        path: String,
        /// How it was answered.
        status: StatusCode,
        /// In which words.
        body: String,
    },
}

/// Asks the admin for `path` and returns the text of a 200.
pub(super) async fn get(admin: SocketAddr, path: &str) -> Result<String, AdminError> {
    let stream = TcpStream::connect(admin)
        .await
        .map_err(|error| AdminError::Connect(admin, error))?;
    let broke_off = |error| AdminError::Http(admin, error);
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(broke_off)?;
    let driver = tokio::spawn(connection);
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.uri_mut() = path.parse().unwrap_or_default();
    request
        .headers_mut()
        .insert(http::header::HOST, http::HeaderValue::from_static("admin"));
    let response = sender.send_request(request).await.map_err(broke_off)?;
    let status = response.status();
    let body = response
        .into_body()
        .collect()
        .await
        .map_err(broke_off)?
        .to_bytes();
    driver.abort();
    let body = String::from_utf8_lossy(&body).into_owned();
    if status == StatusCode::OK {
        Ok(body)
    } else {
        Err(AdminError::Answer {
            path: path.to_owned(),
            status,
            body,
        })
    }
}

/// What `/stats/prometheus` showed at one moment.
#[derive(Debug, Clone)]
pub struct Metrics {
    text: String,
}

impl Metrics {
    /// Reads Prometheus' text format.
    pub fn parse(text: impl Into<String>) -> Self {
        Self { text: text.into() }
    }

    /// The sum of all samples of metric `name` whose labels include all of `labels`; 0 if there are none.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.samples(name)
            .filter(|sample| labels.iter().all(|label| sample.has(label)))
            .map(|sample| sample.value)
            .sum()
    }

    /// How many samples metric `name` has.
    pub fn count(&self, name: &str) -> usize {
        self.samples(name).count()
    }

    fn samples<'a>(&'a self, name: &'a str) -> impl Iterator<Item = Sample<'a>> {
        self.text
            .lines()
            .filter_map(Sample::parse)
            .filter(move |sample| sample.name == name)
    }
}

struct Sample<'a> {
    name: &'a str,
    labels: &'a str,
    value: f64,
}

impl<'a> Sample<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        if line.starts_with('#') {
            return None;
        }
        let (series, value) = line.rsplit_once(' ')?;
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        Some(Self {
            name,
            labels: labels.trim_end_matches('}'),
            value: value.parse().ok()?,
        })
    }

    /// Label values of Envoy's hold no quotes and no commas that the harness asks for.
    fn has(&self, (key, value): &(&str, &str)) -> bool {
        self.labels.split(',').any(|label| {
            label
                .split_once('=')
                .is_some_and(|(k, v)| k == *key && v.trim_matches('"') == *value)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_summed_over_the_labels_that_are_not_named() {
        let metrics = Metrics::parse(
            "# TYPE junheng_pool_requests counter\n\
             junheng_pool_requests{pool=\"small\",status=\"2xx\"} 3\n\
             junheng_pool_requests{pool=\"small\",status=\"5xx\"} 1\n\
             junheng_pool_requests{pool=\"long\",status=\"2xx\"} 5\n\
             junheng_pool_requests_total{pool=\"small\"} 100\n",
        );
        assert_eq!(
            metrics.sum("junheng_pool_requests", &[("pool", "small")]),
            4.0
        );
        assert_eq!(
            metrics.sum("junheng_pool_requests", &[("status", "2xx")]),
            8.0
        );
        assert_eq!(
            metrics.sum("junheng_pool_requests", &[("pool", "none")]),
            0.0
        );
        assert_eq!(metrics.count("junheng_pool_requests"), 3);
    }
}
