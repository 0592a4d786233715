//! Taking out of a stream the event that its client did not ask for.
//!
//! Where usage was asked for on a client's behalf, OpenAI's streams end with one more event, that has no `choices` and
//! the `usage`; clients that index `choices[0]` break on it. It is told by what it holds, not by where it stands:
//! servers send it before `[DONE]`, and some send nothing after it. Until an event has shown that it is another it is held back, mostly
//! within one piece of the stream, as the first choice shows it; everything else leaves as it came, byte for byte.

use super::meter::{Event, Form, Meter};

/// The most that is held back. The event that is looked for has some hundred bytes; what is longer is another.
const HELD: usize = 4096;

/// A stream on its way to a client that did not ask for usage.
#[derive(Clone, Debug)]
pub struct Unasked {
    meter: Meter,
    /// The beginning of an event that may be the one.
    held: Vec<u8>,
    /// Whether the event that passes is another.
    another: bool,
    /// Whether the last event was taken out.
    taken: bool,
}

impl Default for Unasked {
    fn default() -> Self {
        Self {
            meter: Meter::new(Form::Events),
            held: Vec::new(),
            another: false,
            taken: false,
        }
    }
}

impl Unasked {
    /// The stream goes on with `piece`, its last if it is the `end`: what the client gets in its place, `None` for
    /// the piece as it is.
    pub fn pass(&mut self, piece: &[u8], end: bool) -> Option<Vec<u8>> {
        let mut way = Way {
            piece,
            out: (!self.held.is_empty()).then(Vec::new),
            at: 0,
        };
        let mut rest = piece;
        loop {
            // The rest of a line end goes the way of the line; held back, it is part of what is.
            let feeds = self.meter.awaits_line_feed() && rest.first() == Some(&b'\n');
            if feeds && self.held.is_empty() {
                let feed = way.at.saturating_add(1);
                match self.taken && !self.another {
                    true => way.take(feed),
                    false => way.keep(feed),
                }
            }
            let event = self.meter.event(&mut rest);
            let to = piece.len().saturating_sub(rest.len());
            let Some(event) = event else {
                self.rest(&mut way, end);
                return way.out;
            };
            self.taken = !self.another && is_usage(event);
            match self.taken {
                true => {
                    self.held.clear();
                    way.take(to);
                }
                false => self.release(&mut way, to),
            }
            self.another = false;
        }
    }

    /// Takes what is held back, as the stream cannot be followed any more.
    pub fn give_up(self) -> Vec<u8> {
        self.held
    }

    /// The piece ends within an event.
    fn rest(&mut self, way: &mut Way<'_>, end: bool) {
        let to = way.piece.len();
        let more = to.saturating_sub(way.at);
        let event = self.meter.unfinished();
        let long = self.held.len().saturating_add(more) > HELD;
        if end && !self.another && is_usage(event) {
            return way.take(to);
        }
        if end || self.another || event.choice || long {
            self.another |= more > 0;
            return self.release(way, to);
        }
        if more > 0 {
            let held = way.piece.get(way.at..to).unwrap_or_default();
            self.held.extend_from_slice(held);
            way.take(to);
        }
    }

    fn release(&mut self, way: &mut Way<'_>, to: usize) {
        if let Some(out) = &mut way.out {
            out.append(&mut self.held);
        }
        way.keep(to);
    }
}

fn is_usage(event: Event) -> bool {
    event.no_choice && event.usage
}

/// A piece and what becomes of it.
struct Way<'a> {
    piece: &'a [u8],
    /// What the client gets, once that is not the piece as far as it was looked at.
    out: Option<Vec<u8>>,
    /// How far that is.
    at: usize,
}

impl Way<'_> {
    fn keep(&mut self, to: usize) {
        if let Some(out) = &mut self.out {
            out.extend_from_slice(self.piece.get(self.at..to).unwrap_or_default());
        }
        self.at = self.at.max(to);
    }

    fn take(&mut self, to: usize) {
        if self.at < to {
            let before = self.piece.get(..self.at).unwrap_or_default();
            self.out.get_or_insert_with(|| before.to_vec());
        }
        self.at = self.at.max(to);
    }
}

#[cfg(test)]
#[path = "unasked_tests.rs"]
mod tests;
