//! Steering streams: resume, close, answer, act for another context, be done.

use wasmtime::Linker;

use super::hostcalls;
use crate::host::abi::{Side, Status, StreamType};
use crate::host::marshal::Answer;
use crate::host::options::Profile;
use crate::host::state::{Action, Phase, State};
use crate::host::stream::LocalResponse;
use crate::host::trap::HostEnd;

/// gRPC statuses up to this one exist; SDKs pass -1 for none.
const GRPC_STATUS_MAX: u32 = 16;

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    hostcalls!(linker:
        fn proxy_continue_stream(guest, stream: u32) {
            resume(guest.state(), StreamType::try_from(stream)?)
        }

        fn proxy_continue_request(guest) {
            resume(guest.state(), StreamType::Http(Side::Request))
        }

        fn proxy_continue_response(guest) {
            resume(guest.state(), StreamType::Http(Side::Response))
        }

        fn proxy_close_stream(guest, stream: u32) {
            // A host of HTTP streams has no raw connection to close, and answers Ok as Envoy's HTTP filter does.
            let stream = StreamType::try_from(stream)?;
            let state = guest.state();
            let id = state.context();
            if matches!(stream, StreamType::Http(_)) && state.streams.contains_key(&id) {
                state.actions.push_back(Action::Close(id));
            }
            Ok(())
        }

        fn proxy_send_local_response(
            guest, status: u32, details: u32, details_len: u32, body: u32, body_len: u32,
            headers: u32, headers_len: u32, grpc_status: u32
        ) {
            let details = guest.text(details, details_len)?;
            let body = guest.read(body, body_len)?;
            let headers = guest.read_pairs(headers, headers_len)?;
            let grpc_status = (grpc_status <= GRPC_STATUS_MAX).then_some(grpc_status);
            let details = details.replace(char::is_whitespace, "_");
            reply(guest.state(), LocalResponse { status, headers, body, grpc_status, details })
        }

        fn proxy_clear_route_cache(_guest) {
            // Routes are chosen by the embedder, after the last callback that could change a header.
            Ok(())
        }

        fn proxy_set_effective_context(guest, id: u32) {
            let state = guest.state();
            if !state.knows(id) {
                return Err(Status::BadArgument.into());
            }
            state.effective = id;
            Ok(())
        }

        fn proxy_done(guest) {
            let state = guest.state();
            let id = state.context();
            match state.roots.get_mut(&id) {
                Some(root) if root.done_pending => {
                    root.done_pending = false;
                    state.actions.push_back(Action::Delete(id));
                    Ok(())
                }
                _ => Err(Status::NotFound.into()),
            }
        }
    );
    Ok(())
}

fn resume(state: &mut State, stream: StreamType) -> Answer {
    let side = match stream {
        StreamType::Http(side) => side,
        StreamType::Downstream => return Ok(()),
        StreamType::Upstream => return Err(Status::Unimplemented.into()),
    };
    let id = state.context();
    let nginx = state.shared.options.profile == Profile::Nginx;
    if nginx && side == Side::Response {
        return Err(Status::Unimplemented.into());
    }
    if let Some(stream) = state.stream_mut() {
        stream.forget_request();
        state.actions.push_back(Action::Resume(id, side));
    }
    Ok(())
}

fn reply(state: &mut State, response: LocalResponse) -> Answer {
    if state.phase == Phase::Log {
        return Err(
            HostEnd::EndsHost("send_local_response in on_log recurses until Envoy dies").into(),
        );
    }
    let id = state.context();
    state.stop_iteration = true;
    if state.streams.contains_key(&id) {
        state.actions.push_back(Action::Reply(id, response));
    }
    Ok(())
}
