//! What guests can ask of the host: one file a capability, all linked here.
//!
//! Each hostcall is a function from the guest to an answer; counting, ordered faults and the turning of
//! answers into numbers are the door's business (`Guest::enter`), not the call's.

use wasmtime::Linker;

use super::abi::AbiVersion;
use super::calls;
use super::state::State;

mod buffers;
mod foreign;
mod grpc;
mod headers;
mod http_call;
mod log;
mod metrics;
mod properties;
mod queues;
mod shared_data;
mod stream;
mod timers;
mod wasi;

/// Defines hostcalls: `fn name(guest, arguments) { … }`, each answering `Answer`.
macro_rules! hostcalls {
    ($linker:ident: $(fn $name:ident($guest:ident $(, $arg:ident: $type:ty)*) $body:block)+) => {
        $({
            let name = stringify!($name);
            let index = $crate::host::calls::index(name);
            $linker.func_wrap(
                "env",
                name,
                move |caller: wasmtime::Caller<'_, $crate::host::state::State> $(, $arg: $type)*| {
                    $crate::host::marshal::Guest::enter(caller, (index, name), |$guest| $body)
                },
            )?;
        })+
    };
}
use hostcalls;

/// Links everything that a module of any version can import.
pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    log::link(linker)?;
    timers::link(linker)?;
    properties::link(linker)?;
    headers::link(linker)?;
    buffers::link(linker)?;
    stream::link(linker)?;
    shared_data::link(linker)?;
    queues::link(linker)?;
    metrics::link(linker)?;
    http_call::link(linker)?;
    grpc::link(linker)?;
    foreign::link(linker)?;
    wasi::link(linker)
}

/// Whether a module of this version may import the function, by proxy-wasm-cpp-host's `registerCallbacks`.
pub(super) fn offers(abi: AbiVersion, module: &str, name: &str) -> bool {
    match (module, name) {
        (
            "env",
            "proxy_get_configuration"
            | "proxy_continue_request"
            | "proxy_continue_response"
            | "proxy_clear_route_cache",
        ) => abi == AbiVersion::V0_1_0,
        ("env", "proxy_continue_stream" | "proxy_close_stream") => abi >= AbiVersion::V0_2_0,
        ("env", "proxy_get_log_level") => abi >= AbiVersion::V0_2_1,
        ("env", "pthread_equal" | "emscripten_notify_memory_growth") => true,
        ("env", name) => name.starts_with("proxy_") && calls::NAMES.contains(&name),
        ("wasi_unstable" | "wasi_snapshot_preview1", name) => wasi::NAMES.contains(&name),
        _ => false,
    }
}
