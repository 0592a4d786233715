//! One request at a simulated server: read, judged by the orders in force, and sent to what answers it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use http::header::{CONNECTION, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::sync::Notify;

use super::answer::{self, Api, Reply, Served};
use super::conduct::Fate;
use super::control::control;
use super::generate::{Visit, generate};
use super::orca;
use super::response::{self, AnyBody, plain};
use super::server::Server;
use super::stats::Received;

/// Answers `request`; `reset` breaks its connection. A server that leaves says so with each answer.
pub async fn answer(
    server: Arc<Server>,
    peer: SocketAddr,
    reset: Arc<Notify>,
    request: Request<Incoming>,
) -> Result<Response<AnyBody>, Infallible> {
    let keeps_alive = request.version() == Version::HTTP_11;
    let mut response = respond_to(Arc::clone(&server), peer, reset, request).await;
    if server.leaves() && keeps_alive {
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

async fn respond_to(
    server: Arc<Server>,
    peer: SocketAddr,
    reset: Arc<Notify>,
    request: Request<Incoming>,
) -> Response<AnyBody> {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else {
        // The client left in the middle of its body: nobody is there to read an answer.
        return plain(StatusCode::BAD_REQUEST, "the body ended early");
    };
    let body = body.to_bytes();
    let path = head.uri.path();
    match (&head.method, path) {
        (method, "/control") => control(&server, method, &body).await,
        (&Method::GET, "/health") => {
            server.seen().health_checked();
            match hold_to(server.fate_of_health(), &reset).await {
                Err(status) => plain(status, "as ordered"),
                Ok(_) => plain(StatusCode::OK, ""),
            }
        }
        (&Method::GET, "/metrics") => {
            server.seen().probes += 1;
            match hold_to(server.fate_of_metrics(), &reset).await {
                Err(status) => plain(status, "as ordered"),
                Ok(_) => plain(StatusCode::OK, &server.metrics_page()),
            }
        }
        _ if path.starts_with("/v1/") => model(server, peer, &reset, &head, &body).await,
        _ => plain(
            StatusCode::NOT_FOUND,
            "there is /v1/…, /health, /metrics and /control",
        ),
    }
}

/// Answers a request of the model's APIs.
async fn model(
    server: Arc<Server>,
    peer: SocketAddr,
    reset: &Notify,
    head: &http::request::Parts,
    body: &[u8],
) -> Response<AnyBody> {
    let path = head.uri.path();
    let received = receive(peer, head, body);
    let served = Served {
        endpoint: server.spec().name.clone(),
        model: received.model.clone(),
        body_bytes: body.len(),
        body_sha256: received.body_sha256.clone(),
    };
    let mut visit = Visit::new(&server, received);
    let api = Api::of(&head.method, path);
    let mut response = match (hold_to(server.fate(), reset).await, api) {
        (Err(status), api) => response::json(
            status,
            &answer::error(api, status, "failing, as ordered", None),
        ),
        (Ok(_), None) if head.method == Method::GET && path == "/v1/models" => {
            response::json(StatusCode::OK, &answer::models(server.spec()))
        }
        (Ok(_), None) => response::json(
            StatusCode::NOT_FOUND,
            &answer::error(None, StatusCode::NOT_FOUND, "Not Found", None),
        ),
        (Ok(slow), Some(api)) => match Reply::to(api, body, server.spec(), served.clone()) {
            Err(refusal) => response::json(refusal.status, &refusal.body(api)),
            Ok(reply) => {
                let mut response = generate(visit, reply, slow).await;
                sign(&server, &mut response, &served);
                return response;
            }
        },
    };
    visit.failed = response.status().as_u16() >= 400;
    sign(&server, &mut response, &served);
    response
}

/// Waits out, or acts on, a fate: how slow to be, or which status to fail with.
async fn hold_to(fate: Fate, reset: &Notify) -> Result<f64, StatusCode> {
    match fate {
        Fate::Serve(slow) => Ok(slow),
        Fate::Fail(status) => {
            Err(StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR))
        }
        // Both end with the connection, which drops this future.
        Fate::Hang => std::future::pending().await,
        Fate::Reset => {
            reset.notify_one();
            std::future::pending().await
        }
    }
}

fn receive(peer: SocketAddr, head: &http::request::Parts, body: &[u8]) -> Received {
    let headers = head.headers.iter();
    let model = serde_json::from_slice::<Value>(body)
        .ok()
        .and_then(|body| Some(body.get("model")?.as_str()?.to_owned()));
    Received {
        peer,
        path: head
            .uri
            .path_and_query()
            .map_or_else(String::new, ToString::to_string),
        headers: headers
            .map(|(n, v)| {
                (
                    n.to_string(),
                    String::from_utf8_lossy(v.as_bytes()).into_owned(),
                )
            })
            .collect(),
        model: model.unwrap_or_default(),
        body_bytes: body.len(),
        body_sha256: Sha256::digest(body)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect(),
    }
}

/// Who answered, what arrived here, and how loaded the server is.
fn sign(server: &Server, response: &mut Response<AnyBody>, served: &Served) {
    let mut set = |name: &'static str, value: &str| {
        // A model's name may hold what no header may; the body says it too.
        if let Ok(value) = HeaderValue::from_str(value) {
            response
                .headers_mut()
                .insert(HeaderName::from_static(name), value);
        }
    };
    set("x-served-by", &served.endpoint);
    set("x-received-model", &served.model);
    set("x-received-bytes", &served.body_bytes.to_string());
    set("x-received-sha256", &served.body_sha256);
    if let Some(format) = server.spec().orca {
        set(
            "endpoint-load-metrics",
            &orca::header(server.report(), format),
        );
    }
}
