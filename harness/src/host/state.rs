//! The state of one VM that its hostcalls work on.
//!
//! Hostcalls decide nothing: they read and change this, and note as [`Action`]s what the proxy has
//! to do once the callback is over, since Envoy too defers them until then (`addAfterVmCallAction`).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use wasmtime::{Memory, TypedFunc};

use super::Shared;
use super::abi::{AbiVersion, Side, Status};
use super::faults::{Armed, Fault};
use super::grpc::Grpc;
use super::headers::Headers;
use super::http_call::{HttpCalls, Reply as CallReply};
use super::limits::Allowance;
use super::log::LogLine;
use super::metrics::Ids;
use super::queues::Mailbox;
use super::rng::Rng;
use super::stream::{LocalResponse, Stream};

pub(super) struct State {
    pub(super) shared: Arc<Shared>,
    pub(super) vm: u64,
    pub(super) abi: AbiVersion,
    pub(super) memory: Option<Memory>,
    pub(super) allocate: Option<TypedFunc<u32, u32>>,
    pub(super) allowance: Allowance,
    pub(super) faults: Armed,
    pub(super) rng: Rng,
    pub(super) mailbox: Arc<Mailbox>,
    /// True until the module's own start function has returned; most hostcalls trap before that.
    pub(super) starting: bool,
    /// The context of the callback that runs, and the one the guest chose to act for (0: none).
    pub(super) current: u32,
    pub(super) effective: u32,
    pub(super) phase: Phase,
    /// The clock of nginx stands still within a callback.
    pub(super) now: u64,
    pub(super) roots: BTreeMap<u32, Root>,
    pub(super) streams: BTreeMap<u32, Stream>,
    pub(super) metrics: Ids,
    pub(super) http: HttpCalls,
    pub(super) grpc: Grpc,
    pub(super) actions: VecDeque<Action>,
    /// `send_local_response` was called: whatever the callback answers, iteration stops.
    pub(super) stop_iteration: bool,
    /// What was written since the callback began.
    pub(super) lines: Vec<LogLine>,
    pub(super) last_fault: Option<Fault>,
}

/// Which callbacks may do what differs by these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Root,
    Request,
    Response,
    Log,
    Done,
}

/// A root context: one plugin configuration in force.
#[derive(Debug, Default)]
pub(super) struct Root {
    pub(super) root_id: String,
    pub(super) plugin_name: String,
    pub(super) configuration: Vec<u8>,
    /// Readable only within `on_configure`.
    pub(super) configuring: bool,
    pub(super) tick_millis: u32,
    /// The answer that `on_http_call_response` is about.
    pub(super) call_reply: Option<CallReply>,
    pub(super) grpc_initial: Option<Headers>,
    pub(super) grpc_trailing: Option<Headers>,
    pub(super) grpc_message: Option<Vec<u8>>,
    /// What `get_status` answers.
    pub(super) status: (u32, String),
    /// `on_done` answered false: `proxy_done` is awaited.
    pub(super) done_pending: bool,
}

/// What a hostcall asked the proxy to do.
#[derive(Debug)]
pub(super) enum Action {
    Resume(u32, Side),
    Reply(u32, LocalResponse),
    Close(u32),
    Delete(u32),
}

impl State {
    /// The context that a hostcall acts for. One that is gone falls back to the callback's own.
    pub(super) fn context(&self) -> u32 {
        if self.effective != 0 && self.knows(self.effective) {
            self.effective
        } else {
            self.current
        }
    }

    pub(super) fn knows(&self, id: u32) -> bool {
        id == 0 || self.roots.contains_key(&id) || self.streams.contains_key(&id)
    }

    /// The stream that a hostcall acts for.
    pub(super) fn stream(&self) -> Option<&Stream> {
        self.streams.get(&self.context())
    }

    pub(super) fn stream_mut(&mut self) -> Option<&mut Stream> {
        let id = self.context();
        self.streams.get_mut(&id)
    }

    /// The number of the root context that a hostcall acts for; 0 outside of any.
    pub(super) fn root_id(&self) -> u32 {
        let id = self.context();
        self.streams.get(&id).map_or(id, |stream| stream.root)
    }

    pub(super) fn root(&self) -> Result<&Root, Status> {
        self.roots.get(&self.root_id()).ok_or(Status::BadArgument)
    }

    pub(super) fn root_mut(&mut self) -> Result<&mut Root, Status> {
        let id = self.root_id();
        self.roots.get_mut(&id).ok_or(Status::BadArgument)
    }
}
