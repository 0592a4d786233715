//! One stream between the gateway and its VM: callbacks in, waiting for what the guest decides later,
//! and the promise that the guest learns of the end, however it comes.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

use bytes::Bytes;
use http::StatusCode;
use tokio::sync::Notify;

use super::worker::{Gone, Worker};
use crate::host::{Headers, LocalResponse, Side, StreamId, StreamInfo, Trap, Verdict, Vm};

/// A stream; dropping it closes it in the VM at once.
pub struct Stream {
    worker: Rc<Worker>,
    id: StreamId,
    generation: u64,
    signals: Rc<Signals>,
    responded: Cell<bool>,
    /// Whether somebody here ended it. Who else could have is the client.
    over: Cell<bool>,
}

/// What becomes of one half of a stream for now.
#[derive(Debug)]
pub enum Step {
    /// What was released goes on.
    Continue,
    /// It waits: for more chunks or for a resume.
    Pause,
    /// The stream goes no further.
    End(End),
}

/// Why a stream goes no further.
#[derive(Clone, Debug)]
pub enum End {
    /// The guest answers in the upstream's place; its response callbacks have run.
    Reply(LocalResponse),
    /// The gateway answers in the upstream's place.
    Refuse(Refusal),
    /// The stream is reset.
    Reset,
    /// The VM trapped, now or meanwhile.
    Gone,
}

/// An answer of the gateway's own, worded as Envoy words its.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: StatusCode,
    pub text: Cow<'static, str>,
    /// Envoy's response code details.
    pub details: Cow<'static, str>,
}

/// What was decided outside of the stream's own callbacks.
#[derive(Default)]
pub struct Signals {
    request_resumed: Cell<bool>,
    response_resumed: Cell<bool>,
    end: RefCell<Option<End>>,
    changed: Notify,
}

impl Refusal {
    pub fn new(
        status: StatusCode,
        text: impl Into<Cow<'static, str>>,
        details: impl Into<Cow<'static, str>>,
    ) -> Refusal {
        Refusal {
            status,
            text: text.into(),
            details: details.into(),
        }
    }

    /// No byte moved for too long.
    pub fn idle() -> Refusal {
        Refusal::new(
            StatusCode::GATEWAY_TIMEOUT,
            "stream timeout",
            "stream_idle_timeout",
        )
    }
}

impl Stream {
    /// Opens a stream in the worker's VM; none if the VM is down.
    pub fn open(worker: &Rc<Worker>, info: StreamInfo) -> Result<Rc<Stream>, Gone> {
        let signals = Rc::new(Signals::default());
        let (id, generation) = worker.open(|vm| vm.open_stream(info), &signals)?;
        Ok(Rc::new(Stream {
            worker: Rc::clone(worker),
            id,
            generation,
            signals,
            responded: Cell::new(false),
            over: Cell::new(false),
        }))
    }

    pub fn worker(&self) -> &Rc<Worker> {
        &self.worker
    }

    /// Hands in the headers of `side`.
    pub fn headers(&self, side: Side, headers: Headers, end: bool) -> Step {
        self.responded
            .set(self.responded.get() || side == Side::Response);
        self.step(side, |vm, id| match side {
            Side::Request => vm.request_headers(id, headers, end),
            Side::Response => vm.response_headers(id, headers, end),
        })
    }

    /// Hands in a chunk of the body of `side`.
    pub fn body(&self, side: Side, chunk: &[u8], end: bool) -> Step {
        self.step(side, |vm, id| match side {
            Side::Request => vm.request_body(id, chunk, end),
            Side::Response => vm.response_body(id, chunk, end),
        })
    }

    /// Hands in the trailers of `side`.
    pub fn trailers(&self, side: Side, trailers: Headers) -> Step {
        self.step(side, |vm, id| match side {
            Side::Request => vm.request_trailers(id, trailers),
            Side::Response => vm.response_trailers(id, trailers),
        })
    }

    /// The headers of `side` as the guest left them.
    pub fn headers_of(&self, side: Side) -> Headers {
        self.read(|vm, id| match side {
            Side::Request => vm.request_headers_of(id).cloned().unwrap_or_default(),
            Side::Response => vm.response_headers_of(id).cloned().unwrap_or_default(),
        })
    }

    /// The trailers of `side` as the guest left them.
    pub fn trailers_of(&self, side: Side) -> Headers {
        self.read(|vm, id| match side {
            Side::Request => vm.request_trailers_of(id).cloned().unwrap_or_default(),
            Side::Response => vm.response_trailers_of(id).cloned().unwrap_or_default(),
        })
    }

    /// The bytes of `side` that are free to go.
    pub fn released(&self, side: Side) -> Bytes {
        self.read(|vm, id| match side {
            Side::Request => vm.take_request_body(id),
            Side::Response => vm.take_response_body(id),
        })
        .into()
    }

    /// How many bytes of `side` are held back.
    pub fn held(&self, side: Side) -> usize {
        self.read(|vm, id| vm.held_bytes(id, side))
    }

    /// Tells the guest something about the stream.
    pub fn property(&self, path: &[&str], value: &[u8]) {
        if self.worker.runs(self.generation) {
            let _ = self.worker.peek(|vm| vm.set_property(self.id, path, value));
        }
    }

    /// Tells the guest where its response comes from, or what became of it: Envoy's response code details.
    pub fn details(&self, details: &str) {
        self.property(&["response", "code_details"], details.as_bytes());
    }

    /// Tells the guest why the gateway ends the stream, before it learns that it does.
    pub fn fail(&self, refusal: &Refusal) {
        self.over.set(true);
        self.details(&refusal.details);
    }

    /// Waits until the guest lets `side` go or the stream ends.
    pub async fn decided(&self, side: Side) -> Step {
        loop {
            if let Some(end) = self.signals.end.borrow().clone() {
                return Step::End(end);
            }
            if self.signals.resumed(side).replace(false) {
                return Step::Continue;
            }
            self.signals.changed.notified().await;
        }
    }

    /// Waits until the stream ends, leaving resumes to whoever waits for them.
    pub async fn ended(&self) -> End {
        loop {
            if let Some(end) = self.signals.end.borrow().clone() {
                return end;
            }
            self.signals.changed.notified().await;
        }
    }

    /// Tells every part of the stream that it ends.
    pub fn end(&self, end: End) {
        self.signals.end(end);
    }

    /// Whether the guest has seen a response: it must not see a second one.
    pub fn responded(&self) -> bool {
        self.responded.get()
    }

    /// Ends the stream in the VM.
    pub fn close(&self) {
        self.over.set(true);
        self.worker.close(self.id, self.generation);
    }

    fn step(
        &self,
        side: Side,
        callback: impl FnOnce(&mut Vm, StreamId) -> Result<Verdict, Trap>,
    ) -> Step {
        if !self.worker.runs(self.generation) {
            return Step::End(End::Gone);
        }
        // A resume that nobody waited for was for what has passed already.
        self.signals.resumed(side).set(false);
        match self.worker.call(|vm| callback(vm, self.id)) {
            Ok(Verdict::Continue) => Step::Continue,
            Ok(Verdict::Pause) => Step::Pause,
            Ok(Verdict::Reply(reply)) => Step::End(End::Reply(reply)),
            Ok(Verdict::Close) => {
                self.over.set(true);
                Step::End(End::Reset)
            }
            Err(Gone) => Step::End(End::Gone),
        }
    }

    fn read<T: Default>(&self, read: impl FnOnce(&mut Vm, StreamId) -> T) -> T {
        if !self.worker.runs(self.generation) {
            return T::default();
        }
        self.worker.peek(|vm| read(vm, self.id)).unwrap_or_default()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !self.over.get() && self.signals.end.borrow().is_none() {
            self.details("downstream_remote_disconnect");
        }
        self.close();
    }
}

impl Signals {
    pub fn resume(&self, side: Side) {
        self.resumed(side).set(true);
        self.changed.notify_waiters();
    }

    /// The first end counts.
    pub fn end(&self, end: End) {
        self.end.borrow_mut().get_or_insert(end);
        self.changed.notify_waiters();
    }

    fn resumed(&self, side: Side) -> &Cell<bool> {
        match side {
            Side::Request => &self.request_resumed,
            Side::Response => &self.response_resumed,
        }
    }
}
