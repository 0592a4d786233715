//! What callbacks asked the proxy to do, done once they are over: resume, answer, close, delete.
//!
//! An answer of the guest's own goes out as Envoy's `sendLocalReply` lets it: before the response began it passes
//! the guest's own response callbacks, once they run it replaces the response as it is, and after the head is
//! sent there is only the reset. The callbacks over an answer may ask for more, so this recurses, by one level: the
//! second answer is sent as it is.

use std::mem;

use super::Vm;
use crate::host::abi::Side;
use crate::host::headers::Headers;
use crate::host::state::{Action, Phase};
use crate::host::stream::{Event, Hold, LocalResponse, Reply, Seen, StreamId};
use crate::host::trap::Trap;

impl Vm {
    /// Carries out what callbacks asked for. `origin` is the half whose verdict tells of itself.
    pub(super) fn settle(&mut self, origin: Option<(u32, Side)>) -> Result<(), Trap> {
        while let Some(action) = self.store.data_mut().actions.pop_front() {
            match action {
                Action::Resume(id, side) => self.resume(id, side, origin)?,
                Action::Reply(id, response) => self.reply(id, response)?,
                Action::Close(id) => {
                    if self.store.data().streams.contains_key(&id) {
                        self.events.push_back(Event::Closed(StreamId(id)));
                    }
                }
                Action::Delete(id) => {
                    let on_delete = self.exports.on_delete.clone();
                    self.call(&on_delete, (id, Phase::Done), id)?;
                    self.store.data_mut().roots.remove(&id);
                }
            }
        }
        Ok(())
    }

    fn resume(&mut self, id: u32, side: Side, origin: Option<(u32, Side)>) -> Result<(), Trap> {
        let Some(half) = self.half_mut(id, side) else {
            return Ok(());
        };
        match mem::take(&mut half.hold) {
            Hold::No => return Ok(()),
            Hold::All => {
                half.passed = true;
                let end = half.end_of_stream;
                if mem::take(&mut half.body_waiting) {
                    let chunk = mem::take(&mut half.aside);
                    self.run_body(id, side, &chunk, end)?;
                }
                let still_going = self
                    .half_mut(id, side)
                    .filter(|half| half.hold != Hold::All);
                if still_going.is_some_and(|half| mem::take(&mut half.trailers_waiting)) {
                    self.run_trailers(id, side)?;
                }
            }
            hold => {
                half.hold = hold;
                half.release();
            }
        }
        let passed = self
            .half_mut(id, side)
            .is_some_and(|half| half.hold == Hold::No);
        let stream = self.store.data().streams.get(&id);
        let own = side == Side::Response
            && stream.is_some_and(|stream| matches!(stream.reply, Reply::Passing(_)));
        if passed && own {
            self.finish_reply(id);
        } else if passed && origin != Some((id, side)) {
            self.events.push_back(Event::Resumed(StreamId(id), side));
        }
        Ok(())
    }

    fn reply(&mut self, id: u32, response: LocalResponse) -> Result<(), Trap> {
        let Some(stream) = self.store.data_mut().streams.get_mut(&id) else {
            return Ok(());
        };
        let (headers, body) = as_sent(&response, &stream.request.headers);
        match stream.reply {
            Reply::Sent => return Ok(()),
            Reply::None if stream.response.passed => {
                self.events.push_back(Event::Closed(StreamId(id)));
                return Ok(());
            }
            Reply::None if stream.response.seen == Seen::Nothing && stream.created => {}
            Reply::None | Reply::Passing(_) => {
                stream.reply = Reply::Sent;
                let response = received(response, &headers, body);
                self.events
                    .push_back(Event::LocalReply(StreamId(id), response));
                return Ok(());
            }
        }
        stream.response.headers = headers;
        stream.response.seen = Seen::End;
        stream.reply = Reply::Passing(response);
        self.run_headers(id, Side::Response, body.is_empty())?;
        self.settle(None)?;
        let Some(stream) = self.store.data_mut().streams.get_mut(&id) else {
            return Ok(());
        };
        if !matches!(stream.reply, Reply::Passing(_)) {
            return Ok(());
        }
        if !body.is_empty() {
            if stream.response.hold == Hold::All {
                stream.response.aside = body;
                stream.response.end_of_stream = true;
                stream.response.body_waiting = true;
            } else {
                self.run_body(id, Side::Response, &body, true)?;
                self.settle(None)?;
            }
        }
        if self
            .half_mut(id, Side::Response)
            .is_some_and(|half| half.hold == Hold::No)
        {
            self.finish_reply(id);
        }
        Ok(())
    }

    /// The guest's own answer has passed the guest's response callbacks: what they left of it goes out.
    fn finish_reply(&mut self, id: u32) {
        let Some(stream) = self.store.data_mut().streams.get_mut(&id) else {
            return;
        };
        let Reply::Passing(response) = mem::replace(&mut stream.reply, Reply::Sent) else {
            return;
        };
        let body = mem::take(&mut stream.response.released);
        let response = received(response, &stream.response.headers, body);
        self.events
            .push_back(Event::LocalReply(StreamId(id), response));
    }
}

/// The answer as its request wants it: of gRPC all in the headers, of HEAD without the body.
fn as_sent(response: &LocalResponse, asked: &Headers) -> (Headers, Vec<u8>) {
    let kind = asked.get("content-type").unwrap_or_default();
    if kind.starts_with(b"application/grpc") {
        return (as_grpc(response), Vec::new());
    }
    let body = if asked.get(":method") == Some(b"HEAD") {
        &[][..]
    } else {
        &response.body
    };
    (as_http(response), body.to_vec())
}

/// The answer as the client receives it.
fn received(response: LocalResponse, headers: &Headers, body: Vec<u8>) -> LocalResponse {
    let status = headers.text(":status").and_then(|text| text.parse().ok());
    LocalResponse {
        status: status.unwrap_or(response.status),
        headers: headers
            .iter()
            .filter(|(name, _)| !name.starts_with(b":"))
            .collect(),
        body,
        ..response
    }
}

/// The answer as Envoy makes it of a status, fields and a body.
fn as_http(response: &LocalResponse) -> Headers {
    let mut headers = with_fields(response.status, &response.headers);
    if !response.body.is_empty() {
        headers.replace("content-length", response.body.len().to_string());
        if headers.get("content-type").is_none() {
            headers.add("content-type", "text/plain");
        }
    }
    headers
}

/// The answer to a gRPC request: the status is 200 and everything else is in the headers.
fn as_grpc(response: &LocalResponse) -> Headers {
    let mut headers = with_fields(200, &response.headers);
    headers.replace("content-type", "application/grpc");
    let status = response
        .grpc_status
        .unwrap_or_else(|| grpc_status_of(response.status));
    headers.replace("grpc-status", status.to_string());
    if !response.body.is_empty() {
        headers.replace("grpc-message", &response.body);
    }
    headers
}

fn with_fields(status: u32, fields: &Headers) -> Headers {
    let status = (b":status".to_vec(), status.to_string().into_bytes());
    std::iter::once(status).chain(fields.clone()).collect()
}

/// The mapping of the gRPC documents, `http-grpc-status-mapping.md`.
fn grpc_status_of(http: u32) -> u32 {
    match http {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502..=504 => 14,
        _ => 2,
    }
}
