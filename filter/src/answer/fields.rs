//! Which fields of an answer say something, by where they stand.
//!
//! One table for all formats: no two of them mean different things by a place. The place counts, not the name alone:
//! a model writes objects of its own (the arguments of a tool it calls), a caller sees the schemas of its tools
//! repeated, and a `usage` in there is neither's to state.

/// What a place in an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Node {
    /// Of no interest, with all that is in it.
    Other,
    /// The answer, or an event's data.
    Root,
    /// OpenAI's `choices`.
    Choices,
    /// One of them.
    Choice,
    /// What the model says: a text, or what holds such.
    Said,
    /// What stands around an answer in an event: Anthropic's `message`, the `response` of OpenAI's Responses.
    Envelope,
    /// A usage report.
    Usage,
    /// The kind of event.
    Kind,
    /// A number of a usage report, or of a choice.
    Number(Field),
}

/// The numbers that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// All of the input.
    Prompt,
    /// All of the input in OpenAI's Responses; what is beside the cache in Anthropic's Messages.
    Input,
    /// What Anthropic read from the cache or wrote to it.
    Cached,
    /// All of the output.
    Output,
    /// Which of several answers a choice belongs to.
    Index,
}

/// The longest name in the table: `cache_creation_input_tokens`.
pub const NAME: usize = 27;

type Table = &'static [(&'static str, Node)];

const ROOT: Table = &[
    ("choices", Node::Choices),
    ("usage", Node::Usage),
    ("type", Node::Kind),
    ("delta", Node::Said),
    ("content", Node::Said),
    ("output", Node::Said),
    ("message", Node::Envelope),
    ("response", Node::Envelope),
];

const CHOICE: Table = &[
    ("index", Node::Number(Field::Index)),
    ("delta", Node::Said),
    ("message", Node::Said),
    ("text", Node::Said),
];

const ENVELOPE: Table = &[("usage", Node::Usage)];

const SAID: Table = &[
    ("content", Node::Said),
    ("text", Node::Said),
    ("refusal", Node::Said),
    ("reasoning_content", Node::Said),
    ("reasoning", Node::Said),
    ("thinking", Node::Said),
    ("summary", Node::Said),
    ("tool_calls", Node::Said),
    ("function_call", Node::Said),
    ("function", Node::Said),
    ("name", Node::Said),
    ("arguments", Node::Said),
    ("partial_json", Node::Said),
];

const USAGE: Table = &[
    ("prompt_tokens", Node::Number(Field::Prompt)),
    ("completion_tokens", Node::Number(Field::Output)),
    ("input_tokens", Node::Number(Field::Input)),
    ("output_tokens", Node::Number(Field::Output)),
    ("cache_read_input_tokens", Node::Number(Field::Cached)),
    ("cache_creation_input_tokens", Node::Number(Field::Cached)),
];

impl Node {
    /// What the field `name` of an object in this place is.
    pub fn field(self, name: &[u8]) -> Node {
        let table = match self {
            Node::Root => ROOT,
            Node::Choice => CHOICE,
            Node::Envelope => ENVELOPE,
            Node::Said => SAID,
            Node::Usage => USAGE,
            _ => return Node::Other,
        };
        let known = table.iter().find(|(known, _)| known.as_bytes() == name);
        known.map_or(Node::Other, |(_, node)| *node)
    }

    /// What the items of an array in this place are.
    pub fn item(self) -> Node {
        match self {
            Node::Choices => Node::Choice,
            Node::Said => Node::Said,
            _ => Node::Other,
        }
    }

    /// Whether an object here, or an array, holds something of interest.
    pub fn opens(self, object: bool) -> bool {
        match self {
            Node::Root | Node::Choice | Node::Envelope | Node::Usage => object,
            Node::Choices => !object,
            Node::Said => true,
            Node::Other | Node::Kind | Node::Number(_) => false,
        }
    }
}
