//! gRPC calls and streams, for guests.
//!
//! The upstream is either a cluster's name or a serialized `envoy.config.core.v3.GrpcService` that names one in
//! `envoy_grpc.cluster_name`; Envoy tries the message first, and so does this.

use std::time::Duration;

use wasmtime::Linker;

use super::hostcalls;
use crate::host::abi::Status;
use crate::host::grpc::{GrpcRequest, GrpcTarget, OpenStream, is_call, is_stream};
use crate::host::marshal::{Answer, Guest};
use crate::host::options::Profile;
use crate::host::state::State;

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    hostcalls!(linker:
        fn proxy_grpc_call(
            guest, upstream: u32, upstream_len: u32, service: u32, service_len: u32, method: u32, method_len: u32,
            metadata: u32, metadata_len: u32, message: u32, message_len: u32, timeout_millis: u32, token_at: u32
        ) {
            let names = [(upstream, upstream_len), (service, service_len), (method, method_len)];
            let target = target(guest, names, (metadata, metadata_len))?;
            let message = guest.read(message, message_len)?;
            let state = guest.state();
            let token = state.grpc.call_token();
            let root = state.root_id();
            state.grpc.calls.insert(token, root);
            let timeout = Duration::from_millis(timeout_millis.into());
            state.grpc.outbox.push(GrpcRequest::Call { token, target, message, timeout });
            guest.write_u32(token_at, token)
        }

        fn proxy_grpc_stream(
            guest, upstream: u32, upstream_len: u32, service: u32, service_len: u32, method: u32, method_len: u32,
            metadata: u32, metadata_len: u32, token_at: u32
        ) {
            let names = [(upstream, upstream_len), (service, service_len), (method, method_len)];
            let target = target(guest, names, (metadata, metadata_len))?;
            let state = guest.state();
            let token = state.grpc.stream_token();
            let open = OpenStream { root: state.root_id(), local_closed: false, remote_closed: false };
            state.grpc.streams.insert(token, open);
            state.grpc.outbox.push(GrpcRequest::Open { token, target });
            guest.write_u32(token_at, token)
        }

        fn proxy_grpc_send(guest, token: u32, message: u32, message_len: u32, end_of_stream: u32) {
            let message = guest.read(message, message_len)?;
            if !is_stream(token) {
                return Err(Status::BadArgument.into());
            }
            let grpc = &mut guest.state().grpc;
            if !grpc.streams.contains_key(&token) {
                return Err(Status::NotFound.into());
            }
            grpc.outbox.push(GrpcRequest::Send { token, message, end_of_stream: end_of_stream != 0 });
            Ok(())
        }

        fn proxy_grpc_close(guest, token: u32) {
            let grpc = &mut guest.state().grpc;
            if is_call(token) {
                grpc.calls.remove(&token).ok_or(Status::NotFound)?;
            } else if is_stream(token) {
                let stream = grpc.streams.get_mut(&token).ok_or(Status::NotFound)?;
                stream.local_closed = true;
                if stream.remote_closed {
                    grpc.streams.remove(&token);
                }
            } else {
                return Err(Status::BadArgument.into());
            }
            grpc.outbox.push(GrpcRequest::Close { token });
            Ok(())
        }

        fn proxy_grpc_cancel(guest, token: u32) {
            let grpc = &mut guest.state().grpc;
            if is_call(token) {
                grpc.calls.remove(&token).ok_or(Status::NotFound)?;
            } else if is_stream(token) {
                grpc.streams.remove(&token).ok_or(Status::NotFound)?;
            } else {
                return Err(Status::BadArgument.into());
            }
            grpc.outbox.push(GrpcRequest::Cancel { token });
            Ok(())
        }

        fn proxy_get_status(guest, code_at: u32, message_at: u32, len_at: u32) {
            let (code, message) = guest.state().root()?.status.clone();
            guest.write_u32(code_at, code)?;
            guest.give(message.as_bytes(), message_at, len_at)
        }
    );
    Ok(())
}

fn target(
    guest: &mut Guest<'_>,
    names: [(u32, u32); 3],
    metadata: (u32, u32),
) -> Answer<GrpcTarget> {
    let [upstream, service, method] = names;
    let upstream = guest.read(upstream.0, upstream.1)?;
    let service = guest.text(service.0, service.1)?;
    let method = guest.text(method.0, method.1)?;
    let metadata = guest.read_pairs(metadata.0, metadata.1)?;
    let state = guest.state();
    if state.shared.options.profile == Profile::Nginx {
        return Err(Status::Unimplemented.into());
    }
    state.root()?;
    let upstream = match cluster_of_grpc_service(&upstream) {
        // A message skips the check of the cluster, and the call then fails as it is sent.
        Some(name) if !state.knows_cluster(&name) => return Err(Status::InternalFailure.into()),
        Some(name) => name,
        None => {
            let name = String::from_utf8(upstream).map_err(|_| Status::ParseFailure)?;
            if !state.knows_cluster(&name) {
                return Err(Status::ParseFailure.into());
            }
            name
        }
    };
    Ok(GrpcTarget {
        upstream,
        service,
        method,
        metadata,
    })
}

/// `GrpcService.envoy_grpc` (field 1) `.cluster_name` (field 1), if these bytes are such a message.
fn cluster_of_grpc_service(message: &[u8]) -> Option<String> {
    String::from_utf8(first_field(first_field(message)?)?.to_vec()).ok()
}

/// The last length-delimited field 1 of a message; None if there is none or these bytes are no message.
fn first_field(mut message: &[u8]) -> Option<&[u8]> {
    const VARINT: u64 = 0;
    const EIGHT_BYTES: u64 = 1;
    const DELIMITED: u64 = 2;
    const FOUR_BYTES: u64 = 5;
    let mut found = None;
    while !message.is_empty() {
        let tag = varint(&mut message)?;
        let len = match tag & 7 {
            VARINT => {
                varint(&mut message)?;
                0
            }
            EIGHT_BYTES => 8,
            DELIMITED => usize::try_from(varint(&mut message)?).ok()?,
            FOUR_BYTES => 4,
            _ => return None,
        };
        let (value, rest) = message.split_at_checked(len)?;
        match (tag >> 3, tag & 7) {
            (0, _) => return None,
            (1, DELIMITED) => found = Some(value),
            _ => {}
        }
        message = rest;
    }
    found
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    const MORE: u8 = 0x80;
    let len = bytes.iter().take(10).position(|byte| byte & MORE == 0)? + 1;
    let (number, rest) = bytes.split_at(len);
    *bytes = rest;
    Some(
        number
            .iter()
            .rev()
            .fold(0, |sum, byte| (sum << 7) | u64::from(byte & !MORE)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grpc_service_names_its_cluster_and_a_plain_name_is_none() {
        let name = "c".repeat(200);
        // envoy_grpc { cluster_name, skip_envoy_headers }, timeout { seconds }
        let inner = [&[0x0a, 200, 1][..], name.as_bytes(), &[0x28, 1]].concat();
        let len = [(inner.len() as u8 & 0x7f) | 0x80, (inner.len() >> 7) as u8];
        let message = [&[0x0a][..], &len, &inner, &[0x1a, 2, 0x08, 5]].concat();
        assert_eq!(cluster_of_grpc_service(&message), Some(name));
        assert_eq!(cluster_of_grpc_service(&message[..message.len() - 1]), None);
        assert_eq!(cluster_of_grpc_service(b"limits"), None);
    }
}
