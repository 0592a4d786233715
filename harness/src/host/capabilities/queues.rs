//! Shared queues, for guests.

use std::sync::Arc;

use wasmtime::Linker;

use super::hostcalls;
use crate::host::abi::Status;
use crate::host::state::State;

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    hostcalls!(linker:
        fn proxy_register_shared_queue(guest, name: u32, name_len: u32, token_at: u32) {
            let name = guest.read(name, name_len)?;
            let state = guest.state();
            let (root, mailbox) = (state.root_id(), Arc::clone(&state.mailbox));
            let shared = &state.shared;
            let token = shared.process.queues.register(&shared.options.vm_id, &name, root, &mailbox);
            guest.write_u32(token_at, token)
        }

        fn proxy_resolve_shared_queue(
            guest, vm_id: u32, vm_id_len: u32, name: u32, name_len: u32, token_at: u32
        ) {
            let (vm_id, name) = (guest.text(vm_id, vm_id_len)?, guest.read(name, name_len)?);
            let shared = &guest.state().shared;
            let vm_id = if vm_id.is_empty() { &shared.options.vm_id } else { &vm_id };
            let token = shared.process.queues.resolve(vm_id, &name).ok_or(Status::NotFound)?;
            guest.write_u32(token_at, token)
        }

        fn proxy_enqueue_shared_queue(guest, token: u32, item: u32, item_len: u32) {
            let item = guest.read(item, item_len)?;
            Ok(guest.state().shared.process.queues.enqueue(token, item)?)
        }

        fn proxy_dequeue_shared_queue(guest, token: u32, item_at: u32, len_at: u32) {
            let item = guest.state().shared.process.queues.dequeue(token)?;
            guest.give(&item, item_at, len_at)
        }
    );
    Ok(())
}
