//! Buffers: bodies, messages, configurations.
//!
//! A body that is not there reads as empty, since Envoy hands out a view of nothing; a configuration or
//! an answer that is not there is [`Status::NotFound`]. Only bodies can be written: replaced from the front,
//! or appended to.

use wasmtime::Linker;

use super::hostcalls;
use crate::host::abi::{BufferType, Status};
use crate::host::marshal::{Answer, Fail};
use crate::host::options::Profile;
use crate::host::state::State;
use crate::host::trap::HostEnd;

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    hostcalls!(linker:
        fn proxy_get_buffer_bytes(guest, buffer: u32, start: u32, len: u32, bytes_at: u32, len_at: u32) {
            let buffer = BufferType::try_from(buffer)?;
            let bytes = guest.state().part(buffer, start, len)?;
            guest.give(&bytes, bytes_at, len_at)
        }

        fn proxy_get_buffer_status(guest, buffer: u32, len_at: u32, flags_at: u32) {
            let buffer = BufferType::try_from(buffer)?;
            let len = guest.state().buffer(buffer)?.len();
            guest.write_u32(len_at, u32::try_from(len).unwrap_or(u32::MAX))?;
            guest.write_u32(flags_at, 0)
        }

        fn proxy_set_buffer_bytes(guest, buffer: u32, start: u32, len: u32, bytes: u32, bytes_len: u32) {
            let buffer = BufferType::try_from(buffer)?;
            guest.state().buffer(buffer)?;
            let bytes = guest.read(bytes, bytes_len)?;
            let BufferType::Body(side) = buffer else { return Err(Status::BadArgument.into()) };
            let half = guest.state().stream_mut().ok_or(Status::BadArgument)?.half_mut(side);
            if !half.body_visible {
                return Err(Status::BadArgument.into());
            }
            let (start, len) = (start as usize, len as usize);
            if start == 0 {
                half.body.splice(..len.min(half.body.len()), bytes);
            } else if start >= half.body.len() {
                half.body.extend_from_slice(&bytes);
            } else {
                return Err(Status::BadArgument.into());
            }
            Ok(())
        }
    );
    Ok(())
}

impl State {
    fn buffer(&self, buffer: BufferType) -> Result<&[u8], Status> {
        let root = || self.root().map_err(|_| Status::NotFound);
        match buffer {
            BufferType::Body(side) => {
                let half = self.stream().map(|stream| stream.half(side));
                Ok(half
                    .filter(|half| half.body_visible)
                    .map_or(&[], |half| half.body.as_slice()))
            }
            BufferType::Network | BufferType::CallData => Ok(&[]),
            BufferType::CallBody => root()?
                .call_reply
                .as_ref()
                .map(|reply| &*reply.body)
                .ok_or(Status::NotFound),
            BufferType::GrpcMessage => Ok(root()?.grpc_message.as_deref().unwrap_or_default()),
            BufferType::VmConfiguration => Ok(&self.shared.options.vm_configuration),
            BufferType::PluginConfiguration => {
                let root = root()?;
                if root.configuring {
                    Ok(&root.configuration)
                } else {
                    Err(Status::NotFound)
                }
            }
        }
    }

    fn part(&self, buffer: BufferType, start: u32, len: u32) -> Answer<Vec<u8>> {
        let bytes = self.buffer(buffer)?;
        let (start, len) = (start as usize, len as usize);
        if self.shared.options.profile == Profile::Nginx && matches!(buffer, BufferType::Body(_)) {
            return if len < bytes.len() {
                Err(would_corrupt(len, bytes.len()))
            } else {
                Ok(bytes.to_vec())
            };
        }
        let start = start.min(bytes.len());
        Ok(bytes[start..bytes.len().min(start.saturating_add(len))].to_vec())
    }
}

fn would_corrupt(asked: usize, size: usize) -> Fail {
    let text = format!(
        "nginx corrupts its heap when {asked} bytes of a body of {size} are read; read it whole"
    );
    HostEnd::EndsWorker(text).into()
}
