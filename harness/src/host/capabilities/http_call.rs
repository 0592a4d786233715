//! HTTP calls, for guests.

use std::time::Duration;

use wasmtime::Linker;

use super::hostcalls;
use crate::host::abi::Status;
use crate::host::http_call::HttpCall;
use crate::host::marshal::Answer;
use crate::host::options::Profile;
use crate::host::state::{Phase, State};
use crate::host::trap::HostEnd;

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    hostcalls!(linker:
        fn proxy_http_call(
            guest, upstream: u32, upstream_len: u32, headers: u32, headers_len: u32, body: u32, body_len: u32,
            trailers: u32, trailers_len: u32, timeout_millis: u32, token_at: u32
        ) {
            let upstream = guest.text(upstream, upstream_len)?;
            let body = guest.read(body, body_len)?;
            let headers = guest.read_pairs(headers, headers_len)?;
            let trailers = guest.read_pairs(trailers, trailers_len)?;
            // The address is tried before anything is started.
            guest.write_u32(token_at, 0)?;
            let timeout = (timeout_millis > 0).then(|| Duration::from_millis(timeout_millis.into()));
            let call = HttpCall { token: 0, upstream, headers, body, trailers, timeout };
            let token = guest.state().call_http(call, timeout_millis)?;
            guest.write_u32(token_at, token)
        }
    );
    Ok(())
}

impl State {
    fn call_http(&mut self, mut call: HttpCall, timeout_millis: u32) -> Answer<u32> {
        let root = self.root_id();
        if !self.roots.contains_key(&root) || timeout_millis.cast_signed() < 0 {
            return Err(Status::BadArgument.into());
        }
        self.check_upstream(&call.upstream)?;
        if [":path", ":method", ":authority"]
            .iter()
            .any(|name| call.headers.get(name).is_none())
        {
            return Err(Status::BadArgument.into());
        }
        if !call.body.is_empty() {
            call.headers
                .replace("content-length", call.body.len().to_string());
        }
        call.token = self.http.token();
        let token = call.token;
        self.http.waiting.insert(token, root);
        self.http.outbox.push(call);
        Ok(token)
    }

    fn check_upstream(&self, upstream: &str) -> Answer {
        if self.shared.options.profile == Profile::Nginx {
            if self.phase == Phase::Response {
                return Err(Status::BadArgument.into());
            }
            if upstream.is_empty() || upstream.contains(|c: char| c.is_whitespace() || c == '\0') {
                return Err(HostEnd::EndsWorker(format!(
                    "nginx traps at the malformed host {upstream:?}"
                ))
                .into());
            }
        }
        if self.knows_cluster(upstream) {
            Ok(())
        } else {
            Err(Status::BadArgument.into())
        }
    }

    pub(super) fn knows_cluster(&self, name: &str) -> bool {
        self.shared
            .options
            .clusters
            .as_ref()
            .is_none_or(|known| known.contains(name))
    }
}
