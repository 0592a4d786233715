//! The callbacks that a module exports, found once with their types checked.

use wasmtime::{Instance, Store, TypedFunc, WasmParams, WasmResults};

use crate::host::abi::AbiVersion;
use crate::host::state::State;
use crate::host::trap::StartFailure;

/// A callback with its name; None where the module has none, which every callback may.
pub(super) type Callback<P, R> = (&'static str, Option<TypedFunc<P, R>>);

pub(super) struct Exports {
    pub(super) on_context_create: Callback<(u32, u32), ()>,
    pub(super) on_vm_start: Callback<(u32, u32), u32>,
    pub(super) on_configure: Callback<(u32, u32), u32>,
    pub(super) on_tick: Callback<u32, ()>,
    pub(super) on_queue_ready: Callback<(u32, u32), ()>,
    pub(super) on_headers: [Callback<(u32, u32, u32), u32>; 2],
    /// As ABI 0.1.0 had them, without the end of the stream.
    pub(super) on_headers_old: [Callback<(u32, u32), u32>; 2],
    pub(super) on_body: [Callback<(u32, u32, u32), u32>; 2],
    pub(super) on_trailers: [Callback<(u32, u32), u32>; 2],
    pub(super) on_done: Callback<u32, u32>,
    pub(super) on_log: Callback<u32, ()>,
    pub(super) on_delete: Callback<u32, ()>,
    pub(super) on_http_call_response: Callback<(u32, u32, u32, u32, u32), ()>,
    pub(super) on_grpc_receive_initial_metadata: Callback<(u32, u32, u32), ()>,
    pub(super) on_grpc_receive: Callback<(u32, u32, u32), ()>,
    pub(super) on_grpc_receive_trailing_metadata: Callback<(u32, u32, u32), ()>,
    pub(super) on_grpc_close: Callback<(u32, u32, u32), ()>,
}

impl Exports {
    pub(super) fn find(
        instance: &Instance,
        store: &mut Store<State>,
    ) -> Result<Self, StartFailure> {
        let mut find = Find { instance, store };
        let old = find.store.data().abi == AbiVersion::V0_1_0;
        let names = ["proxy_on_request_headers", "proxy_on_response_headers"];
        let none = names.map(|name| (name, None));
        let (on_headers, on_headers_old) = if old {
            (none, [find.export(names[0])?, find.export(names[1])?])
        } else {
            (
                [find.export(names[0])?, find.export(names[1])?],
                names.map(|name| (name, None)),
            )
        };
        Ok(Self {
            on_context_create: find.export("proxy_on_context_create")?,
            on_vm_start: find.export("proxy_on_vm_start")?,
            on_configure: find.export("proxy_on_configure")?,
            on_tick: find.export("proxy_on_tick")?,
            on_queue_ready: find.export("proxy_on_queue_ready")?,
            on_headers,
            on_headers_old,
            on_body: [
                find.export("proxy_on_request_body")?,
                find.export("proxy_on_response_body")?,
            ],
            on_trailers: [
                find.export("proxy_on_request_trailers")?,
                find.export("proxy_on_response_trailers")?,
            ],
            on_done: find.export("proxy_on_done")?,
            on_log: find.export("proxy_on_log")?,
            on_delete: find.export("proxy_on_delete")?,
            on_http_call_response: find.export("proxy_on_http_call_response")?,
            on_grpc_receive_initial_metadata: find
                .export("proxy_on_grpc_receive_initial_metadata")?,
            on_grpc_receive: find.export("proxy_on_grpc_receive")?,
            on_grpc_receive_trailing_metadata: find
                .export("proxy_on_grpc_receive_trailing_metadata")?,
            on_grpc_close: find.export("proxy_on_grpc_close")?,
        })
    }
}

struct Find<'a> {
    instance: &'a Instance,
    store: &'a mut Store<State>,
}

impl Find<'_> {
    fn export<P: WasmParams, R: WasmResults>(
        &mut self,
        name: &'static str,
    ) -> Result<Callback<P, R>, StartFailure> {
        typed(self.instance, self.store, name).map(|found| (name, found))
    }
}

/// The export as a function of this type; an export of another type is an error.
pub(super) fn typed<P: WasmParams, R: WasmResults>(
    instance: &Instance,
    store: &mut Store<State>,
    name: &'static str,
) -> Result<Option<TypedFunc<P, R>>, StartFailure> {
    match instance.get_func(&mut *store, name) {
        None => Ok(None),
        Some(func) => func
            .typed(&*store)
            .map(Some)
            .map_err(|_| StartFailure::Signature(name)),
    }
}
