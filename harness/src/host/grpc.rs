//! gRPC calls and streams of guests: handed to the embedder step by step, and its answers handed back.

use std::collections::BTreeMap;
use std::time::Duration;

use super::headers::Headers;

/// What a guest wants done over gRPC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GrpcRequest {
    /// A call with one message and one answer.
    Call {
        /// What the answer is to be handed back under.
        token: u32,
        /// Whom, how.
        target: GrpcTarget,
        /// The message, serialized.
        message: Vec<u8>,
        /// How long the guest waits.
        timeout: Duration,
    },
    /// A stream is opened.
    Open {
        /// What everything on the stream goes under.
        token: u32,
        /// Whom, how.
        target: GrpcTarget,
    },
    /// A message on a stream.
    Send {
        /// The stream.
        token: u32,
        /// The message, serialized.
        message: Vec<u8>,
        /// Whether it is the last.
        end_of_stream: bool,
    },
    /// The guest's side of a stream ends, or a call is given up.
    Close {
        /// The stream or call.
        token: u32,
    },
    /// A stream or call is given up; nothing of it is to be handed back.
    Cancel {
        /// The stream or call.
        token: u32,
    },
}

/// Where a gRPC request goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrpcTarget {
    /// The cluster.
    pub upstream: String,
    /// The service, with its package.
    pub service: String,
    /// The method.
    pub method: String,
    /// The initial metadata.
    pub metadata: Headers,
}

/// The gRPC calls and streams of one VM.
#[derive(Debug, Default)]
pub(super) struct Grpc {
    /// Asked, and not yet taken by the embedder.
    pub(super) outbox: Vec<GrpcRequest>,
    /// By token, the root context that waits.
    pub(super) calls: BTreeMap<u32, u32>,
    pub(super) streams: BTreeMap<u32, OpenStream>,
    last_call: u32,
    last_stream: u32,
}

/// A stream that at least one side still holds open.
#[derive(Clone, Copy, Debug)]
pub(super) struct OpenStream {
    pub(super) root: u32,
    pub(super) local_closed: bool,
    pub(super) remote_closed: bool,
}

impl Grpc {
    /// Tokens of calls end on the bits 01.
    pub(super) fn call_token(&mut self) -> u32 {
        self.last_call = self.last_call.wrapping_add(4);
        self.last_call | 1
    }

    /// Tokens of streams end on the bits 10.
    pub(super) fn stream_token(&mut self) -> u32 {
        self.last_stream = self.last_stream.wrapping_add(4);
        self.last_stream | 2
    }

    /// Whom answers on `token` concern.
    pub(super) fn root_of(&self, token: u32) -> Option<u32> {
        self.calls
            .get(&token)
            .copied()
            .or_else(|| self.streams.get(&token).map(|stream| stream.root))
    }
}

pub(super) fn is_call(token: u32) -> bool {
    token & 3 == 1
}

pub(super) fn is_stream(token: u32) -> bool {
    token & 3 == 2
}
