//! Header, trailer and metadata maps.
//!
//! Which map is there in which phase follows `getMap` and `getConstMap` of Envoy's `context.cc`: a map that
//! is not there is [`Status::BadArgument`] to one value's reader and to all writers, empty to the reader of
//! all pairs, and [`Status::NotFound`] while the stream is being logged.

use wasmtime::Linker;

use super::hostcalls;
use crate::host::abi::{AbiVersion, MapType, Side, Status};
use crate::host::headers::Headers;
use crate::host::options::Profile;
use crate::host::state::{Phase, State};

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    hostcalls!(linker:
        fn proxy_get_header_map_pairs(guest, map: u32, pairs_at: u32, len_at: u32) {
            let map = MapType::try_from(map)?;
            let pairs = guest.state().readable(map).cloned().unwrap_or_default();
            guest.give_pairs(&pairs, pairs_at, len_at)
        }

        fn proxy_get_header_map_value(
            guest, map: u32, name: u32, name_len: u32, value_at: u32, len_at: u32
        ) {
            let map = MapType::try_from(map)?;
            let name = guest.read(name, name_len)?;
            let state = guest.state();
            let found = match state.readable(map) {
                Some(headers) => headers.get(&name).map(<[u8]>::to_vec),
                None if state.phase == Phase::Log => None,
                None => return Err(Status::BadArgument.into()),
            };
            let value = match found {
                Some(value) => value,
                None if state.abi == AbiVersion::V0_1_0 => Vec::new(),
                None => return Err(Status::NotFound.into()),
            };
            guest.give(&value, value_at, len_at)
        }

        fn proxy_get_header_map_size(guest, map: u32, size_at: u32) {
            let map = MapType::try_from(map)?;
            let size = guest.state().writable(map).ok_or(Status::BadArgument)?.byte_size();
            guest.write_u32(size_at, u32::try_from(size).unwrap_or(u32::MAX))
        }

        fn proxy_set_header_map_pairs(guest, map: u32, pairs: u32, len: u32) {
            let map = MapType::try_from(map)?;
            let pairs = guest.read_pairs(pairs, len)?;
            *guest.state().writable(map).ok_or(Status::BadArgument)? = pairs;
            Ok(())
        }

        fn proxy_add_header_map_value(
            guest, map: u32, name: u32, name_len: u32, value: u32, value_len: u32
        ) {
            let map = MapType::try_from(map)?;
            let (name, value) = (guest.read(name, name_len)?, guest.read(value, value_len)?);
            guest.state().writable(map).ok_or(Status::BadArgument)?.add(name, value);
            Ok(())
        }

        fn proxy_replace_header_map_value(
            guest, map: u32, name: u32, name_len: u32, value: u32, value_len: u32
        ) {
            let map = MapType::try_from(map)?;
            let (name, value) = (guest.read(name, name_len)?, guest.read(value, value_len)?);
            guest.state().writable(map).ok_or(Status::BadArgument)?.replace(name, value);
            Ok(())
        }

        fn proxy_remove_header_map_value(guest, map: u32, name: u32, name_len: u32) {
            let map = MapType::try_from(map)?;
            let name = guest.read(name, name_len)?;
            guest.state().writable(map).ok_or(Status::BadArgument)?.remove(name);
            Ok(())
        }
    );
    Ok(())
}

impl State {
    /// The map as a reader finds it.
    pub(super) fn readable(&self, map: MapType) -> Option<&Headers> {
        let logging = self.phase == Phase::Log;
        match map {
            MapType::Headers(side) => {
                let half = self.stream()?.half(side);
                let there = if logging {
                    !half.headers.is_empty()
                } else {
                    half.headers_visible
                };
                there.then_some(&half.headers)
            }
            MapType::Trailers(side) => {
                let half = self.stream()?.half(side);
                let there = if logging {
                    side == Side::Response && !half.trailers.is_empty()
                } else {
                    half.trailers_visible
                };
                there.then_some(&half.trailers)
            }
            MapType::GrpcInitialMetadata => self.root().ok()?.grpc_initial.as_ref(),
            MapType::GrpcTrailingMetadata => self.root().ok()?.grpc_trailing.as_ref(),
            MapType::CallHeaders => self
                .root()
                .ok()?
                .call_reply
                .as_ref()
                .map(|reply| &reply.headers),
            MapType::CallTrailers => {
                let trailers = self
                    .root()
                    .ok()?
                    .call_reply
                    .as_ref()
                    .map(|reply| &reply.trailers)?;
                (!trailers.is_empty()).then_some(trailers)
            }
        }
    }

    /// The map as a writer finds it. Writing trailers at the last chunk of a body makes them.
    fn writable(&mut self, map: MapType) -> Option<&mut Headers> {
        let nginx = self.shared.options.profile == Profile::Nginx;
        match map {
            MapType::Headers(side) => {
                let half = self.stream_mut()?.half_mut(side);
                half.headers_visible.then_some(&mut half.headers)
            }
            MapType::Trailers(side) => {
                let half = self.stream_mut()?.half_mut(side);
                half.trailers_visible |= !nginx && half.body_visible && half.end_of_stream;
                half.trailers_visible.then_some(&mut half.trailers)
            }
            _ => None,
        }
    }
}
