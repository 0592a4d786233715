//! Streams: what comes in from the wire goes to the guest, and what the guest decided comes back as a verdict.
//!
//! How a callback's answer holds or releases a half is proxy-wasm-cpp-host's `convertVmCallResultTo…` and Envoy's
//! filter manager; how an answer of the guest's own goes out is `sendLocalReply`: before the response began it
//! passes the guest's own response callbacks, once they run it replaces the response as it is, and after the
//! head is sent there is only the reset.

use std::mem;

use super::{RootId, Vm};
use crate::host::abi::Side;
use crate::host::headers::Headers;
use crate::host::options::Profile;
use crate::host::state::Phase;
use crate::host::stream::{Event, Half, Hold, Reply, Seen, Stream, StreamId, StreamInfo, Verdict};
use crate::host::trap::Trap;

impl Vm {
    /// Opens a stream on the VM's newest root context. The guest hears of it at its first callback.
    pub fn open_stream(&mut self, info: StreamInfo) -> StreamId {
        self.open_stream_on(self.root(), info)
    }

    /// Opens a stream on one of several root contexts.
    pub fn open_stream_on(&mut self, root: RootId, info: StreamInfo) -> StreamId {
        let id = self.allocate_context();
        let state = self.store.data_mut();
        let clock = &state.shared.options.clock;
        let stream = Stream::new(root.0, info, clock.wall_nanos(), clock.monotonic_nanos());
        state.streams.insert(id, stream);
        StreamId(id)
    }

    /// The request's head came.
    pub fn request_headers(
        &mut self,
        id: StreamId,
        headers: Headers,
        end_of_stream: bool,
    ) -> Result<Verdict, Trap> {
        self.headers(id, Side::Request, headers, end_of_stream)
    }

    /// A piece of the request's body came. What may go on is taken with [`Self::take_request_body`].
    pub fn request_body(
        &mut self,
        id: StreamId,
        chunk: &[u8],
        end_of_stream: bool,
    ) -> Result<Verdict, Trap> {
        self.body(id, Side::Request, chunk, end_of_stream)
    }

    /// The request ended with trailers.
    pub fn request_trailers(&mut self, id: StreamId, trailers: Headers) -> Result<Verdict, Trap> {
        self.trailers(id, Side::Request, trailers)
    }

    /// The response's head came, with `:status`.
    pub fn response_headers(
        &mut self,
        id: StreamId,
        headers: Headers,
        end_of_stream: bool,
    ) -> Result<Verdict, Trap> {
        self.headers(id, Side::Response, headers, end_of_stream)
    }

    /// A piece of the response's body came. What may go on is taken with [`Self::take_response_body`].
    pub fn response_body(
        &mut self,
        id: StreamId,
        chunk: &[u8],
        end_of_stream: bool,
    ) -> Result<Verdict, Trap> {
        self.body(id, Side::Response, chunk, end_of_stream)
    }

    /// The response ended with trailers.
    pub fn response_trailers(&mut self, id: StreamId, trailers: Headers) -> Result<Verdict, Trap> {
        self.trailers(id, Side::Response, trailers)
    }

    /// The stream is over, or the client has gone. The last callbacks come in the order of the profile.
    pub fn close(&mut self, id: StreamId) -> Result<(), Trap> {
        self.begin()?;
        let id = id.0;
        if !self
            .store
            .data()
            .streams
            .get(&id)
            .is_some_and(|stream| stream.created)
        {
            self.store.data_mut().streams.remove(&id);
            return Ok(());
        }
        let (on_log, on_done) = (self.exports.on_log.clone(), self.exports.on_done.clone());
        if self.profile() == Profile::Envoy {
            self.call(&on_log, (id, Phase::Log), id)?;
            self.call(&on_done, (id, Phase::Done), id)?;
        } else {
            self.call(&on_done, (id, Phase::Done), id)?;
            self.call(&on_log, (id, Phase::Log), id)?;
        }
        let on_delete = self.exports.on_delete.clone();
        self.call(&on_delete, (id, Phase::Done), id)?;
        self.store.data_mut().streams.remove(&id);
        self.settle(None).map(drop)
    }

    /// The request's head as the guest left it.
    pub fn request_headers_of(&self, id: StreamId) -> Option<&Headers> {
        self.half_of(id, Side::Request).map(|half| &half.headers)
    }

    /// The request's body as far as the guest has released it, less what was taken before.
    pub fn take_request_body(&mut self, id: StreamId) -> Vec<u8> {
        self.take_body(id, Side::Request)
    }

    /// The request's trailers as the guest left them.
    pub fn request_trailers_of(&self, id: StreamId) -> Option<&Headers> {
        self.half_of(id, Side::Request).map(|half| &half.trailers)
    }

    /// The response's head as the guest left it.
    pub fn response_headers_of(&self, id: StreamId) -> Option<&Headers> {
        self.half_of(id, Side::Response).map(|half| &half.headers)
    }

    /// The response's body as far as the guest has released it, less what was taken before.
    pub fn take_response_body(&mut self, id: StreamId) -> Vec<u8> {
        self.take_body(id, Side::Response)
    }

    /// The response's trailers as the guest left them.
    pub fn response_trailers_of(&self, id: StreamId) -> Option<&Headers> {
        self.half_of(id, Side::Response).map(|half| &half.trailers)
    }

    /// Bytes of the body that are held, which the embedder's limit on buffering counts.
    pub fn held_bytes(&self, id: StreamId, side: Side) -> usize {
        self.half_of(id, side)
            .map_or(0, |half| half.aside.len() + half.body.len())
    }

    /// Sets a property that the embedder knows, such as `["upstream", "address"]`. Envoy's numbers are 8 bytes LE.
    pub fn set_property(&mut self, id: StreamId, path: &[&str], value: impl Into<Vec<u8>>) {
        if let Some(stream) = self.store.data_mut().streams.get_mut(&id.0) {
            let path = path.iter().map(|part| (*part).to_owned()).collect();
            stream.info.properties.insert(path, value.into());
        }
    }

    fn headers(
        &mut self,
        id: StreamId,
        side: Side,
        headers: Headers,
        end: bool,
    ) -> Result<Verdict, Trap> {
        self.begin()?;
        let Some(half) = self.open_half(id, side) else {
            return Ok(Verdict::Continue);
        };
        half.headers = headers;
        half.seen = if end { Seen::End } else { Seen::Headers };
        self.run_headers(id.0, side, end)?;
        self.verdict(id.0, side)
    }

    fn body(&mut self, id: StreamId, side: Side, chunk: &[u8], end: bool) -> Result<Verdict, Trap> {
        self.begin()?;
        let nginx = self.profile() == Profile::Nginx;
        let Some(half) = self.open_half(id, side) else {
            return Ok(Verdict::Continue);
        };
        // nginx reads the whole request body first, and asks nobody about one of no length.
        let first = half.seen < Seen::Body;
        if half.hold == Hold::All || (nginx && side == Side::Request) {
            half.aside.extend_from_slice(chunk);
            half.body_waiting = true;
            half.end_of_stream = end;
            half.seen = half.seen.max(if end { Seen::End } else { Seen::Body });
            if half.hold == Hold::All || !end {
                return Ok(Verdict::Pause);
            }
            half.body_waiting = false;
            let whole = mem::take(&mut half.aside);
            if !whole.is_empty() {
                self.run_body(id.0, side, &whole, true)?;
            }
        } else {
            // nginx does not know the end of a response of several chunks.
            self.run_body(id.0, side, chunk, end && (!nginx || first))?;
        }
        self.verdict(id.0, side)
    }

    fn trailers(&mut self, id: StreamId, side: Side, trailers: Headers) -> Result<Verdict, Trap> {
        self.begin()?;
        let nginx = self.profile() == Profile::Nginx;
        let Some(half) = self.open_half(id, side) else {
            return Ok(Verdict::Continue);
        };
        half.trailers = trailers;
        half.seen = Seen::End;
        if half.hold == Hold::All {
            half.trailers_waiting = true;
            return Ok(Verdict::Pause);
        }
        if nginx {
            half.release();
        } else {
            self.run_trailers(id.0, side)?;
        }
        self.verdict(id.0, side)
    }

    pub(super) fn run_headers(&mut self, id: u32, side: Side, end: bool) -> Result<(), Trap> {
        self.create(id)?;
        let nginx = self.profile() == Profile::Nginx;
        let Some(half) = self.half_mut(id, side) else {
            return Ok(());
        };
        half.headers_visible = true;
        let count = u32::try_from(half.headers.len()).unwrap_or(u32::MAX);
        let end = u32::from(end && !nginx);
        let (new, old) = (
            self.exports.on_headers[side as usize].clone(),
            self.exports.on_headers_old[side as usize].clone(),
        );
        let answer = match old.1 {
            Some(_) => self.call(&old, (id, phase(side)), (id, count))?,
            None => self.call(&new, (id, phase(side)), (id, count, end))?,
        };
        let stopped = mem::take(&mut self.store.data_mut().stop_iteration);
        let body_follows = !nginx && self.store.data().shared.options.stop_iteration;
        let Some(half) = self.half_mut(id, side) else {
            return Ok(());
        };
        match answer.unwrap_or(0) {
            _ if stopped => half.hold = Hold::All,
            0 | 2 => {
                half.headers_visible = false;
                half.release();
            }
            1 if body_follows => half.hold = Hold::Headers,
            _ => half.hold = Hold::All,
        }
        Ok(())
    }

    pub(super) fn run_body(
        &mut self,
        id: u32,
        side: Side,
        chunk: &[u8],
        end: bool,
    ) -> Result<(), Trap> {
        let Some(half) = self.half_mut(id, side) else {
            return Ok(());
        };
        let told = u32::try_from(half.take_in(chunk, end)).unwrap_or(u32::MAX);
        let on_body = self.exports.on_body[side as usize].clone();
        let answer = self.call(&on_body, (id, phase(side)), (id, told, u32::from(end)))?;
        let stopped = mem::take(&mut self.store.data_mut().stop_iteration);
        let Some(half) = self.half_mut(id, side) else {
            return Ok(());
        };
        match answer.unwrap_or(0) {
            _ if stopped => half.hold = Hold::Discarding,
            0 => {
                half.body_visible = false;
                half.release();
            }
            1 => half.hold = Hold::Buffering,
            2 => half.hold = Hold::Aside,
            _ => half.hold = Hold::Discarding,
        }
        Ok(())
    }

    pub(super) fn run_trailers(&mut self, id: u32, side: Side) -> Result<(), Trap> {
        let Some(half) = self.half_mut(id, side) else {
            return Ok(());
        };
        half.trailers_visible = true;
        let count = u32::try_from(half.trailers.len()).unwrap_or(u32::MAX);
        let on_trailers = self.exports.on_trailers[side as usize].clone();
        let answer = self.call(&on_trailers, (id, phase(side)), (id, count))?;
        let stopped = mem::take(&mut self.store.data_mut().stop_iteration);
        let Some(half) = self.half_mut(id, side) else {
            return Ok(());
        };
        if stopped || answer.unwrap_or(0) != 0 {
            half.hold = Hold::Trailers;
        } else {
            half.trailers_visible = false;
            half.release();
        }
        Ok(())
    }

    /// Gives the guest its context for the stream, before the first callback on it.
    fn create(&mut self, id: u32) -> Result<(), Trap> {
        let Some(stream) = self.store.data_mut().streams.get_mut(&id) else {
            return Ok(());
        };
        if mem::replace(&mut stream.created, true) {
            return Ok(());
        }
        let root = stream.root;
        let on_context_create = self.exports.on_context_create.clone();
        self.call(&on_context_create, (id, Phase::Request), (id, root))
            .map(drop)
    }

    /// Carries out what the callbacks on a stream asked for, and says what became of the half they were about.
    fn verdict(&mut self, id: u32, side: Side) -> Result<Verdict, Trap> {
        let before = self.events.len();
        self.settle(Some((id, side)))?;
        let mut verdict = None;
        let mut later = self.events.split_off(before);
        later.retain(|event| match event {
            Event::LocalReply(StreamId(of), response) if *of == id => {
                verdict = Some(Verdict::Reply(response.clone()));
                false
            }
            Event::Closed(StreamId(of)) if *of == id => {
                verdict = Some(Verdict::Close);
                false
            }
            _ => true,
        });
        self.events.append(&mut later);
        let held = self
            .half_mut(id, side)
            .is_some_and(|half| half.hold != Hold::No);
        Ok(verdict.unwrap_or(if held {
            Verdict::Pause
        } else {
            Verdict::Continue
        }))
    }

    /// A half on which callbacks still make sense: not that of a stream answered by the guest itself.
    fn open_half(&mut self, id: StreamId, side: Side) -> Option<&mut Half> {
        let stream = self.store.data_mut().streams.get_mut(&id.0)?;
        let answered = !matches!(stream.reply, Reply::None);
        (!answered).then(|| stream.half_mut(side))
    }

    pub(super) fn half_mut(&mut self, id: u32, side: Side) -> Option<&mut Half> {
        self.store
            .data_mut()
            .streams
            .get_mut(&id)
            .map(|stream| stream.half_mut(side))
    }

    fn half_of(&self, id: StreamId, side: Side) -> Option<&Half> {
        self.store
            .data()
            .streams
            .get(&id.0)
            .map(|stream| stream.half(side))
    }

    fn take_body(&mut self, id: StreamId, side: Side) -> Vec<u8> {
        self.half_mut(id.0, side)
            .map(|half| mem::take(&mut half.released))
            .unwrap_or_default()
    }

    fn profile(&self) -> Profile {
        self.store.data().shared.options.profile
    }
}

fn phase(side: Side) -> Phase {
    match side {
        Side::Request => Phase::Request,
        Side::Response => Phase::Response,
    }
}
