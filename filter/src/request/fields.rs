//! Which fields are read, at which level, and what for. Everything else is passed over.

use super::api::Api;
use super::json::Literal;

/// A name longer than this is none of ours.
const NAME_BYTES: usize = 24;

/// A field's name, or the name of a type; escapes may spell it in any way.
pub enum Name<'a> {
    /// As it stands in the body.
    Plain(&'a [u8]),
    /// Decoded.
    Escaped(Vec<u8>),
}

impl<'a> Name<'a> {
    /// What `literal` spells.
    #[inline]
    pub fn of(literal: &Literal<'a>) -> Name<'a> {
        match literal.escaped {
            false => Name::Plain(literal.raw),
            true => Name::decoded(literal),
        }
    }

    #[cold]
    fn decoded(literal: &Literal<'a>) -> Name<'a> {
        let mut name = Vec::new();
        literal.decode(&mut |piece| {
            name.extend_from_slice(piece);
            name.len() <= NAME_BYTES
        });
        Name::Escaped(name)
    }

    /// What it is, if that is one of ours.
    #[inline]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Name::Plain(name) => name,
            Name::Escaped(name) => name,
        }
    }

    /// Its place in the table, with its entry.
    #[inline]
    pub fn among(&self, table: Table) -> Option<(u32, &'static str, Use)> {
        let name = self.bytes();
        // Most names differ in their first byte, and to see that takes no call.
        let same =
            |known: &str| known.as_bytes().first() == name.first() && known.as_bytes() == name;
        (0u32..)
            .zip(table)
            .find(|(_, (known, _))| same(known))
            .map(|(index, (known, then))| (index, *known, *then))
    }
}

/// Names and what is done with their values.
pub type Table = &'static [(&'static str, Use)];

/// Where in a body an object stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// The body itself.
    Top(Api),
    /// A message, an item, or a part of one's content: one table, as formats nest them freely.
    Part,
    /// What a document part is made of.
    Source,
}

/// What is done with a field's value. `null` is as good as none, but for the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// The model's name.
    Model,
    /// Whether the answer is streamed.
    Stream,
    /// How it is streamed: only where that stands.
    StreamOptions,
    /// The most tokens that may be answered: `max_tokens` and its heirs.
    Bound,
    /// OpenAI's second name for it.
    SecondBound,
    /// How many answers are made; of two such fields the larger counts.
    Answers,
    /// Text before all other: system prompts.
    Instructions,
    /// An array of messages.
    Messages,
    /// One string, or an array of items.
    Input,
    /// A string, or an array of strings and parts.
    Content,
    /// The text of a part.
    PartText,
    /// The prompt of completions and embeddings: as content, or token ids.
    Prompt,
    /// A string that a model sees beside the content.
    Text,
    /// A value that a model is shown as JSON.
    Raw,
    /// What kind of part this is.
    Type,
    /// Where a document's data is.
    Source,
    /// The data of a source.
    Data,
}

/// The fields of a level.
pub fn of(level: Level) -> Table {
    match level {
        Level::Top(Api::ChatCompletions) => &[
            ("model", Use::Model),
            ("messages", Use::Messages),
            ("stream", Use::Stream),
            ("max_tokens", Use::Bound),
            ("max_completion_tokens", Use::SecondBound),
            ("n", Use::Answers),
            ("tools", Use::Raw),
            ("functions", Use::Raw),
            ("response_format", Use::Raw),
            ("documents", Use::Raw),
            ("stream_options", Use::StreamOptions),
        ],
        Level::Top(Api::Completions) => &[
            ("model", Use::Model),
            ("prompt", Use::Prompt),
            ("suffix", Use::Text),
            ("stream", Use::Stream),
            ("max_tokens", Use::Bound),
            ("n", Use::Answers),
            ("best_of", Use::Answers),
            ("stream_options", Use::StreamOptions),
        ],
        Level::Top(Api::Embeddings) => &[
            ("model", Use::Model),
            ("input", Use::Prompt),
            // vLLM embeds chats, too.
            ("messages", Use::Messages),
        ],
        Level::Top(Api::Responses) => &[
            ("model", Use::Model),
            ("input", Use::Input),
            ("instructions", Use::Instructions),
            ("stream", Use::Stream),
            ("max_output_tokens", Use::Bound),
            ("tools", Use::Raw),
            ("text", Use::Raw),
        ],
        Level::Top(Api::Messages) => &[
            ("model", Use::Model),
            ("messages", Use::Messages),
            ("system", Use::Instructions),
            ("stream", Use::Stream),
            ("max_tokens", Use::Bound),
            ("tools", Use::Raw),
        ],
        Level::Part => &[
            ("content", Use::Content),
            ("text", Use::PartText),
            ("type", Use::Type),
            ("name", Use::Text),
            ("refusal", Use::Text),
            ("thinking", Use::Text),
            ("reasoning", Use::Raw),
            ("reasoning_content", Use::Raw),
            ("summary", Use::Raw),
            ("arguments", Use::Text),
            ("tool_calls", Use::Raw),
            ("function_call", Use::Raw),
            ("input", Use::Raw),
            ("output", Use::Raw),
            ("source", Use::Source),
        ],
        Level::Source => &[
            ("type", Use::Type),
            ("data", Use::Data),
            ("content", Use::Content),
        ],
    }
}
