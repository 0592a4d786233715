//! Foreign functions: those of stock Envoy that need nothing of Envoy, and what the embedder adds.
//!
//! `compress`, `uncompress` and `clear_route_cache` are here. The ones that evaluate CEL or touch
//! filter state (`expr_create`, `declare_property`, …) are not, and answer [`Status::NotFound`] as any unknown one.

use std::io::Read;

use flate2::Compression;
use flate2::bufread::{ZlibDecoder, ZlibEncoder};
use wasmtime::Linker;

use super::hostcalls;
use crate::host::abi::Status;
use crate::host::limits;
use crate::host::options::Profile;
use crate::host::state::State;

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    hostcalls!(linker:
        fn proxy_call_foreign_function(
            guest, name: u32, name_len: u32, argument: u32, argument_len: u32, result_at: u32, len_at: u32
        ) {
            let (name, argument) = (guest.text(name, name_len)?, guest.read(argument, argument_len)?);
            let result = guest.state().call_foreign(&name, &argument)?;
            guest.give(&result, result_at, len_at)
        }
    );
    Ok(())
}

impl State {
    fn call_foreign(&self, name: &str, argument: &[u8]) -> Result<Vec<u8>, Status> {
        let options = &self.shared.options;
        if let Some(function) = options.foreign_functions.get(name) {
            return function(argument);
        }
        match (options.profile, name) {
            (Profile::Envoy, "compress") => {
                read_all(ZlibEncoder::new(argument, Compression::default()))
            }
            (Profile::Envoy, "uncompress") => read_all(ZlibDecoder::new(argument)),
            (Profile::Envoy, "clear_route_cache") => Ok(Vec::new()),
            _ => Err(Status::NotFound),
        }
    }
}

fn read_all(from: impl Read) -> Result<Vec<u8>, Status> {
    let mut out = Vec::new();
    let limit = limits::MEMORY_BYTES as u64;
    from.take(limit)
        .read_to_end(&mut out)
        .map_err(|_| Status::SerializationFailure)?;
    Ok(out)
}
