//! One half of a stream on its way through the guest: frames in, verdicts out, what is held counted.
//!
//! Both halves obey the same rules; only what is said when one is broken differs. The shapes are
//! Envoy's: over HTTP/1.1 a body ends with an empty last call, over HTTP/2 the last frame may carry
//! the end itself, and trailers end a body without its end ever being told.

use std::rc::Rc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Body;

use super::fields;
use super::stream::{End, Refusal, Step, Stream};
use crate::host::Side;

/// A half of a stream and where its frames come from.
pub struct Flow<B> {
    pub stream: Rc<Stream>,
    side: Side,
    body: B,
    /// Whether the last frame of the body carries its end.
    joined_end: bool,
    ended: bool,
    trailers: bool,
    limit: usize,
    idle: Duration,
}

impl<B> Flow<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    /// The half `side` of `stream`, over once `ended`; `joined_end` as HTTP/2 does it.
    pub fn new(stream: &Rc<Stream>, side: Side, body: B, joined_end: bool, ended: bool) -> Flow<B> {
        let options = &stream.worker().shared.options;
        let (limit, idle) = (options.body_limit, options.idle_timeout);
        Flow {
            stream: Rc::clone(stream),
            side,
            body,
            joined_end,
            ended,
            trailers: false,
            limit,
            idle,
        }
    }

    /// Whether every frame was handed in.
    pub fn ended(&self) -> bool {
        self.ended
    }

    /// Goes on from `step` until the guest lets the half go, handing in frames while it waits.
    pub async fn admit(&mut self, mut step: Step) -> Result<(), End> {
        let stream = Rc::clone(&self.stream);
        loop {
            step = match step {
                Step::Continue => return Ok(()),
                Step::End(end) => return Err(end),
                Step::Pause if self.ended => {
                    let decided = tokio::time::timeout(self.idle, stream.decided(self.side)).await;
                    decided.unwrap_or_else(|_| idle())
                }
                Step::Pause => tokio::select! {
                    biased;
                    decided = stream.decided(self.side) => decided,
                    advanced = self.advance(true) => advanced,
                },
            };
        }
    }

    /// Hands in the next frame and whatever is known to come with it, and goes on until it is let go.
    pub async fn next(&mut self) -> Result<(), End> {
        let step = self.advance(false).await;
        self.admit(step).await
    }

    /// The bytes that are free to go.
    pub fn released(&self) -> Bytes {
        self.stream.released(self.side)
    }

    /// The trailers that end the half, if it has any.
    pub fn trailers(&self) -> Option<HeaderMap> {
        self.trailers
            .then(|| fields::to_map(&self.stream.trailers_of(self.side)))
    }

    /// Hands in one frame. Waits only for the frame itself, so it may be given up at any time.
    async fn advance(&mut self, holding: bool) -> Step {
        let Ok(frame) = tokio::time::timeout(self.idle, self.body.frame()).await else {
            return match self.side {
                Side::Request => refuse(
                    StatusCode::REQUEST_TIMEOUT,
                    "request timeout",
                    "request_overall_timeout",
                ),
                Side::Response => idle(),
            };
        };
        match frame {
            None => {
                self.ended = true;
                self.stream.body(self.side, b"", true)
            }
            Some(Err(_)) => match self.side {
                Side::Request => Step::End(End::Reset),
                Side::Response => refuse(
                    StatusCode::SERVICE_UNAVAILABLE,
                    "upstream reset before the end of its response",
                    "upstream_reset_after_response_started{protocol_error}",
                ),
            },
            Some(Ok(frame)) => match frame.into_data() {
                Ok(chunk) => self.chunk(chunk, holding),
                Err(frame) => {
                    let trailers = frame.into_trailers().unwrap_or_default();
                    (self.ended, self.trailers) = (true, true);
                    self.stream
                        .trailers(self.side, fields::of_trailers(&trailers))
                }
            },
        }
    }

    fn chunk(&mut self, chunk: Bytes, holding: bool) -> Step {
        if holding && self.stream.held(self.side) + chunk.len() > self.limit {
            return match self.side {
                Side::Request => refuse(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "Payload Too Large",
                    "request_payload_too_large",
                ),
                Side::Response => refuse(
                    StatusCode::INTERNAL_SERVER_ERROR,
                    "Internal Server Error",
                    "response_payload_too_large",
                ),
            };
        }
        let last = self.body.is_end_stream();
        let step = self.stream.body(self.side, &chunk, last && self.joined_end);
        self.ended = last;
        match step {
            Step::Continue | Step::Pause if last && !self.joined_end => {
                self.stream.body(self.side, b"", true)
            }
            step => step,
        }
    }
}

fn refuse(status: StatusCode, text: &'static str, details: &'static str) -> Step {
    Step::End(End::Refuse(Refusal::new(status, text, details)))
}

fn idle() -> Step {
    Step::End(End::Refuse(Refusal::idle()))
}

/// All of a body up to `limit` bytes; none if it breaks or is longer.
pub async fn whole<B: Body<Data = Bytes> + Unpin>(
    mut body: B,
    limit: usize,
) -> Option<(Bytes, HeaderMap)> {
    let (mut bytes, mut trailers) = (BytesMut::new(), HeaderMap::new());
    while let Some(frame) = body.frame().await {
        match frame.ok()?.into_data() {
            Ok(data) if bytes.len() + data.len() > limit => return None,
            Ok(data) => bytes.extend_from_slice(&data),
            Err(frame) => trailers = frame.into_trailers().unwrap_or_default(),
        }
    }
    Some((bytes.freeze(), trailers))
}
