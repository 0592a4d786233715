//! One HTTP stream as its guest sees it: two halves, what is visible of each, what is held and what may go.
//!
//! The rules are those of Envoy's `context.cc`, where a map is a pointer that some steps set to null:
//! headers are visible from their callback until it answers Continue or the stream is resumed, and
//! a buffer holds what was paused plus the newest chunk.

use std::collections::{BTreeMap, HashMap};

use super::abi::Side;
use super::headers::Headers;

/// Names a stream of one VM; the guest knows it as its context id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamId(pub(super) u32);

impl StreamId {
    /// The guest's number for it.
    pub fn context_id(self) -> u32 {
        self.0
    }
}

/// What is known of a stream before its first byte.
#[derive(Clone, Debug, Default)]
pub struct StreamInfo {
    /// The client, `ip:port`; the properties `source.address` and `source.port`.
    pub downstream_address: String,
    /// Where the client connected to, `ip:port`; the properties `destination.address` and `destination.port`.
    pub local_address: String,
    /// `HTTP/1.1`, `HTTP/2`; the property `request.protocol`.
    pub protocol: String,
    /// Any other property, by its path.
    pub properties: BTreeMap<Vec<String>, Vec<u8>>,
}

/// An answer that the guest gave in the upstream's place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalResponse {
    /// The HTTP status.
    pub status: u32,
    /// The header fields, without pseudo-headers, as the guest's own response callbacks left them.
    pub headers: Headers,
    /// The body, likewise.
    pub body: Vec<u8>,
    /// The gRPC status, if the guest gave one.
    pub grpc_status: Option<u32>,
    /// `response_code_details`.
    pub details: String,
}

/// What the proxy does after a callback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Pass on what was released.
    Continue,
    /// Hold it; more chunks are still to be handed in.
    Pause,
    /// Answer this. Once the response's head is sent it cannot be, and the verdict is [`Verdict::Close`].
    Reply(LocalResponse),
    /// Reset the stream.
    Close,
}

/// What happened to a stream outside of its own callbacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A held half goes on: take what was released.
    Resumed(StreamId, Side),
    /// The stream is answered.
    LocalReply(StreamId, LocalResponse),
    /// The stream is reset.
    Closed(StreamId),
}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) root: u32,
    pub(super) info: StreamInfo,
    /// Set by the guest, read back under the same path.
    pub(super) state: HashMap<Vec<u8>, Vec<u8>>,
    /// Whether the guest has its context.
    pub(super) created: bool,
    pub(super) request: Half,
    pub(super) response: Half,
    pub(super) reply: Reply,
    pub(super) started_wall: u64,
    pub(super) started: u64,
}

/// How far an answer of the guest's own has come.
#[derive(Debug, Default)]
pub(super) enum Reply {
    #[default]
    None,
    /// The guest's response callbacks are running over it, or have paused on it.
    Passing(LocalResponse),
    Sent,
}

#[derive(Debug, Default)]
pub(super) struct Half {
    pub(super) headers: Headers,
    pub(super) trailers: Headers,
    pub(super) headers_visible: bool,
    pub(super) trailers_visible: bool,
    /// What the guest's buffer calls see.
    pub(super) body: Vec<u8>,
    pub(super) body_visible: bool,
    /// Held, and no longer seen.
    pub(super) aside: Vec<u8>,
    /// Released, and not yet taken.
    pub(super) released: Vec<u8>,
    pub(super) seen: Seen,
    pub(super) hold: Hold,
    pub(super) end_of_stream: bool,
    /// Came while everything was held; the guest has not been asked yet.
    pub(super) body_waiting: bool,
    pub(super) trailers_waiting: bool,
    /// Whether the head has gone on.
    pub(super) passed: bool,
}

/// How far the half has come in from the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Seen {
    #[default]
    Nothing,
    Headers,
    Body,
    End,
}

/// What is held back and how the next chunk meets it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Hold {
    /// Nothing.
    #[default]
    No,
    /// The headers, until the body's callback or a resume lets go (`StopIteration`).
    Headers,
    /// Everything, and no callback comes before a resume (`StopAllIteration…`).
    All,
    /// The body so far, which the next chunk joins (`StopIterationAndBuffer`).
    Buffering,
    /// The body so far, out of the guest's sight (`StopIterationAndWatermark`).
    Aside,
    /// Nothing: what came is thrown away (`StopIterationNoBuffer`).
    Discarding,
    /// The trailers and all before them.
    Trailers,
}

impl Stream {
    pub(super) fn new(root: u32, info: StreamInfo, started_wall: u64, started: u64) -> Self {
        Self {
            root,
            info,
            state: HashMap::new(),
            created: false,
            request: Half::default(),
            response: Half::default(),
            reply: Reply::None,
            started_wall,
            started,
        }
    }

    pub(super) fn half(&self, side: Side) -> &Half {
        match side {
            Side::Request => &self.request,
            Side::Response => &self.response,
        }
    }

    pub(super) fn half_mut(&mut self, side: Side) -> &mut Half {
        match side {
            Side::Request => &mut self.request,
            Side::Response => &mut self.response,
        }
    }

    /// What `continue_stream` makes invisible. Envoy forgets the *request* whichever half is resumed.
    pub(super) fn forget_request(&mut self) {
        self.request.headers_visible = false;
        self.request.trailers_visible = false;
        self.request.body_visible = false;
    }
}

impl Half {
    /// Takes a chunk in before its callback. Returns the size that the guest is told.
    pub(super) fn take_in(&mut self, chunk: &[u8], end_of_stream: bool) -> usize {
        match self.hold {
            Hold::Buffering => {}
            Hold::Discarding => self.body.clear(),
            Hold::No | Hold::Headers | Hold::All | Hold::Aside | Hold::Trailers => {
                self.aside.append(&mut self.body);
            }
        }
        self.body.extend_from_slice(chunk);
        self.body_visible = true;
        self.end_of_stream = end_of_stream;
        self.seen = self
            .seen
            .max(if end_of_stream { Seen::End } else { Seen::Body });
        self.body.len()
    }

    /// Lets everything go that is held.
    pub(super) fn release(&mut self) {
        if self.hold == Hold::Discarding {
            self.body.clear();
        }
        self.released.append(&mut self.aside);
        self.released.append(&mut self.body);
        self.hold = Hold::No;
        self.passed = true;
    }
}
