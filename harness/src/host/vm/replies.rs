//! Calls out: what guests asked for is taken by the embedder, and what came back is handed in here.
//!
//! An answer belongs to the root context that asked, not to a stream, so it is delivered even when the stream
//! is long gone; the guest itself acts for a stream with `set_effective_context`.

use std::mem;

use super::Vm;
use crate::host::abi::Status;
use crate::host::grpc::{GrpcRequest, is_call};
use crate::host::headers::Headers;
use crate::host::http_call::{HttpCall, Reply};
use crate::host::options::Profile;
use crate::host::state::{Phase, Root};
use crate::host::trap::Trap;

impl Vm {
    /// The HTTP calls made since the last time, in order.
    pub fn take_http_calls(&mut self) -> Vec<HttpCall> {
        mem::take(&mut self.store.data_mut().http.outbox)
    }

    /// A call was answered. Envoy answers a failed connection itself, with `:status` 503, and a timeout with 504; in
    /// nginx either comes back with no headers but `:dispatch_status`. An unknown or answered token is no error.
    pub fn http_call_response(
        &mut self,
        token: u32,
        headers: Headers,
        body: Vec<u8>,
        trailers: Headers,
    ) -> Result<(), Trap> {
        let counts = (headers.len(), body.len(), trailers.len());
        self.deliver_http(
            token,
            Some(Reply {
                headers,
                body,
                trailers,
            }),
            counts,
        )
    }

    /// A call was reset before its answer was whole: the guest is told of no headers at all.
    pub fn http_call_reset(&mut self, token: u32) -> Result<(), Trap> {
        self.deliver_http(token, None, (0, 0, 0))
    }

    fn deliver_http(
        &mut self,
        token: u32,
        reply: Option<Reply>,
        counts: (usize, usize, usize),
    ) -> Result<(), Trap> {
        self.begin()?;
        let state = self.store.data_mut();
        let Some(root_id) = state.http.waiting.remove(&token) else {
            return Ok(());
        };
        let Some(root) = state.roots.get_mut(&root_id) else {
            return Ok(());
        };
        if reply.is_none() {
            root.status = (Status::BrokenConnection as u32, "reset".to_owned());
        }
        root.call_reply = reply;
        let [headers, body, trailers] =
            [counts.0, counts.1, counts.2].map(|count| u32::try_from(count).unwrap_or(u32::MAX));
        let callback = self.exports.on_http_call_response.clone();
        self.call(
            &callback,
            (root_id, Phase::Root),
            (root_id, token, headers, body, trailers),
        )?;
        self.with_root(root_id, |root| {
            root.call_reply = None;
            root.status.1.clear();
        });
        self.settle(None)
    }

    /// What guests asked for over gRPC since the last time, in order.
    pub fn take_grpc_requests(&mut self) -> Vec<GrpcRequest> {
        mem::take(&mut self.store.data_mut().grpc.outbox)
    }

    /// The initial metadata of a gRPC stream or call came.
    pub fn grpc_initial_metadata(&mut self, token: u32, metadata: Headers) -> Result<(), Trap> {
        self.begin()?;
        let Some(root) = self.grpc_root(token) else {
            return Ok(());
        };
        let count = u32::try_from(metadata.len()).unwrap_or(u32::MAX);
        self.with_root(root, |root| root.grpc_initial = Some(metadata));
        let callback = self.exports.on_grpc_receive_initial_metadata.clone();
        self.call(&callback, (root, Phase::Root), (root, token, count))?;
        self.with_root(root, |root| root.grpc_initial = None);
        self.settle(None)
    }

    /// A gRPC message came. It ends a call.
    pub fn grpc_message(&mut self, token: u32, message: Vec<u8>) -> Result<(), Trap> {
        self.begin()?;
        let Some(root) = self.grpc_root(token) else {
            return Ok(());
        };
        let len = super::size(&message);
        self.with_root(root, |root| root.grpc_message = Some(message));
        let callback = self.exports.on_grpc_receive.clone();
        self.call(&callback, (root, Phase::Root), (root, token, len))?;
        self.with_root(root, |root| root.grpc_message = None);
        self.store.data_mut().grpc.calls.remove(&token);
        self.settle(None)
    }

    /// The trailing metadata of a gRPC stream came.
    pub fn grpc_trailing_metadata(&mut self, token: u32, metadata: Headers) -> Result<(), Trap> {
        self.begin()?;
        let Some(root) = self.grpc_root(token) else {
            return Ok(());
        };
        let count = u32::try_from(metadata.len()).unwrap_or(u32::MAX);
        self.with_root(root, |root| root.grpc_trailing = Some(metadata));
        let callback = self.exports.on_grpc_receive_trailing_metadata.clone();
        self.call(&callback, (root, Phase::Root), (root, token, count))?;
        self.with_root(root, |root| root.grpc_trailing = None);
        self.settle(None)
    }

    /// The other side ended a gRPC stream, or a call failed.
    pub fn grpc_close(&mut self, token: u32, status: u32, message: &str) -> Result<(), Trap> {
        self.begin()?;
        let Some(root) = self.grpc_root(token) else {
            return Ok(());
        };
        self.with_root(root, |root| root.status = (status, message.to_owned()));
        let callback = self.exports.on_grpc_close.clone();
        self.call(&callback, (root, Phase::Root), (root, token, status))?;
        self.with_root(root, |root| root.status.1.clear());
        let grpc = &mut self.store.data_mut().grpc;
        if is_call(token) {
            grpc.calls.remove(&token);
        } else if let Some(stream) = grpc.streams.get_mut(&token) {
            stream.remote_closed = true;
            if stream.local_closed {
                grpc.streams.remove(&token);
            }
        }
        self.settle(None)
    }

    fn grpc_root(&self, token: u32) -> Option<u32> {
        let state = self.store.data();
        let nginx = state.shared.options.profile == Profile::Nginx;
        state
            .grpc
            .root_of(token)
            .filter(|root| !nginx && state.roots.contains_key(root))
    }

    fn with_root(&mut self, id: u32, change: impl FnOnce(&mut Root)) {
        if let Some(root) = self.store.data_mut().roots.get_mut(&id) {
            change(root);
        }
    }
}
