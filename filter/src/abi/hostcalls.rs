//! The host's functions (proxy-wasm ABI 0.2.1, and of WASI the clock and randomness), and what may come back.
//!
//! The Rust SDK for proxy-wasm is not used: its wrappers and its dispatcher panic on statuses that hosts
//! do give (headers that are gone, a property that is not there yet, a call that ends after its stream),
//! and a panic takes every stream of the worker with it. Here each status is a value.

use std::ptr::null_mut;
use std::time::Duration;

use crate::ports::{Kind, Meter, Stored, Version};
use crate::values::clock::{Instant, UnixTime};
use crate::values::headers::Headers;

/// A hostcall that did not succeed, with the ABI's number for why. Callers that cannot act on the number
/// still have to say what happens instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed(pub u32);

type Result<T> = std::result::Result<T, Failed>;

/// Whose headers.
#[derive(Clone, Copy)]
#[repr(u32)]
pub enum Map {
    Request = 0,
    Response = 2,
    Reply = 6,
}

/// Which bytes.
#[derive(Clone, Copy)]
#[repr(u32)]
pub enum Buffer {
    RequestBody = 0,
    ResponseBody = 1,
    Reply = 4,
    PluginConfiguration = 7,
}

/// How loud a log line is.
#[derive(Clone, Copy)]
#[repr(u32)]
pub enum LogLevel {
    Info = 2,
    Warn = 3,
    Error = 4,
}

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_log(level: u32, message: *const u8, size: usize) -> u32;
    fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
    fn proxy_get_buffer_bytes(
        buffer: u32,
        start: usize,
        size: usize,
        data: *mut *mut u8,
        length: *mut usize,
    ) -> u32;
    fn proxy_set_buffer_bytes(
        buffer: u32,
        start: usize,
        size: usize,
        data: *const u8,
        length: usize,
    ) -> u32;
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, length: *mut usize) -> u32;
    fn proxy_add_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_replace_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_remove_header_map_value(map: u32, name: *const u8, name_size: usize) -> u32;
    fn proxy_get_property(
        path: *const u8,
        path_size: usize,
        data: *mut *mut u8,
        length: *mut usize,
    ) -> u32;
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_size: usize,
        body: *const u8,
        body_size: usize,
        headers: *const u8,
        headers_size: usize,
        grpc_status: i32,
    ) -> u32;
    fn proxy_define_metric(kind: u32, name: *const u8, name_size: usize, id: *mut u32) -> u32;
    fn proxy_increment_metric(id: u32, by: i64) -> u32;
    fn proxy_record_metric(id: u32, value: u64) -> u32;
    fn proxy_get_metric(id: u32, value: *mut u64) -> u32;
    fn proxy_get_shared_data(
        key: *const u8,
        key_size: usize,
        data: *mut *mut u8,
        length: *mut usize,
        version: *mut u32,
    ) -> u32;
    fn proxy_set_shared_data(
        key: *const u8,
        key_size: usize,
        data: *const u8,
        length: usize,
        version: u32,
    ) -> u32;
    fn proxy_set_effective_context(id: u32) -> u32;
    fn proxy_continue_stream(stream: u32) -> u32;
    fn proxy_http_call(
        upstream: *const u8,
        upstream_size: usize,
        headers: *const u8,
        headers_size: usize,
        body: *const u8,
        body_size: usize,
        trailers: *const u8,
        trailers_size: usize,
        timeout_millis: u32,
        token: *mut u32,
    ) -> u32;
}

#[link(wasm_import_module = "wasi_snapshot_preview1")]
unsafe extern "C" {
    fn clock_time_get(clock: u32, precision: u64, nanos: *mut u64) -> u16;
    fn random_get(bytes: *mut u8, size: usize) -> u16;
}

/// Writes a line into the proxy's log. A host that refuses it leaves nobody to tell.
pub fn log(level: LogLevel, message: &str) {
    // SAFETY: the host reads `message` and keeps nothing of it.
    let _ = unsafe { proxy_log(level as u32, message.as_ptr(), message.len()) };
}

/// Asks for ticks every `millis`.
pub fn tick_every(millis: u32) -> Result<()> {
    // SAFETY: no memory is shared.
    ok(unsafe { proxy_set_tick_period_milliseconds(millis) })
}

/// The first `size` bytes of `buffer`; fewer if it has fewer.
pub fn buffer(buffer: Buffer, size: usize) -> Result<Vec<u8>> {
    // SAFETY: the host writes both places, or neither.
    owned(|data, length| unsafe { proxy_get_buffer_bytes(buffer as u32, 0, size, data, length) })
}

/// Puts `bytes` in the place of the first `size` bytes of `buffer`.
pub fn replace_buffer(buffer: Buffer, size: usize, bytes: &[u8]) -> Result<()> {
    // SAFETY: the host reads `bytes` and keeps nothing of it.
    ok(unsafe { proxy_set_buffer_bytes(buffer as u32, 0, size, bytes.as_ptr(), bytes.len()) })
}

/// All of `map`'s headers.
pub fn headers(map: Map) -> Result<Headers> {
    // SAFETY: the host writes both places, or neither.
    let block =
        owned(|data, length| unsafe { proxy_get_header_map_pairs(map as u32, data, length) })?;
    Headers::from_block(block).ok_or(Failed(SERIALIZATION_FAILURE))
}

/// Adds a header. Where no other has its name, that is cheaper than to set it.
pub fn add_header(map: Map, name: &str, value: &str) -> Result<()> {
    // SAFETY: the host reads both texts and keeps nothing of them.
    ok(unsafe {
        proxy_add_header_map_value(
            map as u32,
            name.as_ptr(),
            name.len(),
            value.as_ptr(),
            value.len(),
        )
    })
}

/// Sets a header, in the place of all of that name.
pub fn set_header(map: Map, name: &str, value: &str) -> Result<()> {
    // SAFETY: the host reads both texts and keeps nothing of them.
    ok(unsafe {
        proxy_replace_header_map_value(
            map as u32,
            name.as_ptr(),
            name.len(),
            value.as_ptr(),
            value.len(),
        )
    })
}

/// Removes every header of a name.
pub fn remove_header(map: Map, name: &[u8]) -> Result<()> {
    // SAFETY: the host reads `name` and keeps nothing of it.
    ok(unsafe { proxy_remove_header_map_value(map as u32, name.as_ptr(), name.len()) })
}

/// A property of the stream, by its path with a zero byte between the parts.
pub fn property(path: &str) -> Result<Vec<u8>> {
    // SAFETY: the host reads `path`, and writes both places or neither.
    owned(|data, length| unsafe { proxy_get_property(path.as_ptr(), path.len(), data, length) })
}

/// Answers the request. `details` shows in the proxy's access log.
pub fn respond(status: u16, details: &str, headers: &[(&str, &str)], body: &str) -> Result<()> {
    let headers = serialized(headers);
    const NOT_GRPC: i32 = -1;
    // SAFETY: the host reads the texts and keeps nothing of them.
    ok(unsafe {
        proxy_send_local_response(
            status.into(),
            details.as_ptr(),
            details.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            NOT_GRPC,
        )
    })
}

/// Defines a metric, or finds it again.
pub fn define_metric(kind: Kind, name: &str) -> Result<Meter> {
    let kind = match kind {
        Kind::Counter => 0,
        Kind::Gauge => 1,
        Kind::Histogram => 2,
    };
    let mut id = 0;
    // SAFETY: the host reads `name` and writes `id`.
    ok(unsafe { proxy_define_metric(kind, name.as_ptr(), name.len(), &mut id) })?;
    Ok(Meter(id))
}

/// Adds to a counter or a gauge.
pub fn increment_metric(meter: Meter, by: i64) -> Result<()> {
    // SAFETY: no memory is shared.
    ok(unsafe { proxy_increment_metric(meter.0, by) })
}

/// Records a value in a histogram.
pub fn record_metric(meter: Meter, value: u64) -> Result<()> {
    // SAFETY: no memory is shared.
    ok(unsafe { proxy_record_metric(meter.0, value) })
}

/// The value of a counter or a gauge.
pub fn metric(meter: Meter) -> Result<u64> {
    let mut value = 0;
    // SAFETY: the host writes `value`.
    ok(unsafe { proxy_get_metric(meter.0, &mut value) })?;
    Ok(value)
}

/// What is shared under `key`, and its version.
pub fn shared(key: &str) -> Result<Stored> {
    let mut version = 0;
    // SAFETY: the host reads `key`, and writes all three places or none.
    let bytes = owned(|data, length| unsafe {
        proxy_get_shared_data(key.as_ptr(), key.len(), data, length, &mut version)
    })?;
    let version = Version(version);
    Ok(Stored { bytes, version })
}

/// Shares `bytes` under `key` if it still has `version`.
pub fn share(key: &str, bytes: &[u8], version: Version) -> Result<()> {
    // SAFETY: the host reads both and keeps copies.
    ok(unsafe {
        proxy_set_shared_data(
            key.as_ptr(),
            key.len(),
            bytes.as_ptr(),
            bytes.len(),
            version.0,
        )
    })
}

/// Sends a request to the proxy's cluster `upstream`; the token that its reply comes with.
pub fn call(
    upstream: &str,
    headers: &[(&str, &str)],
    body: &[u8],
    timeout: Duration,
) -> Result<u32> {
    let headers = serialized(headers);
    let trailers = serialized(&[]);
    let millis = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX);
    let mut token = 0;
    // SAFETY: the host reads the texts, keeps nothing of them, and writes `token`.
    ok(unsafe {
        proxy_http_call(
            upstream.as_ptr(),
            upstream.len(),
            headers.as_ptr(),
            headers.len(),
            body.as_ptr(),
            body.len(),
            trailers.as_ptr(),
            trailers.len(),
            millis,
            &mut token,
        )
    })?;
    Ok(token)
}

/// Lets the hostcalls that follow act for the context `id`.
pub fn act_for(id: u32) -> Result<()> {
    // SAFETY: no memory is shared.
    ok(unsafe { proxy_set_effective_context(id) })
}

/// Lets a request go on that is held.
pub fn resume_request() -> Result<()> {
    const REQUEST: u32 = 0;
    // SAFETY: no memory is shared.
    ok(unsafe { proxy_continue_stream(REQUEST) })
}

/// The monotonic clock. proxy-wasm's own time is the wall clock, which steps.
pub fn now() -> Option<Instant> {
    const MONOTONIC: u32 = 1;
    clock(MONOTONIC).map(Instant::from_nanos)
}

/// The wall clock.
pub fn wall() -> Option<UnixTime> {
    const REALTIME: u32 = 0;
    const NANOS: u64 = 1_000_000_000;
    clock(REALTIME).map(|nanos| UnixTime(nanos / NANOS))
}

fn clock(id: u32) -> Option<u64> {
    let mut nanos = 0;
    // SAFETY: the host writes `nanos`.
    (unsafe { clock_time_get(id, 1, &mut nanos) } == 0).then_some(nanos)
}

/// 64 random bits.
pub fn random() -> Option<u64> {
    let mut bytes = [0; 8];
    // SAFETY: the host writes all of `bytes`.
    (unsafe { random_get(bytes.as_mut_ptr(), bytes.len()) } == 0).then(|| u64::from_le_bytes(bytes))
}

const SERIALIZATION_FAILURE: u32 = 3;
/// Somebody else was faster: the version that was named is not the value's.
pub const CAS_MISMATCH: u32 = 8;

fn ok(status: u32) -> Result<()> {
    if status == 0 {
        Ok(())
    } else {
        Err(Failed(status))
    }
}

/// The bytes that a host hands over in memory it took from [`proxy_on_memory_allocate`].
fn owned(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Result<Vec<u8>> {
    let mut data = null_mut();
    let mut length = 0;
    ok(call(&mut data, &mut length))?;
    if data.is_null() || length == 0 {
        return Ok(Vec::new());
    }
    // SAFETY: the host took these `length` bytes from `proxy_on_memory_allocate` and gives them away.
    Ok(unsafe { Vec::from_raw_parts(data, length, length) })
}

/// Memory that the host fills and the next `owned` takes over.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    if size == 0 {
        return std::ptr::dangling_mut();
    }
    let mut bytes = std::mem::ManuallyDrop::new(Vec::<u8>::with_capacity(size));
    bytes.as_mut_ptr()
}

/// `pairs` as the ABI writes a map down.
fn serialized(pairs: &[(&str, &str)]) -> Vec<u8> {
    let word = |size: usize| u32::try_from(size).unwrap_or(u32::MAX).to_le_bytes();
    let mut block = Vec::from(word(pairs.len()));
    for (name, value) in pairs {
        block.extend(word(name.len()));
        block.extend(word(value.len()));
    }
    for (name, value) in pairs {
        for text in [name, value] {
            block.extend(text.as_bytes());
            block.push(0);
        }
    }
    block
}
