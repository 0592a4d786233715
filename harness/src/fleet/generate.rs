//! A reply on its way out: a slot, the time that the model would take, and the words, whole or one by one.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame};
use tokio::time::{Instant, Sleep};

use super::answer::Reply;
use super::conduct::{Failure, Service};
use super::meters::Finished;
use super::order::Opening;
use super::response::AnyBody;
use super::server::Server;
use super::slots::Slot;
use super::stats::Received;

const EVENT_STREAM: &str = "text/event-stream; charset=utf-8";

/// Takes a slot and the time the model would take, as long as `service` orders; streams go on
/// taking it while they are read. Errors with the ordered refusal where no slot is left.
pub async fn generate(
    mut visit: Visit,
    reply: Reply,
    service: Service,
) -> Result<Response<AnyBody>, Failure> {
    let server = Arc::clone(&visit.server);
    let tokens = u64::from(reply.input_tokens()) + u64::from(reply.output_tokens());
    let slot = match service.shed {
        None => server.slots.take(tokens).await,
        Some((bound, refusal)) => server.slots.take_below(bound, tokens).ok_or(refusal)?,
    };
    let speed = server.spec().speed;
    let prefill = match service.think {
        Some((millis, _)) => Duration::from_millis(millis),
        None => speed.prefill(reply.input_tokens(), slot.others()),
    };
    let mut due = Instant::now() + server.scaled(prefill, service.slow);
    let early = service.think.and_then(|(_, opening)| early(opening));
    if reply.streams() {
        if early.is_none() {
            wait_until(due).await;
        }
        let stream = Stream {
            sleep: early.as_ref().map(|_| sleep_until(due)),
            due,
            sent: 0,
            queue: early.into_iter().flatten().collect(),
            opened: false,
            slow: service.slow,
            slot,
            visit,
            reply,
            ended: false,
        };
        return Ok(with_type(EVENT_STREAM, stream.boxed_unsync()));
    }
    wait_until(due).await;
    visit.first_token = Some(Instant::now());
    for _ in 1..reply.output_tokens() {
        due += server.scaled(speed.decode(slot.others()), service.slow);
        wait_until(due).await;
    }
    let body = reply.whole().to_string();
    visit.bytes_out = body.len();
    visit.finish(&reply);
    Ok(with_type(
        "application/json",
        Full::from(body).boxed_unsync(),
    ))
}

/// A stream of status 200 that holds an error and no token. `status` is what the error stands for.
pub fn failed_stream(mut visit: Visit, reply: &Reply, status: StatusCode) -> Response<AnyBody> {
    let body: Bytes = reply.failure(status).concat().into();
    visit.bytes_out = body.len();
    with_type(EVENT_STREAM, Full::from(body).boxed_unsync())
}

/// What leaves before the first token: `None` if the headers wait for it, too.
fn early(opening: Opening) -> Option<Option<Bytes>> {
    match opening {
        Opening::Nothing => None,
        Opening::Headers => Some(None),
        Opening::Comment => Some(Some(Bytes::from_static(b": still thinking\n\n"))),
        Opening::Ping => Some(Some(Bytes::from_static(
            b"event: ping\ndata: {\"type\": \"ping\"}\n\n",
        ))),
    }
}

fn with_type(kind: &'static str, body: AnyBody) -> Response<AnyBody> {
    let mut response = Response::new(body);
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn sleep_until(due: Instant) -> Pin<Box<Sleep>> {
    Box::pin(tokio::time::sleep_until(due))
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
    /// Whether the events before the first token have been queued.
    opened: bool,
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
            if !this.opened {
                this.opened = true;
                this.visit.first_token = Some(Instant::now());
                this.queue.extend(this.reply.opening());
            } else if this.sent < this.reply.output_tokens() {
                this.queue.push_back(this.reply.token(this.sent));
                this.sent += 1;
                let server = &this.visit.server;
                this.due +=
                    server.scaled(server.spec().speed.decode(this.slot.others()), this.slow);
                if this.due > Instant::now() {
                    this.sleep = Some(sleep_until(this.due));
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
pub struct Visit {
    server: Arc<Server>,
    arrived: Instant,
    first_token: Option<Instant>,
    bytes_out: usize,
    /// Whether it counts as failed when it ends.
    pub failed: bool,
}

impl Visit {
    pub fn new(server: &Arc<Server>, received: Received) -> Visit {
        let arrived = Instant::now();
        server.tell_of(arrived.into_std());
        let mut seen = server.seen();
        seen.requests += 1;
        seen.bytes_in += received.body_bytes as u64;
        seen.entered();
        seen.remember(received);
        Visit {
            server: Arc::clone(server),
            arrived,
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
