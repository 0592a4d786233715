//! What a request asks, taken from its body field by field.

use std::ops::Range;

use super::api::Api;
use super::error::Error;
use super::fields::{self, Level, Name, Use};
use super::json::{Kind, Literal, Scanner};
use super::prefix::Prefix;
use super::text::Tally;
use crate::text::TextCounts;
use crate::values::units::Tokens;

/// The longest name of a model, decoded. The longest in use are paths of some 100 bytes.
pub const MODEL_BYTES: usize = 256;

/// How much of a body is looked at more closely.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limits {
    /// How many bytes of the prompt's decoded text the key for affinity covers.
    pub prefix_bytes: usize,
}

impl Default for Limits {
    /// 1,024 bytes, some 256 tokens of English: longer than what chance makes alike, and sixteen of
    /// the blocks in which vLLM shares its cache.
    fn default() -> Self {
        Self { prefix_bytes: 1024 }
    }
}

/// What a request asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The format it is written in.
    pub api: Api,
    /// The model it names, of 1 to [`MODEL_BYTES`] bytes.
    pub model: String,
    /// Where in the body that name stands, with its quotes.
    pub model_span: Range<usize>,
    /// How much of what its prompt is made of.
    pub text: TextCounts,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// Where in the body the value of OpenAI's `stream_options` stands, if it is there.
    pub stream_options: Option<Range<usize>>,
    /// The most tokens it lets the model answer, from 1, if it says; of each answer, where it asks for more.
    pub max_output: Option<Tokens>,
    /// How many answers it asks for: so many as it says, 1 if it does not, to each of its prompts.
    pub answers: u32,
    /// A hash of the beginning of its prompt; see [`Limits::prefix_bytes`].
    pub prompt_key: u64,
}

impl Facts {
    /// Whether it asks for a stream of an API that has `stream_options`.
    pub fn streams_options(&self) -> bool {
        self.stream && matches!(self.api, Api::ChatCompletions | Api::Completions)
    }
}

/// Reads `body` as a request to `api`.
///
/// `max_tokens` and `max_completion_tokens` may both be there if they are equal: servers differ on
/// which one wins. A bound of 0 is none: that is how some servers read it, and what it would bound goes on to the end of
/// their context.
///
/// # Errors
/// See [`Error`]: all that is not one JSON object with one meaning.
pub fn read(api: Api, body: &[u8], limits: &Limits) -> Result<Facts, Error> {
    const MARKS: [&[u8]; 3] = [&[0xef, 0xbb, 0xbf], &[0xfe, 0xff], &[0xff, 0xfe]];
    if body.is_empty() {
        return Err(Error::Empty);
    }
    if MARKS.iter().any(|mark| body.starts_with(mark)) {
        return Err(Error::ByteOrderMark);
    }
    let mut reader = Reader {
        scan: Scanner::new(body),
        tally: Tally::default(),
        prefix: Prefix::new(limits.prefix_bytes),
        instructions: false,
        model: None,
        stream: false,
        stream_options: None,
        bound: None,
        second_bound: None,
        answers: 1,
        prompts: 0,
    };
    if reader.scan.kind()? != Kind::Object {
        return Err(Error::NotAnObject);
    }
    reader.object(Level::Top(api))?;
    reader.scan.end()?;
    reader.facts(api)
}

struct Reader<'a> {
    scan: Scanner<'a>,
    tally: Tally,
    prefix: Prefix,
    /// Whether what is read now belongs to the instructions.
    instructions: bool,
    model: Option<(String, Range<usize>)>,
    stream: bool,
    stream_options: Option<Range<usize>>,
    bound: Option<u32>,
    second_bound: Option<u32>,
    answers: u32,
    prompts: u32,
}

impl<'a> Reader<'a> {
    fn facts(mut self, api: Api) -> Result<Facts, Error> {
        let (model, model_span) = self.model.ok_or(Error::ModelMissing)?;
        let bound = match (self.bound, self.second_bound) {
            (Some(one), Some(other)) if one != other => return Err(Error::BoundsDisagree),
            (one, other) => one.or(other),
        };
        Ok(Facts {
            api,
            model,
            model_span,
            text: self.tally.finish(),
            stream: self.stream,
            stream_options: self.stream_options,
            max_output: bound.filter(|bound| *bound > 0).map(Tokens),
            answers: match api {
                Api::Completions => self.answers.saturating_mul(self.prompts.max(1)),
                _ => self.answers,
            },
            prompt_key: self.prefix.key(),
        })
    }

    fn object(&mut self, level: Level) -> Result<(), Error> {
        self.scan.enter()?;
        let fields = fields::of(level);
        let (mut first, mut seen) = (true, 0u32);
        while let Some(name) = self.scan.field(&mut first)? {
            match Name::of(&name).among(fields) {
                None => self.scan.skip().map(|_| ())?,
                Some((index, name, then)) => {
                    let bit = 1u32.wrapping_shl(index);
                    if seen & bit != 0 {
                        return Err(Error::Duplicate {
                            field: name.to_owned(),
                        });
                    }
                    seen |= bit;
                    self.value(then).map_err(|error| error.within(name))?;
                }
            }
        }
        Ok(())
    }

    fn value(&mut self, then: Use) -> Result<(), Error> {
        let kind = self.scan.kind()?;
        match (then, kind) {
            (Use::Model, Kind::String) => self.model(),
            (Use::Model, _) => Err(Error::wrong_type("a string")),
            // Also if it is `null`: whoever adds them must not add them twice.
            (Use::StreamOptions, _) => {
                self.stream_options = Some(self.scan.skip()?);
                Ok(())
            }
            (_, Kind::Null) => self.scan.null(),
            (Use::Stream, Kind::Bool) => {
                self.stream = self.scan.bool()?;
                Ok(())
            }
            (Use::Stream, _) => Err(Error::wrong_type("true or false")),
            (Use::Bound, _) => {
                self.bound = Some(self.bound(kind)?);
                Ok(())
            }
            (Use::SecondBound, _) => {
                self.second_bound = Some(self.bound(kind)?);
                Ok(())
            }
            (Use::Answers, _) => {
                self.answers = self.answers.max(self.bound(kind)?);
                Ok(())
            }
            (Use::Instructions, _) => {
                self.instructions = true;
                self.message();
                let read = self.content(kind);
                self.instructions = false;
                read
            }
            (Use::Messages, Kind::Array) => self.messages(),
            (Use::Messages, _) => Err(Error::wrong_type("an array of messages")),
            (Use::Input, Kind::String) => {
                self.message();
                self.text()
            }
            (Use::Input, Kind::Array) => self.messages(),
            (Use::Input, _) => Err(Error::wrong_type("a string or an array of items")),
            (Use::Content, _) => self.content(kind),
            (Use::PartText, Kind::String) => self.text(),
            (Use::Prompt, _) => self.prompt(kind),
            (Use::Text, Kind::String) => self.counted().map(|_| ()),
            (Use::Raw, _) => {
                let place = self.scan.skip()?;
                self.tally.raw(self.scan.raw(&place));
                Ok(())
            }
            (Use::Type, Kind::String) => {
                let literal = self.scan.string(&mut ())?;
                if let b"image_url" | b"input_image" | b"image" = Name::of(&literal).bytes() {
                    let images = &mut self.tally.others().images;
                    *images = images.wrapping_add(1);
                }
                Ok(())
            }
            (Use::Source, Kind::Object) => self.source(),
            // A part of some kind that we do not know may have a source that is not an object.
            (Use::Source, _) => self.scan.skip().map(|_| ()),
            (Use::PartText | Use::Text | Use::Type | Use::Data, _) => {
                Err(Error::wrong_type("a string"))
            }
        }
    }

    fn model(&mut self) -> Result<(), Error> {
        let literal = self.scan.string(&mut ())?;
        let mut name = Vec::with_capacity(literal.raw.len().min(MODEL_BYTES));
        literal.decode(&mut |piece| {
            name.extend_from_slice(piece);
            name.len() <= MODEL_BYTES
        });
        if name.is_empty() {
            return Err(Error::ModelEmpty);
        }
        if name.len() > MODEL_BYTES {
            return Err(Error::ModelTooLong { limit: MODEL_BYTES });
        }
        // If it is not UTF-8, nor is the body.
        let name = String::from_utf8(name).unwrap_or_default();
        self.model = Some((name, literal.place()));
        Ok(())
    }

    fn bound(&mut self, kind: Kind) -> Result<u32, Error> {
        let refused = || Error::BoundOutOfRange {
            field: String::new(),
        };
        if kind != Kind::Number {
            return Err(refused());
        }
        match self.scan.number() {
            Ok(place) => integer(self.scan.raw(&place)).ok_or_else(refused),
            Err(Error::NumberOutOfRange { .. }) => Err(refused()),
            Err(other) => Err(other),
        }
    }

    fn messages(&mut self) -> Result<(), Error> {
        self.items(|reader| match reader.scan.kind()? {
            Kind::Object => {
                reader.message();
                reader.object(Level::Part)
            }
            _ => Err(Error::wrong_type("an object")),
        })
    }

    fn content(&mut self, kind: Kind) -> Result<(), Error> {
        match kind {
            Kind::String => self.text(),
            Kind::Array => self.items(|reader| match reader.scan.kind()? {
                Kind::String => reader.text(),
                Kind::Object => reader.object(Level::Part),
                _ => Err(Error::wrong_type("an object or a string")),
            }),
            _ => Err(Error::wrong_type("a string or an array of parts")),
        }
    }

    fn prompt(&mut self, kind: Kind) -> Result<(), Error> {
        match kind {
            Kind::String => self.text(),
            Kind::Array => self.items(|reader| match reader.scan.kind()? {
                Kind::String => {
                    reader.prompts = reader.prompts.saturating_add(1);
                    reader.text()
                }
                Kind::Number => reader.token(),
                Kind::Array => {
                    reader.prompts = reader.prompts.saturating_add(1);
                    reader.items(|reader| match reader.scan.kind()? {
                        Kind::Number => reader.token(),
                        _ => Err(Error::wrong_type("a token id")),
                    })
                }
                _ => Err(Error::wrong_type(
                    "a string, a token id or an array of token ids",
                )),
            }),
            _ => Err(Error::wrong_type(
                "a string or an array of strings or of token ids",
            )),
        }
    }

    /// Each item of the array that is next; an error inside names its index.
    fn items(&mut self, mut item: impl FnMut(&mut Self) -> Result<(), Error>) -> Result<(), Error> {
        self.scan.enter()?;
        let (mut first, mut index) = (true, 0u32);
        while self.scan.item(&mut first)? {
            item(self).map_err(|error| error.within(&format!("[{index}]")))?;
            index = index.wrapping_add(1);
        }
        Ok(())
    }

    /// Text of the prompt: it counts, and its beginning is kept.
    fn text(&mut self) -> Result<(), Error> {
        let literal = self.counted()?;
        let (prefix, instructions) = (&mut self.prefix, self.instructions);
        if prefix.wants(instructions) {
            literal.decode(&mut |piece| {
                prefix.push(instructions, piece);
                prefix.wants(instructions)
            });
        }
        Ok(())
    }

    /// A string that a model sees.
    fn counted(&mut self) -> Result<Literal<'a>, Error> {
        let literal = self.scan.string(&mut self.tally)?;
        self.tally.plain(literal.raw, literal.ascii);
        Ok(literal)
    }

    fn token(&mut self) -> Result<(), Error> {
        let place = self.scan.number()?;
        let id = integer(self.scan.raw(&place)).ok_or(Error::wrong_type("a token id"))?;
        self.prefix.push(self.instructions, &id.to_le_bytes());
        let ids = &mut self.tally.others().ids;
        *ids = ids.wrapping_add(1);
        Ok(())
    }

    /// A document: its data is text only if its type says so, which may come first or last.
    fn source(&mut self) -> Result<(), Error> {
        self.scan.enter()?;
        let (mut first, mut kind, mut data, mut content) = (true, None, None, false);
        while let Some(name) = self.scan.field(&mut first)? {
            let Some((_, name, then)) = Name::of(&name).among(fields::of(Level::Source)) else {
                self.scan.skip()?;
                continue;
            };
            let taken = match then {
                Use::Data => data.is_some(),
                Use::Content => std::mem::replace(&mut content, true),
                _ => kind.is_some(),
            };
            if taken {
                return Err(Error::Duplicate {
                    field: name.to_owned(),
                });
            }
            if then == Use::Content {
                self.value(then).map_err(|error| error.within(name))?;
                continue;
            }
            if self.scan.kind()? != Kind::String {
                return Err(Error::wrong_type("a string").within(name));
            }
            if then == Use::Data {
                let mut tally = Tally::default();
                let literal = self.scan.string(&mut tally)?;
                tally.plain(literal.raw, literal.ascii);
                data = Some(tally.finish());
            } else {
                let literal = self.scan.string(&mut ())?;
                kind = Some(Name::of(&literal).bytes() == b"text");
            }
        }
        if let (Some(true), Some(data)) = (kind, data) {
            self.tally.others().add(&data);
        }
        Ok(())
    }

    fn message(&mut self) {
        let messages = &mut self.tally.others().messages;
        *messages = messages.wrapping_add(1);
    }
}

/// An integer from 0, written as one.
fn integer(literal: &[u8]) -> Option<u32> {
    if literal.first() == Some(&b'-') {
        return None;
    }
    std::str::from_utf8(literal).ok()?.parse().ok()
}

#[cfg(test)]
#[path = "facts_tests.rs"]
mod tests;
