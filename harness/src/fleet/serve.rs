//! One request at a simulated server: read, judge by the orders in force, wait for a slot, take as
//! long as the model would, answer.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode, Version};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep};

use super::answer::{self, Api, Reply, Served};
use super::conduct::{Fate, Order};
use super::meters::{self, Finished};
use super::orca;
use super::server::Server;
use super::slots::Slot;
use super::stats::Received;

type AnyBody = UnsyncBoxBody<Bytes, Infallible>;

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
    if path == "/control" {
        return control(&server, &head.method, &body).await;
    }
    if !path.starts_with("/v1/") {
        server.seen().probes += 1;
        return match hold_to(&server, &reset).await {
            Err(status) => plain(status, "as ordered"),
            Ok(_) => page(&server, &head.method, path),
        };
    }
    let received = receive(peer, &head, &body);
    let served = Served {
        endpoint: server.spec().name.clone(),
        model: received.model.clone(),
        body_bytes: body.len(),
        body_sha256: received.body_sha256.clone(),
    };
    let mut visit = Visit::new(&server, received);
    let api = Api::of(&head.method, path);
    let mut response = match hold_to(&server, &reset).await {
        Err(status) => json_response(
            status,
            &answer::error(api, status, "failing, as ordered", None),
        ),
        Ok(slow) => match api {
            None if head.method == Method::GET && path == "/v1/models" => {
                json_response(StatusCode::OK, &answer::models(server.spec()))
            }
            None => json_response(
                StatusCode::NOT_FOUND,
                &answer::error(None, StatusCode::NOT_FOUND, "Not Found", None),
            ),
            Some(api) => match Reply::to(api, &body, server.spec(), served.clone()) {
                Err(refusal) => json_response(refusal.status, &refusal.body(api)),
                Ok(reply) => return generate(server, visit, reply, slow, &served).await,
            },
        },
    };
    visit.failed = response.status().as_u16() >= 400;
    sign(&server, &mut response, &served);
    response
}

/// Waits out, or acts on, the orders in force: how slow to be, or which status to fail with.
async fn hold_to(server: &Server, reset: &Notify) -> Result<f64, StatusCode> {
    match server.fate() {
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

/// Takes a slot and the time the model would take; streams go on taking it while they are read.
async fn generate(
    server: Arc<Server>,
    mut visit: Visit,
    reply: Reply,
    slow: f64,
    served: &Served,
) -> Response<AnyBody> {
    let slot = server
        .slots
        .take(u64::from(reply.input_tokens()) + u64::from(reply.output_tokens()))
        .await;
    let mut due = Instant::now()
        + server.scaled(
            server
                .spec()
                .speed
                .prefill(reply.input_tokens(), slot.others()),
            slow,
        );
    wait_until(due).await;
    visit.first_token = Some(Instant::now());
    let streams = reply.streams();
    let mut response = if streams {
        Response::new(
            Stream {
                sleep: None,
                due,
                sent: 0,
                queue: reply.opening().into(),
                slow,
                slot,
                visit,
                reply,
                ended: false,
            }
            .boxed_unsync(),
        )
    } else {
        for _ in 1..reply.output_tokens() {
            due += server.scaled(server.spec().speed.decode(slot.others()), slow);
            wait_until(due).await;
        }
        let body = reply.whole().to_string();
        visit.bytes_out = body.len();
        visit.finish(&reply);
        Response::new(Full::from(body).boxed_unsync())
    };
    let kind = if streams {
        "text/event-stream; charset=utf-8"
    } else {
        "application/json"
    };
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    sign(&server, &mut response, served);
    response
}

/// Timers tick in milliseconds: a moment that has come costs none.
async fn wait_until(due: Instant) {
    if due > Instant::now() {
        tokio::time::sleep_until(due).await;
    }
}

/// An answer that leaves token by token.
struct Stream {
    sleep: Option<Pin<Box<Sleep>>>,
    due: Instant,
    sent: u32,
    queue: std::collections::VecDeque<Bytes>,
    slow: f64,
    slot: Slot,
    visit: Visit,
    reply: Reply,
    ended: bool,
}

impl Body for Stream {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        loop {
            if let Some(piece) = this.queue.pop_front() {
                this.visit.bytes_out += piece.len();
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            if this.ended {
                return Poll::Ready(None);
            }
            if let Some(sleep) = &mut this.sleep {
                ready!(sleep.as_mut().poll(cx));
                this.sleep = None;
            }
            if this.sent < this.reply.output_tokens() {
                this.queue.push_back(this.reply.token(this.sent));
                this.sent += 1;
                let server = &this.visit.server;
                this.due +=
                    server.scaled(server.spec().speed.decode(this.slot.others()), this.slow);
                if this.due > Instant::now() {
                    this.sleep = Some(Box::pin(tokio::time::sleep_until(this.due)));
                }
            } else {
                this.queue.extend(this.reply.closing());
                this.ended = true;
                this.visit.finish(&this.reply);
            }
        }
    }
}

/// A request's stay at the server; counted as failed unless it finished, however it ended.
struct Visit {
    server: Arc<Server>,
    arrived: Instant,
    first_token: Option<Instant>,
    bytes_out: usize,
    failed: bool,
}

impl Visit {
    fn new(server: &Arc<Server>, received: Received) -> Visit {
        let mut seen = server.seen();
        seen.requests += 1;
        seen.bytes_in += received.body_bytes as u64;
        seen.entered();
        seen.remember(received);
        Visit {
            server: Arc::clone(server),
            arrived: Instant::now(),
            first_token: None,
            bytes_out: 0,
            failed: true,
        }
    }

    fn finish(&mut self, reply: &Reply) {
        self.failed = false;
        self.server.meters().finished(Finished {
            input: reply.input_tokens(),
            output: reply.output_tokens(),
            cut: reply.cut(),
            first_token: self.first_token.unwrap_or(self.arrived) - self.arrived,
            whole: self.arrived.elapsed(),
        });
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let mut seen = self.server.seen();
        seen.in_flight -= 1;
        seen.bytes_out += self.bytes_out as u64;
        seen.failures += u64::from(self.failed);
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

fn page(server: &Server, method: &Method, path: &str) -> Response<AnyBody> {
    match (method, path) {
        (&Method::GET, "/health") => plain(StatusCode::OK, ""),
        (&Method::GET, "/metrics") => plain(StatusCode::OK, &meters::page(server)),
        _ => plain(
            StatusCode::NOT_FOUND,
            "there is /v1/…, /health, /metrics and /control",
        ),
    }
}

/// `POST /control {"order": "slow", "factor": 3, "endpoint": "name"}`: an order for this endpoint,
/// or for another one of the fleet, which is how a dead one is revived. GET: the counters.
async fn control(server: &Arc<Server>, method: &Method, body: &[u8]) -> Response<AnyBody> {
    if method == Method::GET {
        let stats = server.stats();
        return json_response(
            StatusCode::OK,
            &json!({
                "endpoint": server.spec().name, "requests": stats.requests, "failures": stats.failures,
                "probes": stats.probes, "in_flight": stats.in_flight, "peak_in_flight": stats.peak_in_flight,
                "waiting": stats.waiting, "bytes_in": stats.bytes_in, "bytes_out": stats.bytes_out,
                "connections": stats.connections,
            }),
        );
    }
    let mut wanted: Value = serde_json::from_slice(body).unwrap_or_default();
    let name = wanted
        .as_object_mut()
        .and_then(|wanted| wanted.remove("endpoint"));
    let target = match name.as_ref().map(|name| name.as_str().unwrap_or_default()) {
        None => Arc::clone(server),
        Some(name) => match server.sibling(name) {
            Some(sibling) => sibling,
            None => {
                return plain(
                    StatusCode::NOT_FOUND,
                    &format!("no endpoint of this fleet is called {name:?}"),
                );
            }
        },
    };
    match serde_json::from_value::<Order>(wanted) {
        Err(error) => plain(
            StatusCode::BAD_REQUEST,
            &format!("not an order: {error}; try {{\"order\": \"slow\", \"factor\": 3}}"),
        ),
        Ok(order) => match target.obey(order).await {
            Ok(()) => plain(StatusCode::OK, "done"),
            Err(error) => plain(StatusCode::CONFLICT, &error.to_string()),
        },
    }
}

fn plain(status: StatusCode, text: &str) -> Response<AnyBody> {
    respond(
        status,
        "text/plain; version=0.0.4; charset=utf-8",
        text.to_owned(),
    )
}

fn json_response(status: StatusCode, value: &Value) -> Response<AnyBody> {
    respond(status, "application/json", value.to_string())
}

fn respond(status: StatusCode, kind: &'static str, body: String) -> Response<AnyBody> {
    let mut response = Response::new(Full::from(body).boxed_unsync());
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
