//! Properties: what a guest can ask by path about its stream, its plugin and its proxy.
//!
//! What follows from what the host itself sees (headers, addresses, names) is computed here; the rest is what
//! the embedder set on the stream or in the options, and anything else is [`Status::NotFound`]. In Envoy numbers
//! are 8 bytes little endian and flags one byte; in nginx everything is text, and `request.*` of Envoy is not there
//! unless set. A guest's own property is found again by its first path element only, as in Envoy.

use wasmtime::Linker;

use super::hostcalls;
use crate::host::abi::{MapType, Side, Status};
use crate::host::headers::Headers;
use crate::host::marshal::{Answer, encode_pairs};
use crate::host::options::Profile;
use crate::host::state::{Phase, State};
use crate::host::stream::Stream;
use crate::host::trap::HostEnd;

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    hostcalls!(linker:
        fn proxy_get_property(guest, path: u32, path_len: u32, value_at: u32, len_at: u32) {
            let path = guest.read(path, path_len)?;
            let value = guest.state().property(&path)?;
            guest.give(&value, value_at, len_at)
        }

        fn proxy_set_property(guest, path: u32, path_len: u32, value: u32, value_len: u32) {
            let (path, value) = (guest.read(path, path_len)?, guest.read(value, value_len)?);
            guest.state().store_property(path, value)
        }

        fn proxy_get_configuration(guest, value_at: u32, len_at: u32) {
            let state = guest.state();
            let configuring = state.root().ok().filter(|root| root.configuring);
            let value = configuring.map_or(&state.shared.options.vm_configuration, |root| &root.configuration).clone();
            guest.give(&value, value_at, len_at)
        }
    );
    Ok(())
}

impl State {
    fn property(&self, path: &[u8]) -> Answer<Vec<u8>> {
        let path = path.strip_suffix(b"\0").unwrap_or(path);
        let parts: Vec<String> = path
            .split(|byte| *byte == 0)
            .map(|part| String::from_utf8_lossy(part).into_owned())
            .collect();
        let names: Vec<&str> = parts.iter().map(String::as_str).collect();
        let stream = self.stream();
        let set = stream.and_then(|stream| stream.info.properties.get(&parts));
        if let Some(value) = set.or_else(|| self.shared.options.properties.get(&parts)) {
            return Ok(value.clone());
        }
        if let Some(value) = self.property_of_plugin(&names) {
            return Ok(value);
        }
        let nginx = self.shared.options.profile == Profile::Nginx;
        if nginx && names == ["upstream", "address"] {
            return Err(
                HostEnd::EndsHost("nginx crashes at upstream.address with no peer chosen").into(),
            );
        }
        let stream = stream.ok_or(Status::NotFound)?;
        let computed = if nginx {
            None
        } else {
            self.property_of_stream(stream, &names)
        };
        let own = || {
            let state = |path: &[u8]| stream.state.get(path).cloned();
            if nginx {
                state(path)
            } else {
                state(names.first()?.as_bytes()).filter(|_| names.len() == 1)
            }
        };
        Ok(computed.or_else(own).ok_or(Status::NotFound)?)
    }

    fn property_of_plugin(&self, path: &[&str]) -> Option<Vec<u8>> {
        let options = &self.shared.options;
        let root = self.root().ok();
        match path {
            ["plugin_name"] => Some(root?.plugin_name.clone().into()),
            ["plugin_root_id"] => Some(
                root.map(|root| root.root_id.clone())
                    .unwrap_or_default()
                    .into(),
            ),
            ["plugin_vm_id"] => Some(options.vm_id.clone().into()),
            _ => None,
        }
    }

    fn property_of_stream(&self, stream: &Stream, path: &[&str]) -> Option<Vec<u8>> {
        let request = self.readable(MapType::Headers(Side::Request));
        let response = self.readable(MapType::Headers(Side::Response));
        let header = |name: &str| {
            request
                .and_then(|headers| headers.get(name))
                .map(<[u8]>::to_vec)
        };
        match path {
            ["request", "path"] => header(":path"),
            ["request", "url_path"] => {
                let path = header(":path")?;
                Some(path.split(|byte| *byte == b'?').next()?.to_vec())
            }
            ["request", "query"] => {
                let path = header(":path")?;
                let at = path.iter().position(|byte| *byte == b'?');
                Some(at.map_or_else(Vec::new, |at| path[at + 1..].to_vec()))
            }
            ["request", "host"] => header(":authority"),
            ["request", "scheme"] => header(":scheme"),
            ["request", "method"] => header(":method"),
            ["request", "referer"] => header("referer"),
            ["request", "useragent"] => header("user-agent"),
            ["request", "id"] => header("x-request-id"),
            ["request", "headers"] => Some(whole(request?)),
            ["request", "headers", name] => header(name),
            ["request", "protocol"] => text(&stream.info.protocol),
            ["request", "time"] => Some(number(stream.started_wall)),
            ["request", "duration"] if matches!(self.phase, Phase::Log | Phase::Done) => {
                let now = self.shared.options.clock.monotonic_nanos();
                Some(number(now.saturating_sub(stream.started)))
            }
            // Known from the first response callback on, whether or not the headers are still to be seen.
            ["response", "code"] => Some(number(
                stream.response.headers.text(":status")?.parse().ok()?,
            )),
            ["response", "headers"] => Some(whole(response?)),
            ["response", "headers", name] => Some(response?.get(name)?.to_vec()),
            ["response", "trailers", name] => Some(
                self.readable(MapType::Trailers(Side::Response))?
                    .get(name)?
                    .to_vec(),
            ),
            ["source", "address"] => text(&stream.info.downstream_address),
            ["source", "port"] => port(&stream.info.downstream_address),
            ["destination", "address"] => text(&stream.info.local_address),
            ["destination", "port"] => port(&stream.info.local_address),
            ["connection", "mtls"] => Some(vec![0]),
            _ => None,
        }
    }

    fn store_property(&mut self, path: Vec<u8>, value: Vec<u8>) -> Answer {
        let path = path.strip_suffix(b"\0").unwrap_or(&path).to_vec();
        if self.shared.options.profile == Profile::Nginx {
            let variable = path.strip_prefix(b"ngx\0").unwrap_or_default();
            let variable = std::str::from_utf8(variable).unwrap_or_default();
            if !self.shared.options.nginx_variables.contains(variable) {
                let path = String::from_utf8_lossy(&path).replace('\0', ".");
                return Err(HostEnd::EndsWorker(format!(
                    "nginx traps at setting the unknown property {path}"
                ))
                .into());
            }
        }
        self.stream_mut()
            .ok_or(Status::NotFound)?
            .state
            .insert(path, value);
        Ok(())
    }
}

fn number(value: u64) -> Vec<u8> {
    value.to_le_bytes().to_vec()
}

fn text(value: &str) -> Option<Vec<u8>> {
    (!value.is_empty()).then(|| value.as_bytes().to_vec())
}

fn port(address: &str) -> Option<Vec<u8>> {
    address
        .rsplit_once(':')
        .and_then(|(_, port)| port.parse().ok())
        .map(number)
}

fn whole(headers: &Headers) -> Vec<u8> {
    encode_pairs(headers.iter())
}
