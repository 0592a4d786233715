//! One request through the gateway: down through the guest, to an endpoint, and back up.
//!
//! Everything that belongs to a request lives in the future that hyper polls, and in the body it
//! answers. A client that leaves makes hyper drop them, and with them the stream: the guest hears of
//! it at once, without anybody having to watch for it.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{Method, Request, Response, StatusCode, Version, request, response};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::task::JoinHandle;

use super::feed::Feed;
use super::fields;
use super::flow::Flow;
use super::relay::{self, AnyBody, Broken, Relay};
use super::stream::{End, Refusal, Stream};
use super::upstream::{self, Attempt};
use super::worker::Worker;
use crate::host::{LocalResponse, Side, StreamInfo};

/// The ends of a client's connection.
#[derive(Clone, Copy)]
pub struct Ends {
    pub client: SocketAddr,
    pub local: SocketAddr,
}

/// Answers one request; an error resets it.
pub async fn serve(
    worker: Rc<Worker>,
    ends: Ends,
    request: Request<Incoming>,
) -> Result<Response<AnyBody>, Broken> {
    worker.shared.counters.requests.fetch_add(1, Relaxed);
    let (head, body) = request.into_parts();
    if let Some(refusal) = malformed(&head) {
        return Ok(plain(refusal));
    }
    let Ok(stream) = Stream::open(&worker, info(&head, ends)) else {
        return Ok(plain(vm_down()));
    };
    match forward(&stream, head, body, ends).await {
        Ok(response) => Ok(response),
        Err(End::Reply(reply)) => {
            stream.close();
            Ok(replied(reply))
        }
        Err(End::Refuse(refusal)) => refuse(stream, refusal).await,
        Err(End::Reset) => Err(Broken),
        Err(End::Gone) => Ok(plain(vm_down())),
    }
}

async fn forward(
    stream: &Rc<Stream>,
    mut head: request::Parts,
    body: Incoming,
    ends: Ends,
) -> Result<Response<AnyBody>, End> {
    let worker = stream.worker();
    let upgrade = fields::wants_upgrade(&head);
    let client = head.extensions.remove::<OnUpgrade>().filter(|_| upgrade);
    let end = !upgrade && body.is_end_stream();
    let step = stream.headers(
        Side::Request,
        fields::of_request(&head, upgrade, ends.client),
        end,
    );
    // What follows the headers of an upgrade is no body: nothing is read before the other side agrees.
    let mut request = Flow::new(
        stream,
        Side::Request,
        body,
        head.version == Version::HTTP_2,
        end || upgrade,
    );
    request.admit(step).await?;
    let fields = stream.headers_of(Side::Request);
    let feed = Feed::new(worker.shared.options.body_limit);
    let pump = Pump::start(request, &feed).await;
    let started = Instant::now();
    let tell = |attempt: Attempt<'_>| tell(stream, attempt);
    let outcome = tokio::select! {
        biased;
        end = stream.ended() => return Err(end),
        outcome = tokio::time::timeout(
            worker.shared.options.idle_timeout,
            upstream::exchange(worker, &fields, &feed, &tell),
        ) => outcome.unwrap_or_else(|_| Err(Refusal::idle())),
    };
    let (upstream, lease) = outcome.map_err(End::Refuse)?;
    stream.details("via_upstream");
    let (mut head, body) = upstream.into_parts();
    let server = head
        .extensions
        .remove::<OnUpgrade>()
        .filter(|_| head.status == StatusCode::SWITCHING_PROTOCOLS);
    if let (Some(client), Some(server)) = (client, server) {
        return tunnel(stream, &head, client, server).await;
    }
    let end = body.is_end_stream();
    let response = Flow::new(stream, Side::Response, body, false, end);
    relay::respond(
        response,
        &head,
        Some(started.elapsed()),
        Relay {
            lease: Some(lease),
            pump: Some(pump),
        },
    )
    .await
}

/// The task that moves what is left of a request's body; it ends with the stream.
pub struct Pump {
    feed: Rc<Feed>,
    task: Option<JoinHandle<()>>,
}

impl Pump {
    async fn start(request: Flow<Incoming>, feed: &Rc<Feed>) -> Pump {
        let ended = request.ended();
        let moving = pump(request, Rc::clone(feed));
        let task = if ended {
            // All of it is there: moving it waits for nothing and needs no task.
            moving.await;
            None
        } else {
            Some(tokio::task::spawn_local(moving))
        };
        Pump {
            feed: Rc::clone(feed),
            task,
        }
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
        // An upstream that is still being sent the body must not wait for the rest of it.
        self.feed.abandon();
    }
}

async fn pump(mut request: Flow<Incoming>, feed: Rc<Feed>) {
    loop {
        feed.write(request.released());
        if request.ended() {
            return feed.finish(request.trailers());
        }
        feed.room().await;
        if let Err(end) = request.next().await {
            return request.stream.end(end);
        }
    }
}

/// Tells the guest where the request goes now, as Envoy's attributes have it.
fn tell(stream: &Stream, attempt: Attempt<'_>) {
    let Attempt {
        number,
        address,
        cluster,
    } = attempt;
    stream.property(
        &["upstream", "request_attempt_count"],
        &number.to_le_bytes(),
    );
    stream.property(&["upstream", "address"], address.to_string().as_bytes());
    stream.property(
        &["upstream", "port"],
        &u64::from(address.port()).to_le_bytes(),
    );
    stream.property(&["xds", "cluster_name"], cluster.as_bytes());
}

/// Joins both ends of an upgraded connection; the stream lasts as long as they talk.
async fn tunnel(
    stream: &Rc<Stream>,
    head: &response::Parts,
    client: OnUpgrade,
    server: OnUpgrade,
) -> Result<Response<AnyBody>, End> {
    let answer = Flow::new(stream, Side::Response, Full::<Bytes>::default(), true, true);
    let response = relay::respond(
        answer,
        head,
        None,
        Relay {
            lease: None,
            pump: None,
        },
    )
    .await?;
    let stream = Rc::clone(stream);
    tokio::task::spawn_local(async move {
        if let (Ok(client), Ok(server)) = (client.await, server.await) {
            let (mut client, mut server) = (TokioIo::new(client), TokioIo::new(server));
            let talking = tokio::io::copy_bidirectional(&mut client, &mut server);
            tokio::select! {
                _ = talking => {}
                _ = stream.ended() => {}
            }
        }
    });
    Ok(response)
}

/// An answer of the gateway's own: the guest's response callbacks see it as they see any.
async fn refuse(stream: Rc<Stream>, refusal: Refusal) -> Result<Response<AnyBody>, Broken> {
    stream.fail(&refusal);
    if stream.responded() {
        return Ok(plain(refusal));
    }
    let (head, body) = plain_parts(refusal);
    let end = body.is_end_stream();
    let flow = Flow::new(&stream, Side::Response, body, true, end);
    match relay::respond(
        flow,
        &head,
        None,
        Relay {
            lease: None,
            pump: None,
        },
    )
    .await
    {
        Ok(response) => Ok(response),
        Err(End::Reply(reply)) => Ok(replied(reply)),
        Err(End::Refuse(refusal)) => Ok(plain(refusal)),
        Err(End::Reset) => Err(Broken),
        Err(End::Gone) => Ok(plain(vm_down())),
    }
}

/// Requests that Envoy's codec refuses before any filter sees them.
fn malformed(head: &request::Parts) -> Option<Refusal> {
    let hosts = head.headers.get_all(HOST).iter().count();
    let without_host = hosts == 0 && head.uri.authority().is_none();
    if without_host || hosts > 1 {
        return Some(Refusal::new(StatusCode::BAD_REQUEST, "Bad Request", ""));
    }
    (head.method == Method::CONNECT).then(|| Refusal::new(StatusCode::FORBIDDEN, "", ""))
}

fn info(head: &request::Parts, ends: Ends) -> StreamInfo {
    StreamInfo {
        downstream_address: ends.client.to_string(),
        local_address: ends.local.to_string(),
        protocol: if head.version == Version::HTTP_2 {
            "HTTP/2"
        } else {
            "HTTP/1.1"
        }
        .to_owned(),
        ..StreamInfo::default()
    }
}

fn vm_down() -> Refusal {
    Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "", "wasm_fail_stream")
}

fn replied(reply: LocalResponse) -> Response<AnyBody> {
    let mut response = Response::new(relay::boxed(Full::from(reply.body)));
    *response.status_mut() = u16::try_from(reply.status)
        .ok()
        .and_then(|status| StatusCode::from_u16(status).ok())
        .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    *response.headers_mut() = fields::to_map(&reply.headers);
    // The body's own length is right, whatever the guest counted.
    response.headers_mut().remove(http::header::CONTENT_LENGTH);
    response
}

fn plain(refusal: Refusal) -> Response<AnyBody> {
    let (head, body) = plain_parts(refusal);
    Response::from_parts(head, relay::boxed(body))
}

fn plain_parts(refusal: Refusal) -> (response::Parts, Full<Bytes>) {
    let (mut head, body) = Response::new(Full::from(refusal.text)).into_parts();
    head.status = refusal.status;
    if !body.is_end_stream() {
        head.headers
            .insert(CONTENT_TYPE, http::HeaderValue::from_static("text/plain"));
    }
    (head, body)
}
