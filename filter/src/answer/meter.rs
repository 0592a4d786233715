//! Counting what an answer relays, while it is relayed.
//!
//! Whoever is charged for tokens is charged for those that reached the client, so the count must be right at every byte: a
//! client may leave behind any of them. An upstream's own count comes last, or not at all; until then the text is
//! counted as the input is, and never less than a token for each piece of text that a server sent by itself.
//! The text that comes behind a report is added to it: so the first report of Anthropic's streams, which says 1,
//! and those of servers that report with every event, need no rule of their own.
//!
//! Where several answers were asked for, vLLM and SGLang report in each event (`continuous_usage_stats`) what its own choice has
//! used, and of several prompts its own: such a report never lowers the count, and tells nothing of the input. The event without a
//! choice, at the end, tells of all.
//!
//! The state is some 300 bytes, whatever comes, and the same bytes count the same however they are cut.

use super::events::{EventReader, Part};
use super::fields::Field;
use super::json::{JsonReader, Token};
use crate::text::{Flowing, raw};
use crate::values::units::Tokens;

/// What an answer's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One JSON object.
    Json,
    /// Server-sent events, with a JSON object in each.
    Events,
}

impl Form {
    /// The form that a `content-type` names; `None` for one that nothing is read of.
    #[inline(never)]
    pub fn of(content_type: &[u8]) -> Option<Form> {
        if names(content_type, b"text/event-stream") {
            Some(Form::Events)
        } else if names(content_type, b"application/json") {
            Some(Form::Json)
        } else {
            None
        }
    }
}

/// Whether `content_type` is `kind`, given in lower case, whatever its parameters.
#[inline(never)]
fn names(content_type: &[u8], kind: &[u8]) -> bool {
    let mut letters = content_type.iter().map(u8::to_ascii_lowercase);
    let same = kind.iter().all(|letter| letters.next() == Some(*letter));
    same && matches!(letters.next(), None | Some(b';' | b' ' | b'\t'))
}

/// What an answer has used, as its upstream tells it; the numbers that it told last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// The input, with what came from a cache.
    pub input: Option<Tokens>,
    /// The output.
    pub output: Option<Tokens>,
}

/// What of an answer has been relayed so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relayed {
    /// What the upstream reported; `None` before it reported anything.
    pub usage: Option<Usage>,
    /// The output estimated from the text, which is not corrected for the model.
    pub estimated_output: Tokens,
    /// The output: as it was reported last, and the estimate for what was said since; or the estimate for all.
    pub output: Tokens,
    /// How many events there were that had data; none in one JSON object.
    pub events: u32,
    /// Whether the answer said that it is complete: `[DONE]`, Anthropic's `message_stop`, the end of a JSON object.
    pub finished: bool,
}

/// Counts an answer as it passes.
#[derive(Clone, Debug)]
pub struct Meter {
    form: Form,
    events: EventReader,
    json: JsonReader,
    said: Said,
    this: Event,
    /// Whether an event may tell of one choice alone, as several answers were asked for.
    several: bool,
    /// How much of `[DONE]` the event's data is; `None` if it is something else.
    done: Option<usize>,
    count: u32,
}

/// What the model has said.
#[derive(Clone, Debug, Default)]
struct Said {
    text: Flowing,
    /// Strings of it that were not empty.
    pieces: u32,
    /// How many choices it gave.
    choices: u32,
    usage: Option<Usage>,
    /// The estimate when the output was reported last.
    reported_at: Tokens,
    open: OpenUsage,
    finished: bool,
}

/// A usage report that is not complete.
#[derive(Clone, Copy, Debug, Default)]
struct OpenUsage {
    prompt: Option<u32>,
    input: Option<u32>,
    cached: u32,
    output: Option<u32>,
}

/// What an event has shown so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Whether it has `choices`, and none in them.
    pub no_choice: bool,
    /// Whether it has some.
    pub choice: bool,
    /// Whether it reports usage.
    pub usage: bool,
    /// Whether there is text in it.
    pub says: bool,
}

const DONE: &[u8] = b"[DONE]";

impl Meter {
    /// Before the first byte of an answer.
    pub fn new(form: Form) -> Meter {
        Meter {
            form,
            events: EventReader::default(),
            json: JsonReader::default(),
            said: Said::default(),
            this: Event::default(),
            several: false,
            done: Some(0),
            count: 0,
        }
    }

    /// The same, of several answers.
    pub fn of_several(mut self) -> Meter {
        self.several = self.form == Form::Events;
        self
    }

    /// The answer goes on with `chunk`.
    pub fn feed(&mut self, chunk: &[u8]) {
        match self.form {
            Form::Events => {
                let mut rest = chunk;
                while self.event(&mut rest).is_some() {}
            }
            Form::Json => self.json(chunk),
        }
    }

    /// What has been relayed with all that was fed.
    pub fn relayed(&self) -> Relayed {
        let estimated_output = self.said.estimate();
        Relayed {
            usage: self.said.usage,
            estimated_output,
            output: self.said.output(estimated_output),
            events: self.count,
            finished: self.said.finished,
        }
    }

    /// Reads `rest` to the end of the event that it is in, and takes that off it; the event if it ends there.
    pub(super) fn event(&mut self, rest: &mut &[u8]) -> Option<Event> {
        while let Some(part) = self.events.next(rest) {
            match part {
                Part::Data(data) => {
                    self.done = self.done.and_then(|seen| done(seen, data));
                    self.json(data);
                }
                Part::End { data } => {
                    self.said.finished |= self.done == Some(DONE.len());
                    self.count = self.count.saturating_add(data.into());
                    self.json = JsonReader::default();
                    self.done = Some(0);
                    let event = std::mem::take(&mut self.this);
                    if self.several && event.usage {
                        self.said.report(event.choice);
                    }
                    return Some(event);
                }
            }
        }
        None
    }

    /// What the answer's bytes are.
    pub(super) fn form(&self) -> Form {
        self.form
    }

    /// How many choices the answer gave so far.
    pub(super) fn choices(&self) -> u32 {
        self.said.choices
    }

    /// What the event that is not at its end has shown.
    pub(super) fn unfinished(&self) -> Event {
        self.this
    }

    /// Whether the last byte was a CR that ended a line, to which an LF would belong.
    pub(super) fn awaits_line_feed(&self) -> bool {
        self.events.awaits_line_feed()
    }

    fn json(&mut self, data: &[u8]) {
        let (said, this, whole) = (&mut self.said, &mut self.this, self.form == Form::Json);
        let several = self.several;
        self.json.feed(data, &mut |token| match token {
            Token::Choices => this.no_choice = true,
            Token::Choice => (this.no_choice, this.choice) = (false, true),
            Token::End => said.finished |= whole,
            Token::UsageEnd => {
                this.usage = true;
                // Whether it is of one choice shows the whole event.
                if !several {
                    said.report(false);
                }
            }
            token => {
                this.says |= token == Token::Begins;
                said.hear(token);
            }
        });
    }
}

/// How much of `[DONE]` there is once `data` follows on the first `seen` bytes of it.
fn done(seen: usize, data: &[u8]) -> Option<usize> {
    DONE.get(seen..)?
        .starts_with(data)
        .then(|| seen.saturating_add(data.len()))
}

impl Said {
    fn hear(&mut self, token: Token<'_>) {
        match token {
            Token::Begins => self.pieces = self.pieces.saturating_add(1),
            Token::Text(text) => self.text.push(text),
            Token::Char(char) => self.text.push_char(char),
            Token::Kind(kind) => {
                self.finished |= matches!(
                    kind,
                    b"message_stop"
                        | b"response.completed"
                        | b"response.incomplete"
                        | b"response.failed"
                );
            }
            Token::Usage => self.open = OpenUsage::default(),
            Token::Number(field, number) => {
                let open = &mut self.open;
                match field {
                    Field::Prompt => open.prompt = Some(number),
                    Field::Input => open.input = Some(number),
                    Field::Cached => open.cached = open.cached.saturating_add(number),
                    Field::Output => open.output = Some(number),
                    Field::Index => self.choices = self.choices.max(number.saturating_add(1)),
                }
            }
            Token::Choices | Token::Choice | Token::UsageEnd | Token::End => {}
        }
    }

    /// Takes in the report that is complete, which may be that of one choice among several.
    fn report(&mut self, of_one: bool) {
        let open = self.open;
        let input = open.input.map(|input| input.saturating_add(open.cached));
        let (mut input, mut output) = (open.prompt.or(input), open.output);
        let estimate = self.estimate();
        if of_one {
            input = None;
            output = output.map(|output| output.max(self.output(estimate).0));
        }
        if output.is_some() {
            self.reported_at = estimate;
        }
        let known = self.usage.unwrap_or_default();
        let usage = Usage {
            input: input.map(Tokens).or(known.input),
            output: output.map(Tokens).or(known.output),
        };
        self.usage = (usage != Usage::default()).then_some(usage);
    }

    /// The output, where all of it is estimated at `estimate`.
    fn output(&self, estimate: Tokens) -> Tokens {
        let reported = self.usage.and_then(|usage| usage.output);
        let since = Tokens(estimate.0.saturating_sub(self.reported_at.0));
        reported.map_or(estimate, |output| output.saturating_add(since))
    }

    fn estimate(&self) -> Tokens {
        match self.pieces {
            0 => Tokens(0),
            pieces => raw(self.text.counts()).max(Tokens(pieces)),
        }
    }
}

#[cfg(test)]
#[path = "meter_tests.rs"]
mod tests;
