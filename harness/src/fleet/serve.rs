//! One request at a simulated server: read, judged by the orders in force, and sent to what answers it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use super::answer::{self, Api, Reply, Served};
use super::conduct::{Failure, Fate, Service, Traits};
use super::control::control;
use super::generate::{Visit, failed_stream, generate};
use super::orca;
use super::order::{LIMITED_TENANT, POISON, TENANT_HEADER};
use super::response::{self, AnyBody, plain};
use super::server::Server;
use super::socket::Connection;
use super::stats::Received;
use super::websocket;
use http::header::{CONNECTION, HeaderName, HeaderValue, RETRY_AFTER, UPGRADE};
use http::{Method, Request, Response, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::Value;
use sha2::{Digest, Sha256};

/// Answers a `request` that came by `connection`. A server that leaves closes the connection with
/// each answer.
pub async fn answer(
    server: Arc<Server>,
    connection: Arc<Connection>,
    request: Request<Incoming>,
) -> Result<Response<AnyBody>, Infallible> {
    let keeps_alive = request.version() == Version::HTTP_11;
    let upgrade = request.headers().contains_key(UPGRADE);
    let mut response = respond_to(Arc::clone(&server), &connection, request).await;
    if server.leaves() && keeps_alive && !upgrade {
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response)
}

async fn respond_to(
    server: Arc<Server>,
    connection: &Connection,
    mut request: Request<Incoming>,
) -> Response<AnyBody> {
    if websocket::asked_for(&request) {
        let upgrade = hyper::upgrade::on(&mut request);
        let (head, _) = request.into_parts();
        return session(server, connection, &head, upgrade).await;
    }
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
            match hold_to(server.fate_of_health(), connection).await {
                Err(failure) => plain(failure.status(), "as ordered"),
                Ok(_) => plain(StatusCode::OK, ""),
            }
        }
        (&Method::GET, "/metrics") => {
            server.seen().probes += 1;
            match hold_to(server.fate_of_metrics(), connection).await {
                Err(failure) => plain(failure.status(), "as ordered"),
                Ok(_) => plain(StatusCode::OK, &server.metrics_page()),
            }
        }
        _ if path.starts_with("/v1/") => model(server, connection, &head, &body).await,
        _ => plain(
            StatusCode::NOT_FOUND,
            "there is /v1/…, /health, /metrics and /control",
        ),
    }
}

/// Answers a request of the model's APIs.
async fn model(
    server: Arc<Server>,
    connection: &Connection,
    head: &http::request::Parts,
    body: &[u8],
) -> Response<AnyBody> {
    let received = receive(connection.peer, head, body);
    let served = Served {
        endpoint: server.spec().name.clone(),
        model: received.model.clone(),
        body_bytes: body.len(),
        body_sha256: received.body_sha256.clone(),
    };
    let fate = server.fate(traits(&received, body));
    let mut visit = Visit::new(&server, received);
    let api = Api::of(&head.method, head.uri.path());
    let mut response = match (hold_to(fate, connection).await, api) {
        (Err(Ordered::ErrorInStream(failure)), Some(api)) => {
            match Reply::to(api, body, server.spec(), served.clone()) {
                Ok(reply) if reply.streams() => failed_stream(visit, &reply, failure.status()),
                _ => failed(Some(api), failure),
            }
        }
        (Err(ordered), api) => failed(api, ordered.failure()),
        (Ok(_), None) if head.method == Method::GET && head.uri.path() == "/v1/models" => {
            visit.failed = false;
            response::json(StatusCode::OK, &answer::models(server.spec()))
        }
        (Ok(_), None) => response::json(
            StatusCode::NOT_FOUND,
            &answer::error(None, StatusCode::NOT_FOUND, "Not Found", None),
        ),
        (Ok(service), Some(api)) => match Reply::to(api, body, server.spec(), served.clone()) {
            Err(refusal) => response::json(refusal.status, &refusal.body(api)),
            Ok(reply) => match generate(visit, reply, service).await {
                Ok(response) => response,
                Err(refusal) => failed(Some(api), refusal),
            },
        },
    };
    sign(&server, &mut response, &served);
    response
}

/// Opens a WebSocket session, which counts as one request.
async fn session(
    server: Arc<Server>,
    connection: &Connection,
    head: &http::request::Parts,
    upgrade: hyper::upgrade::OnUpgrade,
) -> Response<AnyBody> {
    let received = receive(connection.peer, head, b"");
    let fate = server.fate(traits(&received, b""));
    let visit = Visit::new(&server, received);
    match hold_to(fate, connection).await {
        Err(ordered) => failed(None, ordered.failure()),
        Ok(_) => {
            connection.go_on_as(websocket::Session { upgrade, visit });
            websocket::accept(head)
        }
    }
}

fn traits(received: &Received, body: &[u8]) -> Traits {
    let holds_poison = |part: &[u8]| part == POISON.as_bytes();
    Traits {
        poisoned: body.windows(POISON.len()).any(holds_poison),
        limited: received.header(TENANT_HEADER) == Some(LIMITED_TENANT),
    }
}

fn failed(api: Option<Api>, failure: Failure) -> Response<AnyBody> {
    let status = failure.status();
    let mut response = response::json(
        status,
        &answer::error(api, status, "failing, as ordered", None),
    );
    let after = failure.retry_after.map(|seconds| seconds.to_string());
    if let Some(after) = after.and_then(|after| HeaderValue::from_str(&after).ok()) {
        response.headers_mut().insert(RETRY_AFTER, after);
    }
    response
}

/// An error that an order demands.
enum Ordered {
    Fail(Failure),
    /// As the first event of a stream, if the answer is one.
    ErrorInStream(Failure),
}

impl Ordered {
    fn failure(&self) -> Failure {
        match self {
            Ordered::Fail(failure) | Ordered::ErrorInStream(failure) => *failure,
        }
    }

    fn status(&self) -> StatusCode {
        self.failure().status()
    }
}

/// Waits out, or acts on, a fate.
async fn hold_to(fate: Fate, connection: &Connection) -> Result<Service, Ordered> {
    match fate {
        Fate::Serve(service) => Ok(service),
        Fate::Fail(failure) => Err(Ordered::Fail(failure)),
        Fate::ErrorInStream(status) => Err(Ordered::ErrorInStream(Failure::of(status))),
        // Both end with the connection, which drops this future.
        Fate::Hang => std::future::pending().await,
        Fate::Reset => {
            connection.reset.notify_one();
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
