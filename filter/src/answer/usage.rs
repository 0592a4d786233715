//! The prompt's tokens as a response reports them, found while it passes by in pieces.
//!
//! A response is JSON, or events whose data lines are; it may be megabytes, and arrives cut
//! anywhere. So nothing is parsed: strings and their escapes are followed, which are found sixty-four
//! bytes at a time, and where one that says `usage` names an object, that object's direct numbers are
//! read. An answer that quotes such an object has it inside of a string, and `prompt_tokens_details` and
//! the like are a level deeper. The state is some 80 bytes.

use crate::text::stops::Stops;
use crate::values::units::Tokens;

/// Reads a response as it passes.
#[derive(Clone, Debug, Default)]
pub struct UsageReader {
    found: Option<Tokens>,
    /// How many brackets are open from the `usage` object on; 0 outside.
    depth: u32,
    open: Usage,
    place: Place,
    /// The beginning of a string that pieces of the response, or an escape, have cut.
    name: [u8; NAME],
    length: usize,
}

/// The longest name looked for: `cache_creation_input_tokens`.
const NAME: usize = 27;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Between,
    String,
    Escape,
    /// Behind a string that is a field's name if a colon follows.
    Named(Field),
    /// Behind the colon.
    Value(Field),
    Number(Field, u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Usage,
    Prompt,
    Input,
    Cached,
    Other,
}

const NAMES: [(&[u8], Field); 5] = [
    (b"usage", Field::Usage),
    (b"prompt_tokens", Field::Prompt),
    (b"input_tokens", Field::Input),
    (b"cache_read_input_tokens", Field::Cached),
    (b"cache_creation_input_tokens", Field::Cached),
];

/// What an open `usage` object has said so far.
#[derive(Clone, Copy, Debug, Default)]
struct Usage {
    /// OpenAI's `prompt_tokens`: all of them.
    prompt: Option<u32>,
    /// `input_tokens`: all in OpenAI's Responses, those beside the cache in Anthropic's Messages.
    input: Option<u32>,
    /// Anthropic's tokens read from and written to the cache.
    cached: u32,
}

impl UsageReader {
    /// The response goes on with `chunk`.
    pub fn feed(&mut self, chunk: &[u8]) {
        let mut stops = Stops::default();
        let mut at = 0usize;
        while let Some(byte) = chunk.get(at) {
            match self.place {
                Place::String => {
                    let stop = stops.next(chunk, at);
                    let text = chunk.get(at..stop).unwrap_or_default();
                    self.string(text, chunk.get(stop).copied());
                    at = stop;
                }
                // Nothing matters outside of `usage` but where the next string begins.
                Place::Between if self.depth == 0 => {
                    at = stops.next(chunk, at);
                    if chunk.get(at) == Some(&b'"') {
                        self.place = Place::String;
                    }
                }
                _ => self.step(*byte),
            }
            at = at.wrapping_add(1);
        }
    }

    /// The last count reported, with what came from the cache; `None` before the first.
    pub fn prompt_tokens(&self) -> Option<Tokens> {
        self.found
    }

    /// A string goes on with `text`, and then there is `stop`, or the piece ends.
    fn string(&mut self, text: &[u8], stop: Option<u8>) {
        self.place = match stop {
            Some(b'"') => match self.named(text) {
                Field::Usage => Place::Named(Field::Usage),
                _ if self.depth == 0 => Place::Between,
                field => Place::Named(field),
            },
            // Names that matter are not escaped by any server; this one is now none of them.
            Some(b'\\') => {
                self.length = NAME.wrapping_add(1);
                Place::Escape
            }
            // No string of JSON spans lines; whatever this quote was, the next line starts afresh.
            Some(b'\n') => {
                self.length = 0;
                Place::Between
            }
            _ => {
                self.spell(text);
                Place::String
            }
        };
    }

    /// What the string names that ends in `rest`.
    fn named(&mut self, rest: &[u8]) -> Field {
        if self.length == 0 {
            return field(rest);
        }
        self.spell(rest);
        let length = std::mem::take(&mut self.length);
        self.name.get(..length).map_or(Field::Other, field)
    }

    fn spell(&mut self, text: &[u8]) {
        let end = self.length.saturating_add(text.len());
        if let Some(room) = self.name.get_mut(self.length..end) {
            room.copy_from_slice(text);
        }
        self.length = end;
    }

    fn step(&mut self, byte: u8) {
        self.place = match (self.place, byte) {
            (Place::Escape, _) | (_, b'"') => Place::String,
            (Place::Named(field), b':') => Place::Value(field),
            (Place::Named(_) | Place::Value(_), b' ' | b'\n' | b'\r' | b'\t') => return,
            (Place::Value(field), b'0'..=b'9') => Place::Number(field, u32::from(byte & 0xf)),
            (Place::Number(field, value), b'0'..=b'9') => {
                let next = value.checked_mul(10);
                let next = next.and_then(|tens| tens.checked_add(u32::from(byte & 0xf)));
                next.map_or(Place::Between, |value| Place::Number(field, value))
            }
            (place, b'{' | b'[') => {
                let opens = place == Place::Value(Field::Usage) && byte == b'{';
                match self.depth {
                    0 if opens => (self.depth, self.open) = (1, Usage::default()),
                    0 => {}
                    depth => self.depth = depth.saturating_add(1),
                }
                Place::Between
            }
            (place, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t') => {
                self.number(place);
                if matches!(byte, b'}' | b']') {
                    self.close();
                }
                Place::Between
            }
            _ => Place::Between,
        };
    }

    fn number(&mut self, place: Place) {
        if let Place::Number(field, value) = place
            && self.depth == 1
        {
            match field {
                Field::Prompt => self.open.prompt = Some(value),
                Field::Input => self.open.input = Some(value),
                Field::Cached => self.open.cached = self.open.cached.saturating_add(value),
                Field::Usage | Field::Other => {}
            }
        }
    }

    fn close(&mut self) {
        if self.depth == 1 {
            let Usage {
                prompt,
                input,
                cached,
            } = self.open;
            let input = input.map(|input| input.saturating_add(cached));
            // The last event of Anthropic's streams may tell of the output only.
            self.found = prompt.or(input).map(Tokens).or(self.found);
        }
        self.depth = self.depth.saturating_sub(1);
    }
}

fn field(name: &[u8]) -> Field {
    NAMES
        .iter()
        .find(|(known, _)| *known == name)
        .map_or(Field::Other, |(_, field)| *field)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RESPONSES: [(&str, Option<u32>); 9] = [
        (
            r#"{"id":"c","choices":[{"message":{"content":"say \"usage\":{\"prompt_tokens\":5}"}}],
                "usage" : { "prompt_tokens" : 17 , "completion_tokens":3,
                "prompt_tokens_details":{"cached_tokens":4,"prompt_tokens":9},"total_tokens":20}}"#,
            Some(17),
        ),
        (
            "data: {\"choices\":[{\"delta\":{\"content\":\"\\\"\"}}],\"usage\":null}\n\n\
             data: {\"choices\":[],\"usage\":{\"prompt_tokens\":21,\"total_tokens\":25}}\n\n\
             data: [DONE]\n\n",
            Some(21),
        ),
        (
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":\
             {\"input_tokens\":25,\"cache_creation_input_tokens\":100,\"cache_read_input_tokens\":\
             1000,\"cache_creation\":{\"ephemeral_5m_input_tokens\":100},\"output_tokens\":1}}}\n\n\
             event: message_delta\ndata: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":15}}\n\n",
            Some(1125),
        ),
        (
            r#"{"metadata":{"prompt_tokens":1},"usage":{"input_tokens":36,
                "input_tokens_details":{"cached_tokens":30},"output_tokens":87}}"#,
            Some(36),
        ),
        (
            ": keep \"alive\n\ndata: {\"usage\":{\"prompt_tokens\":8}}\n\n",
            Some(8),
        ),
        (r#"{"usage":{"prompt_tokens":99999999999}}"#, None),
        (
            r#"{"usage":{"prompt_tokens":-1,"prompt_tokens":1.5}}"#,
            None,
        ),
        (r#"{"usage":{"prompt_tokens":7"#, None),
        ("", None),
    ];

    fn reading<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Option<Tokens> {
        let mut reader = UsageReader::default();
        chunks.into_iter().for_each(|chunk| reader.feed(chunk));
        reader.prompt_tokens()
    }

    #[test]
    fn the_prompt_tokens_of_every_api_are_found() {
        for (response, tokens) in RESPONSES {
            assert_eq!(
                reading([response.as_bytes()]),
                tokens.map(Tokens),
                "{response}"
            );
            assert_eq!(
                reading(response.as_bytes().chunks(1)),
                tokens.map(Tokens),
                "{response}"
            );
        }
    }

    proptest! {
        #[test]
        fn it_matters_not_where_a_response_is_cut(
            which in 0..RESPONSES.len(), mut cuts in prop::collection::vec(0usize..400, 0..12)
        ) {
            let bytes = RESPONSES[which].0.as_bytes();
            cuts.iter_mut().for_each(|cut| *cut = (*cut).min(bytes.len()));
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let chunks = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]);
            prop_assert_eq!(reading(chunks), RESPONSES[which].1.map(Tokens));
        }
    }
}
