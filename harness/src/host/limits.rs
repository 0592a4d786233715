//! Every bound of the host, in one place.
//!
//! The sizes that a guest can see are those of proxy-wasm-cpp-host's `limits.h`: a module that runs
//! into one here would run into it in Envoy. The others keep the host itself from growing.

use wasmtime::ResourceLimiter;

/// Memory of one VM, where the options name none: what Envoy allows, 1 GiB.
pub const MEMORY_BYTES: usize = 1 << 30;
/// A serialized map that a guest hands over may be this long; a longer one is read as empty.
pub const PAIRS_BYTES: usize = 1 << 20;
/// A serialized map that a guest hands over may hold this many pairs; a longer one is read as empty.
pub const PAIRS_COUNT: usize = 1024;
/// Bytes that one `random_get` may ask for.
pub const RANDOM_BYTES: u32 = 64 << 10;
/// Log lines that a host remembers; the oldest go first.
pub const LOG_LINES: usize = 10_000;
/// Bytes that one `fd_write` may gather: as much as fits in a log line worth reading.
pub const WRITE_BYTES: usize = 1 << 20;
/// Elements of a table: far above what compilers emit, far below what would hurt.
pub const TABLE_ELEMENTS: usize = 1 << 20;

/// Refuses a guest's growth beyond its allowance; the guest sees `memory.grow` fail.
#[derive(Debug)]
pub(super) struct Allowance {
    pub(super) bytes: usize,
    /// Set once a growth was refused: the abort that follows in most guests is then told apart.
    pub(super) exceeded: bool,
}

impl ResourceLimiter for Allowance {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let fits = desired <= self.bytes;
        self.exceeded |= !fits;
        Ok(fits)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= TABLE_ELEMENTS)
    }
}
