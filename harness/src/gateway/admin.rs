//! The admin port: the module's metrics and the gateway's own, with the names Envoy would give them.

use std::convert::Infallible;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::Shared;
use crate::host::Metric;

/// Answers on `listener` for ever.
pub async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        let shared = Arc::clone(&shared);
        let answer = service_fn(move |request: Request<Incoming>| {
            let response = respond(&shared, request.uri().path());
            async move { Ok::<_, Infallible>(response) }
        });
        tokio::task::spawn_local(async move {
            drop(
                http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), answer)
                    .await,
            )
        });
    }
}

fn respond(shared: &Shared, path: &str) -> Response<Full<Bytes>> {
    let (status, text) = match path {
        "/stats/prometheus" => (StatusCode::OK, prometheus(shared)),
        "/stats" => (StatusCode::OK, plain(shared)),
        "/ready" => (StatusCode::OK, "LIVE\n".to_owned()),
        _ => (
            StatusCode::NOT_FOUND,
            "there is /stats/prometheus, /stats and /ready\n".to_owned(),
        ),
    };
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    response.headers_mut().insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"),
    );
    response
}

/// Envoy's dotted names; the module's are under `wasmcustom`.
fn all(shared: &Shared) -> Vec<(String, Metric)> {
    let counters = &shared.counters;
    let own = [
        ("http.ingress.downstream_rq_total", &counters.requests),
        ("cluster.upstream_rq_total", &counters.upstream_requests),
        ("cluster.upstream_rq_retry", &counters.upstream_retries),
        ("cluster.upstream_cx_failure", &counters.upstream_failures),
        ("wasm.vm_traps", &counters.traps),
    ];
    let own = own
        .into_iter()
        .map(|(name, counter)| (name.to_owned(), Metric::Counter(counter.load(Relaxed))));
    let module = shared
        .host
        .metrics()
        .into_iter()
        .map(|(name, metric)| (format!("wasmcustom.{name}"), metric));
    own.chain(module).collect()
}

fn plain(shared: &Shared) -> String {
    all(shared)
        .into_iter()
        .fold(String::new(), |mut text, (name, metric)| {
            let _ = match metric {
                Metric::Counter(value) => writeln!(text, "{name}: {value}"),
                Metric::Gauge(value) => writeln!(text, "{name}: {value}"),
                Metric::Histogram(s) => writeln!(
                    text,
                    "{name}: count={} sum={} min={} max={}",
                    s.count, s.sum, s.min, s.max
                ),
            };
            text
        })
}

fn prometheus(shared: &Shared) -> String {
    all(shared)
        .into_iter()
        .fold(String::new(), |mut text, (name, metric)| {
            let legal = |c: char| {
                if c.is_ascii_alphanumeric() || c == '_' {
                    c
                } else {
                    '_'
                }
            };
            let name = format!("envoy_{}", name.chars().map(legal).collect::<String>());
            let _ = match metric {
                Metric::Counter(value) => writeln!(text, "# TYPE {name} counter\n{name} {value}"),
                Metric::Gauge(value) => writeln!(text, "# TYPE {name} gauge\n{name} {value}"),
                Metric::Histogram(s) => {
                    writeln!(
                        text,
                        "# TYPE {name} summary\n{name}_sum {}\n{name}_count {}",
                        s.sum, s.count
                    )
                }
            };
            text
        })
}
