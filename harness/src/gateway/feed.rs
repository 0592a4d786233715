//! A request body on its way upstream: read from the start again while an attempt can be repeated.
//!
//! A retry needs every byte that was sent before. They are kept up to the body limit; a body that
//! outgrows it goes on flowing but can no longer be sent twice, which is Envoy's rule too.
//!
//! An attempt that is given up may leave a connection that is still to find out. So every reading has
//! a number, and all but the last find the body abandoned.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use hyper::body::{Body, Frame, SizeHint};

/// Bytes that wait for the upstream before the client is no longer read from.
const AHEAD: usize = 256 << 10;

/// The writing end and the memory.
pub struct Feed(RefCell<State>);

struct State {
    /// Kept chunks; before them, `forgotten` more have passed.
    chunks: Vec<Bytes>,
    forgotten: usize,
    replayable: bool,
    limit: usize,
    written: usize,
    read: usize,
    end: End,
    readings: u64,
    reader: Option<Waker>,
    writer: Option<Waker>,
    waiter: Option<Waker>,
}

enum End {
    NotYet,
    Abandoned,
    Trailers(HeaderMap),
    Reached,
}

/// The rest of a body will never come: its client is gone, or its answer is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the request's body was abandoned")]
pub struct Abandoned;

/// One attempt's reading of a [`Feed`] from its start.
pub struct Reading {
    feed: Rc<Feed>,
    number: u64,
    next: usize,
    trailers_sent: bool,
}

impl Feed {
    /// An empty body that stays replayable up to `limit` bytes.
    pub fn new(limit: usize) -> Rc<Feed> {
        Rc::new(Feed(RefCell::new(State {
            chunks: Vec::new(),
            forgotten: 0,
            replayable: true,
            limit,
            written: 0,
            read: 0,
            end: End::NotYet,
            readings: 0,
            reader: None,
            writer: None,
            waiter: None,
        })))
    }

    /// Appends `chunk`.
    pub fn write(&self, chunk: Bytes) {
        if chunk.is_empty() {
            return;
        }
        let mut state = self.0.borrow_mut();
        state.written += chunk.len();
        state.replayable &= state.written <= state.limit;
        state.chunks.push(chunk);
        state.wake_reader();
    }

    /// Ends the body, with `trailers` if it has any.
    pub fn finish(&self, trailers: Option<HeaderMap>) {
        let mut state = self.0.borrow_mut();
        state.end = trailers.map_or(End::Reached, End::Trailers);
        state.wake_reader();
        if let Some(waiter) = state.waiter.take() {
            waiter.wake();
        }
    }

    /// Gives up on the rest: whoever reads it is told, and closes the connection.
    pub fn abandon(&self) {
        let mut state = self.0.borrow_mut();
        if matches!(state.end, End::NotYet) {
            state.end = End::Abandoned;
            state.wake_reader();
        }
    }

    /// Waits until the upstream has taken enough for more to be written.
    pub async fn room(&self) {
        poll_fn(|cx| {
            let mut state = self.0.borrow_mut();
            if state.written - state.read <= AHEAD {
                return Poll::Ready(());
            }
            state.writer = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Whether [`Feed::read`] still starts at the first byte.
    pub fn replayable(&self) -> bool {
        self.0.borrow().replayable
    }

    /// Waits until `patience` after the end was written; for ever without a patience.
    pub async fn outwaited(&self, patience: Option<Duration>) {
        let Some(patience) = patience else {
            return std::future::pending().await;
        };
        poll_fn(|cx| {
            let mut state = self.0.borrow_mut();
            if matches!(state.end, End::Reached | End::Trailers(_)) {
                return Poll::Ready(());
            }
            state.waiter = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
        tokio::time::sleep(patience).await;
    }

    /// A reading from the start, which puts an end to the one before it.
    pub fn read(self: &Rc<Self>) -> Reading {
        let mut state = self.0.borrow_mut();
        state.read = 0;
        state.readings += 1;
        state.wake_reader();
        Reading {
            feed: Rc::clone(self),
            number: state.readings,
            next: 0,
            trailers_sent: false,
        }
    }
}

impl State {
    fn wake_reader(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

impl Body for Reading {
    type Data = Bytes;
    type Error = Abandoned;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Abandoned>>> {
        let feed = Rc::clone(&self.feed);
        let state = &mut *feed.0.borrow_mut();
        if self.number != state.readings {
            return Poll::Ready(Some(Err(Abandoned)));
        }
        if let Some(chunk) = state.chunks.get(self.next - state.forgotten).cloned() {
            self.next += 1;
            state.read += chunk.len();
            if !state.replayable {
                state.chunks.drain(..self.next - state.forgotten);
                state.forgotten = self.next;
            }
            if let Some(writer) = state.writer.take() {
                writer.wake();
            }
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        match &state.end {
            End::NotYet => {
                state.reader = Some(cx.waker().clone());
                Poll::Pending
            }
            End::Abandoned => Poll::Ready(Some(Err(Abandoned))),
            End::Trailers(trailers) if !self.trailers_sent => {
                self.trailers_sent = true;
                Poll::Ready(Some(Ok(Frame::trailers(trailers.clone()))))
            }
            End::Trailers(_) | End::Reached => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        let state = self.feed.0.borrow();
        matches!(state.end, End::Reached) && self.next == state.forgotten + state.chunks.len()
    }

    fn size_hint(&self) -> SizeHint {
        let state = self.feed.0.borrow();
        match state.end {
            End::Reached => SizeHint::with_exact((state.written - state.read) as u64),
            End::NotYet | End::Abandoned | End::Trailers(_) => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    async fn all(reading: Reading) -> Vec<u8> {
        reading.collect().await.unwrap().to_bytes().to_vec()
    }

    #[tokio::test]
    async fn a_body_within_the_limit_can_be_read_twice() {
        let feed = Feed::new(4);
        feed.write(Bytes::from_static(b"ab"));
        feed.write(Bytes::from_static(b"cd"));
        feed.finish(None);
        assert!(feed.replayable());
        assert_eq!(feed.read().size_hint().exact(), Some(4));
        assert_eq!(all(feed.read()).await, b"abcd");
        assert_eq!(all(feed.read()).await, b"abcd");
    }

    #[tokio::test]
    async fn a_second_reading_ends_the_first() {
        let feed = Feed::new(4);
        feed.write(Bytes::from_static(b"ab"));
        feed.finish(None);
        let (first, second) = (feed.read(), feed.read());
        assert_eq!(first.collect().await.unwrap_err(), Abandoned);
        assert_eq!(all(second).await, b"ab");
    }

    #[tokio::test]
    async fn a_body_beyond_the_limit_passes_once_and_is_not_kept() {
        let feed = Feed::new(3);
        feed.write(Bytes::from_static(b"ab"));
        feed.write(Bytes::from_static(b"cd"));
        feed.finish(None);
        assert!(!feed.replayable());
        assert_eq!(all(feed.read()).await, b"abcd");
        assert!(feed.0.borrow().chunks.is_empty());
    }
}
