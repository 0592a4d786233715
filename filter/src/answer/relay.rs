//! An answer on its way to the client: counted, and changed where it has to be.
//!
//! Where usage was asked for on a client's behalf, OpenAI's streams end with one more event, that has no `choices` and
//! the `usage`; clients that index `choices[0]` break on it. It is told by what it holds, not by where it stands:
//! servers send it before `[DONE]`, and some send nothing after it. Until an event has shown that it is another it is held
//! back, mostly within one piece of the stream, as the first choice shows it.
//!
//! A stream that has a budget is cut before the event that goes beyond it, and ends as one that reached its `max_tokens`
//! ([`super::ending`]). So an event has to be complete before it leaves; servers send them whole. What the upstream still
//! sends is swallowed, and counted, as it was generated. Most clients leave at the end they were given, and that stops it;
//! one that stays would otherwise have it generate for nothing.
//!
//! Everything else leaves as it came, byte for byte, and a piece in which nothing is taken out is not copied.

use super::ending::ending;
use super::meter::{Event, Form, Meter, Relayed};
use crate::values::units::Tokens;

/// The most that is held back of an event that may be the one with the usage. That one has some hundred bytes.
const HELD: usize = 4096;
/// The most that is held back of an event that may go beyond a budget: a longer one is not cut off, but the next is.
const HELD_FOR_BUDGET: usize = 64 * 1024;

/// An answer on its way to the client.
#[derive(Clone, Debug)]
pub struct Relay {
    meter: Meter,
    /// Whether the event that tells the usage is taken out.
    without_usage: bool,
    /// The most output that the client gets.
    budget: Option<Tokens>,
    /// The output before this event; only with a budget.
    before: Tokens,
    /// Whether the stream was cut: then the client gets no more of it.
    cut: bool,
    /// The beginning of an event that may not be for the client.
    held: Vec<u8>,
    /// Whether the event that passes is another.
    another: bool,
    /// Whether the last event was taken out.
    taken: bool,
}

impl Relay {
    /// An answer that is counted.
    pub fn new(form: Form) -> Relay {
        Relay {
            meter: Meter::new(form),
            without_usage: false,
            budget: None,
            before: Tokens(0),
            cut: false,
            held: Vec::new(),
            another: false,
            taken: false,
        }
    }

    /// The same, of several answers.
    pub fn of_several(mut self) -> Relay {
        self.meter = self.meter.of_several();
        self
    }

    /// The same, and the event that tells the usage is taken out: its client did not ask for it.
    pub fn without_usage(mut self) -> Relay {
        self.without_usage = self.meter.form() == Form::Events;
        self
    }

    /// The same, and it ends before more than `budget` of output has been relayed. Only streams are cut, of chats,
    /// completions and Anthropic's messages.
    pub fn within(mut self, budget: Tokens) -> Relay {
        if self.meter.form() == Form::Events {
            self.budget = Some(budget);
        }
        self
    }

    /// Whether the client may get something else than what comes.
    pub fn changes(&self) -> bool {
        self.without_usage || self.budget.is_some()
    }

    /// Whether the answer was cut at its budget.
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    /// What has come of the answer: what the client has got, and what was swallowed behind a cut.
    pub fn relayed(&self) -> Relayed {
        self.meter.relayed()
    }

    /// The answer goes on with `piece`, its last if it is the `end`: what the client gets in its place, `None` for
    /// the piece as it is.
    pub fn pass(&mut self, piece: &[u8], end: bool) -> Option<Vec<u8>> {
        if self.cut {
            self.meter.feed(piece);
            return Some(Vec::new());
        }
        if !self.changes() {
            self.meter.feed(piece);
            return None;
        }
        let mut way = Way {
            piece,
            out: (!self.held.is_empty()).then(Vec::new),
            at: 0,
        };
        let mut rest = piece;
        while !self.cut {
            // The rest of a line end goes the way of the line; held back, it is part of what is.
            let feeds = self.meter.awaits_line_feed() && rest.first() == Some(&b'\n');
            if feeds && self.held.is_empty() {
                let feed = way.at.saturating_add(1);
                match self.taken && !self.another {
                    true => way.take(feed),
                    false => way.keep(feed),
                }
            }
            let Some(event) = self.meter.event(&mut rest) else {
                self.unfinished(&mut way, end);
                break;
            };
            self.event(event, piece.len().saturating_sub(rest.len()), &mut way);
        }
        self.meter.feed(rest);
        way.out
    }

    /// Takes what is held back, as the answer cannot be followed any more.
    pub fn give_up(self) -> Vec<u8> {
        self.held
    }

    /// An event ends at `to`.
    fn event(&mut self, event: Event, to: usize, way: &mut Way<'_>) {
        let whole = !std::mem::take(&mut self.another);
        self.taken = whole && self.is_unasked(event);
        if whole && self.exceeds(event) && self.cut_before(to, way) {
            return;
        }
        match self.taken {
            true => {
                self.held.clear();
                way.take(to);
            }
            false => self.release(way, to),
        }
    }

    /// Whether `event` may go beyond the budget.
    fn exceeds(&self, event: Event) -> bool {
        self.budget.is_some() && event.says
    }

    /// Ends the stream before the event that ends at `to`, if that goes beyond the budget.
    #[cold]
    #[inline(never)]
    fn cut_before(&mut self, to: usize, way: &mut Way<'_>) -> bool {
        let output = self.meter.relayed().output;
        if self.budget.is_none_or(|budget| output <= budget) {
            self.before = output;
            return false;
        }
        let mut event = std::mem::take(&mut self.held);
        event.extend_from_slice(way.piece.get(way.at..to).unwrap_or_default());
        let Some(ending) = ending(&event, self.meter.choices(), self.before) else {
            // Nobody knows how such a stream ends early: it is relayed, and charged for.
            way.take(to);
            way.put(&event);
            return true;
        };
        self.cut = true;
        way.take(way.piece.len());
        way.put(&ending);
        true
    }

    /// The piece ends within an event.
    fn unfinished(&mut self, way: &mut Way<'_>, end: bool) {
        let to = way.piece.len();
        let more = to.saturating_sub(way.at);
        let event = self.meter.unfinished();
        let held = self.held.len().saturating_add(more);
        if end && !self.another && self.is_unasked(event) {
            return way.take(to);
        }
        if end && !self.another && self.exceeds(event) && self.cut_before(to, way) {
            return;
        }
        let another = match self.budget {
            None => event.choice || held > HELD,
            Some(_) => held > HELD_FOR_BUDGET,
        };
        if end || self.another || another {
            self.another |= more > 0;
            return self.release(way, to);
        }
        if more > 0 {
            let held = way.piece.get(way.at..to).unwrap_or_default();
            self.held.extend_from_slice(held);
            way.take(to);
        }
    }

    fn is_unasked(&self, event: Event) -> bool {
        self.without_usage && event.no_choice && event.usage
    }

    fn release(&mut self, way: &mut Way<'_>, to: usize) {
        if let Some(out) = &mut way.out {
            out.append(&mut self.held);
        }
        way.keep(to);
    }
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

    /// Puts `bytes` where something was taken.
    fn put(&mut self, bytes: &[u8]) {
        if let Some(out) = &mut self.out {
            out.extend_from_slice(bytes);
        }
    }
}

#[cfg(test)]
#[path = "relay_tests.rs"]
mod tests;
