//! Shared data, for guests.

use wasmtime::Linker;

use super::hostcalls;
use crate::host::abi::Status;
use crate::host::state::State;

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    hostcalls!(linker:
        fn proxy_get_shared_data(guest, key: u32, key_len: u32, value_at: u32, len_at: u32, cas_at: u32) {
            let key = guest.read(key, key_len)?;
            let shared = &guest.state().shared;
            let found = shared.process.data.read(&shared.options.vm_id, &key);
            let (value, cas) = found.ok_or(Status::NotFound)?;
            guest.give(&value, value_at, len_at)?;
            guest.write_u32(cas_at, cas)
        }

        fn proxy_set_shared_data(guest, key: u32, key_len: u32, value: u32, value_len: u32, cas: u32) {
            let (key, value) = (guest.read(key, key_len)?, guest.read(value, value_len)?);
            let shared = &guest.state().shared;
            Ok(shared.process.data.write(shared.options.profile, &shared.options.vm_id, &key, value, cas)?)
        }
    );
    Ok(())
}
