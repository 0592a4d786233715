//! Calls that guests make over HTTP: handed to the embedder, and their answers handed back.

use std::collections::BTreeMap;
use std::time::Duration;

use super::headers::Headers;

/// A request that a guest wants made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpCall {
    /// What the answer is to be handed back under.
    pub token: u32,
    /// The cluster (Envoy), or `ip:port`, name or `unix:` path (nginx).
    pub upstream: String,
    /// With `:method`, `:path` and `:authority`.
    pub headers: Headers,
    /// The body; `content-length` is set to its length.
    pub body: Vec<u8>,
    /// The trailers.
    pub trailers: Headers,
    /// How long the guest waits. None is for ever.
    pub timeout: Option<Duration>,
}

/// What came back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) headers: Headers,
    pub(super) body: Vec<u8>,
    pub(super) trailers: Headers,
}

/// The HTTP calls of one VM.
#[derive(Debug, Default)]
pub(super) struct HttpCalls {
    /// Made, and not yet taken by the embedder.
    pub(super) outbox: Vec<HttpCall>,
    /// By token, the root context that waits.
    pub(super) waiting: BTreeMap<u32, u32>,
    last: u32,
}

impl HttpCalls {
    /// The next token: as in proxy-wasm-cpp-host, kinds of calls are told apart by the lowest two bits.
    pub(super) fn token(&mut self) -> u32 {
        self.last = self.last.wrapping_add(4);
        self.last
    }
}
