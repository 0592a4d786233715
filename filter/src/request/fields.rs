//! Which fields are read, at which level, and what for. Everything else is passed over.

use super::api::Api;

/// A name longer than this is none of ours; escapes may spell it in any way.
pub const NAME_BYTES: usize = 24;

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
    /// The most tokens that may be answered: `max_tokens` and its heirs.
    Bound,
    /// OpenAI's second name for it.
    SecondBound,
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
pub fn of(level: Level) -> &'static [(&'static [u8], Use)] {
    match level {
        Level::Top(Api::ChatCompletions) => &[
            (b"model", Use::Model),
            (b"messages", Use::Messages),
            (b"stream", Use::Stream),
            (b"max_tokens", Use::Bound),
            (b"max_completion_tokens", Use::SecondBound),
            (b"tools", Use::Raw),
            (b"functions", Use::Raw),
            (b"response_format", Use::Raw),
            (b"documents", Use::Raw),
        ],
        Level::Top(Api::Completions) => &[
            (b"model", Use::Model),
            (b"prompt", Use::Prompt),
            (b"suffix", Use::Text),
            (b"stream", Use::Stream),
            (b"max_tokens", Use::Bound),
        ],
        Level::Top(Api::Embeddings) => &[
            (b"model", Use::Model),
            (b"input", Use::Prompt),
            // vLLM embeds chats, too.
            (b"messages", Use::Messages),
        ],
        Level::Top(Api::Responses) => &[
            (b"model", Use::Model),
            (b"input", Use::Input),
            (b"instructions", Use::Instructions),
            (b"stream", Use::Stream),
            (b"max_output_tokens", Use::Bound),
            (b"tools", Use::Raw),
            (b"text", Use::Raw),
        ],
        Level::Top(Api::Messages) => &[
            (b"model", Use::Model),
            (b"messages", Use::Messages),
            (b"system", Use::Instructions),
            (b"stream", Use::Stream),
            (b"max_tokens", Use::Bound),
            (b"tools", Use::Raw),
        ],
        Level::Part => &[
            (b"content", Use::Content),
            (b"text", Use::PartText),
            (b"type", Use::Type),
            (b"name", Use::Text),
            (b"refusal", Use::Text),
            (b"thinking", Use::Text),
            (b"reasoning", Use::Raw),
            (b"reasoning_content", Use::Raw),
            (b"summary", Use::Raw),
            (b"arguments", Use::Text),
            (b"tool_calls", Use::Raw),
            (b"function_call", Use::Raw),
            (b"input", Use::Raw),
            (b"output", Use::Raw),
            (b"source", Use::Source),
        ],
        Level::Source => &[
            (b"type", Use::Type),
            (b"data", Use::Data),
            (b"content", Use::Content),
        ],
    }
}
