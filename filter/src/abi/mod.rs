//! How a proxy-wasm host is spoken to: its callbacks come in here, its functions are called here, and
//! nowhere else. Nothing is decided on this floor.
//!
//! A callback finds its context, hands what the host says to the flow, and carries the verdict out. Every
//! status of every hostcall is answered; none can trap the VM.

mod contexts;
mod hostcalls;
mod log;
mod proxy;
mod root;
mod stream;

use contexts::{with_root, with_stream};

const CONTINUE: u32 = 0;
const PAUSE: u32 = 1;

#[unsafe(no_mangle)]
extern "C" fn proxy_abi_version_0_2_1() {}

unsafe extern "C" {
    fn __wasm_call_ctors();
}

/// Runs the module's constructors, once. Without this export the linker takes the module for a command
/// and has every other export run them, and the destructors, around each call.
#[unsafe(no_mangle)]
extern "C" fn _initialize() {
    // SAFETY: the linker makes it, and the host calls this before anything else and never again.
    unsafe { __wasm_call_ctors() }
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_context_create(id: u32, parent: u32) {
    contexts::create(id, parent);
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_vm_start(_root: u32, _configuration_size: usize) -> u32 {
    log::install();
    true.into()
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_configure(root: u32, configuration_size: usize) -> u32 {
    with_root(root, |at| at.configure(root, configuration_size))
        .unwrap_or(false)
        .into()
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_tick(root: u32) {
    with_root(root, |at| at.tick(root));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_http_call_response(
    root: u32,
    token: u32,
    header_count: usize,
    body_size: usize,
    _trailer_count: usize,
) {
    with_root(root, |at| at.reply(root, token, header_count, body_size));
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_headers(id: u32, _count: u32, end: u32) -> u32 {
    with_stream(id, |stream| stream.request_headers(end != 0)).unwrap_or_else(stream::unconfigured)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_body(id: u32, size: usize, end: u32) -> u32 {
    // A request that nobody has looked at stays, whatever the proxy made of the answer to its head.
    with_stream(id, |stream| stream.request_body(size, end != 0)).unwrap_or(PAUSE)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_trailers(id: u32, _count: u32) -> u32 {
    with_stream(id, |stream| stream.request_trailers()).unwrap_or(PAUSE)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_headers(id: u32, _count: u32, end: u32) -> u32 {
    with_stream(id, |stream| stream.response_headers(end != 0));
    CONTINUE
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_body(id: u32, size: usize, end: u32) -> u32 {
    with_stream(id, |stream| stream.response_body(size, end != 0));
    CONTINUE
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_trailers(id: u32, _count: u32) -> u32 {
    with_stream(id, |stream| stream.response_trailers());
    CONTINUE
}

/// The end of a stream, however it came. `proxy_on_log` and `proxy_on_done` come just before it, in an
/// order that hosts do not agree on, and each would cost a call into the VM: they are not exported.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_delete(id: u32) {
    with_stream(id, |stream| stream.end());
    with_root(id, |root| root.retire(id));
    contexts::delete(id);
}
