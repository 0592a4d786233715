//! How a stream opens: whether its answer has begun, or an error stands in its place.
//!
//! A server that streams sends its 200 before it knows whether there will be an answer. What
//! follows may be a comment or a ping that keeps the connection open, an event that announces an
//! answer, or an error. The answer begins with the first event that carries some of it; until then
//! nothing is known of the endpoint.
//!
//! - **Preamble** has no data: comments, events without data, Anthropic's `ping`, `message_start`
//!   and `content_block_start`, announcements of OpenAI's Responses (`response.created` ...), a
//!   chat's chunk with empty `choices` (Azure's first one, with the prompt's filters), and one
//!   whose choices hold a role and nothing else. vLLM, SGLang and llama.cpp send the role with the
//!   first token, other servers with the headers: a role is no token.
//! - **An error** is one of the dialects' own: a top-level `error`, an event or a `type` called
//!   `error`, `response.failed`, and the SSE field `error:` of llama.cpp before its pull request
//!   16109 (2025). What it says decides whose it is ([`Fault`]). After the first data an error
//!   breaks off an answer; it is not looked for.
//! - **Anything else** begins an answer, unreadable data too: a false failure costs more than a
//!   missed one.
//!
//! An event is kept until it is complete. Beyond the bounds an answer counts as begun.

use super::events::{EventReader, Part};
use super::fault::{Fault, field, is_nothing};
use crate::config::Json;

/// What is known of a stream's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opening {
    /// Nothing yet.
    Waiting,
    /// It has begun.
    Begun,
    /// There is an error in its place.
    Failed(Fault),
}

/// Reads a stream up to the first event that carries data.
#[derive(Clone, Debug, Default)]
pub struct OpeningReader {
    events: EventReader,
    /// What has come of the event that is not complete, line ends and all.
    event: Vec<u8>,
    /// How many events of preamble there were that had data.
    preamble: u16,
}

/// The largest event that is read. `response.created` repeats instructions and tools; a first token
/// has some hundred bytes.
const EVENT_BYTES: usize = 64 * 1024;
/// The most preamble that is read: a ping a second for a quarter of an hour.
const PREAMBLE: u16 = 1024;

impl OpeningReader {
    /// The stream goes on with `piece`, its last if it is the `end`. Not to be called again once
    /// the opening is known.
    #[inline(never)]
    pub fn read(&mut self, piece: &[u8], end: bool) -> Opening {
        let mut rest = piece;
        loop {
            let before = rest;
            let part = self.events.next(&mut rest);
            let read = before.len().saturating_sub(rest.len());
            if self.event.len().saturating_add(read) > EVENT_BYTES {
                return Opening::Begun;
            }
            self.event
                .extend_from_slice(before.get(..read).unwrap_or_default());
            let had_data = match part {
                Some(Part::Data(_)) => continue,
                Some(Part::End { data }) => data,
                // An event at the end counts without the empty line that belongs behind it.
                None if end => true,
                None => return Opening::Waiting,
            };
            let opening = opening(&self.event);
            self.event.clear();
            self.preamble = self.preamble.saturating_add(had_data.into());
            if opening != Opening::Waiting {
                return opening;
            }
            if part.is_none() || self.preamble > PREAMBLE {
                return Opening::Begun;
            }
        }
    }
}

/// What `event`, given as it came, says of the answer.
#[inline(never)]
fn opening(event: &[u8]) -> Opening {
    let (mut name, mut error, mut data) = (&b""[..], None, Vec::new());
    let event = event.strip_prefix(b"\xef\xbb\xbf").unwrap_or(event);
    for line in event.split(|byte| matches!(byte, b'\n' | b'\r')) {
        let colon = line.iter().position(|byte| *byte == b':');
        let (field, value) = line.split_at(colon.unwrap_or(line.len()));
        let value = value.strip_prefix(b":").unwrap_or(value);
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => {
                if !data.is_empty() {
                    data.push(b'\n');
                }
                data.extend_from_slice(value);
            }
            b"event" => name = value,
            b"error" => error = Some(value),
            _ => {}
        }
    }
    if let Some(error) = error {
        let json = Json::parse(error).unwrap_or(Json::Null);
        return Opening::Failed(Fault::of(&[&json]));
    }
    if data.is_empty() {
        return Opening::Waiting;
    }
    match Json::parse(&data) {
        Some(root @ Json::Object(_)) => opening_of(&root, name),
        json if name == b"error" => {
            Opening::Failed(Fault::of(&[json.as_ref().unwrap_or(&Json::Null)]))
        }
        // `[DONE]`, or data of some other kind.
        _ => Opening::Begun,
    }
}

/// What an event says whose data is the object `root`; `name` is the event's.
fn opening_of(root: &Json, name: &[u8]) -> Opening {
    let kind = match field(root, "type") {
        Some(Json::Text(kind)) => kind.as_bytes(),
        _ => name,
    };
    let holder = match kind {
        b"response.failed" => field(root, "response").unwrap_or(root),
        _ => root,
    };
    let error = field(holder, "error").filter(|error| !is_nothing(error));
    let is_error = kind == b"error"
        || kind == b"response.failed"
        || name == b"error"
        || matches!(field(root, "object"), Some(Json::Text(object)) if object == "error");
    match (error, is_error) {
        (Some(error), _) => Opening::Failed(Fault::of(&[error, root])),
        (None, true) => Opening::Failed(Fault::of(&[root])),
        (None, false) if is_preamble(kind) => Opening::Waiting,
        (None, false) => match field(root, "choices") {
            Some(choices @ Json::Array(_)) if !carries(choices) => Opening::Waiting,
            _ => Opening::Begun,
        },
    }
}

/// Whether an event of this kind announces an answer, and has none of it.
fn is_preamble(kind: &[u8]) -> bool {
    matches!(
        kind,
        b"ping"
            | b"keepalive"
            | b"message_start"
            | b"content_block_start"
            | b"response.created"
            | b"response.queued"
            | b"response.in_progress"
            | b"response.output_item.added"
            | b"response.content_part.added"
            | b"response.reasoning_summary_part.added"
    )
}

/// Whether there is anything in `json`, a role and numbers of choices aside.
fn carries(json: &Json) -> bool {
    match json {
        Json::Array(items) => items.iter().any(carries),
        Json::Object(fields) => fields
            .iter()
            .any(|(name, value)| !matches!(name.as_str(), "role" | "index") && carries(value)),
        json => !is_nothing(json),
    }
}

#[cfg(test)]
#[path = "opening_tests.rs"]
mod tests;
