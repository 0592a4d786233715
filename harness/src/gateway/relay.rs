//! A response on its way to the client, chunk by chunk through the guest.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Response, response};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, SizeHint};

use super::fields;
use super::flow::Flow;
use super::pool::Lease;
use super::serve::Pump;
use super::stream::End;
use crate::host::Side;

/// A body of this thread.
pub type AnyBody = Pin<Box<dyn Body<Data = Bytes, Error = Broken>>>;

/// The stream was reset: what was promised will not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the stream was reset")]
pub struct Broken;

/// What a response keeps until its end.
#[derive(Default)]
pub struct Relay {
    /// The upstream connection, to be given back.
    pub lease: Option<Lease>,
    /// What still moves the request's body.
    pub pump: Option<Pump>,
}

/// Hands the response's head in, and answers with it once the guest lets it go; the body follows.
pub async fn respond<B>(
    mut flow: Flow<B>,
    head: &response::Parts,
    service_time: Option<Duration>,
    kept: Relay,
) -> Result<Response<AnyBody>, End>
where
    B: Body<Data = Bytes> + Unpin + 'static,
{
    let mut headers = fields::of_response(head);
    if let Some(time) = service_time {
        headers.replace(
            "x-envoy-upstream-service-time",
            time.as_millis().to_string(),
        );
    }
    let stream = Rc::clone(&flow.stream);
    let step = stream.headers(Side::Response, headers, flow.ended());
    tokio::select! {
        biased;
        end = stream.ended() => return Err(end),
        admitted = flow.admit(step) => admitted?,
    }
    let head = fields::to_response(&stream.headers_of(Side::Response));
    let mut tail = Tail {
        flow,
        kept,
        ready: VecDeque::new(),
        closed: false,
    };
    tail.take();
    Ok(Response::from_parts(
        head,
        Box::pin(Unfold {
            idle: Some(tail),
            busy: None,
        }),
    ))
}

/// `body` as a body of this thread.
pub fn boxed(body: impl Body<Data = Bytes, Error = std::convert::Infallible> + 'static) -> AnyBody {
    Box::pin(body.map_err(|never| match never {}))
}

/// What is left of a response after its head.
struct Tail<B> {
    flow: Flow<B>,
    kept: Relay,
    ready: VecDeque<Frame<Bytes>>,
    closed: bool,
}

impl<B: Body<Data = Bytes> + Unpin> Tail<B> {
    async fn next(&mut self) -> NextFrame {
        loop {
            self.take();
            if let Some(frame) = self.ready.pop_front() {
                return Some(Ok(frame));
            }
            if self.closed {
                return None;
            }
            let stream = Rc::clone(&self.flow.stream);
            let next = tokio::select! {
                biased;
                end = stream.ended() => Err(end),
                next = self.flow.next() => next,
            };
            if let Err(end) = next {
                if let End::Refuse(refusal) = end {
                    stream.fail(&refusal);
                }
                return Some(Err(Broken));
            }
        }
    }

    /// Makes ready what the guest has released.
    fn take(&mut self) {
        let released = self.flow.released();
        if !released.is_empty() {
            self.ready.push_back(Frame::data(released));
        }
        if self.flow.ended() && !self.closed {
            self.finish();
        }
    }

    /// Before the last frame leaves, so that whoever has the whole answer finds the stream closed.
    fn finish(&mut self) {
        self.ready.extend(self.flow.trailers().map(Frame::trailers));
        if let Some(lease) = self.kept.lease.take() {
            lease.give_back();
        }
        self.kept.pump = None;
        self.flow.stream.close();
        self.closed = true;
    }
}

/// A body out of an `async fn`: the tail is either idle or inside the future that reads from it.
struct Unfold<B> {
    idle: Option<Tail<B>>,
    busy: Option<Reading<B>>,
}

type Reading<B> = Pin<Box<dyn Future<Output = (Tail<B>, NextFrame)>>>;
type NextFrame = Option<Result<Frame<Bytes>, Broken>>;

impl<B: Body<Data = Bytes> + Unpin + 'static> Body for Unfold<B> {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<NextFrame> {
        if let Some(mut tail) = self.idle.take() {
            self.busy = Some(Box::pin(async move {
                let frame = tail.next().await;
                (tail, frame)
            }));
        }
        let Some(busy) = &mut self.busy else {
            return Poll::Ready(None);
        };
        let (tail, frame) = ready!(busy.as_mut().poll(cx));
        self.busy = None;
        // After the end, or a reset, nothing is kept: the stream closes here at the latest.
        if matches!(frame, Some(Ok(_))) {
            self.idle = Some(tail);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.idle
            .as_ref()
            .is_some_and(|tail| tail.closed && tail.ready.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.idle {
            Some(tail) if tail.closed => {
                let bytes = tail
                    .ready
                    .iter()
                    .filter_map(|frame| frame.data_ref())
                    .map(Bytes::len)
                    .sum::<usize>();
                SizeHint::with_exact(bytes as u64)
            }
            _ => SizeHint::default(),
        }
    }
}
