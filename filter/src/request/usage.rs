//! The prompt's tokens as a response reports them, found while it passes by in pieces.
//!
//! A response is JSON, or events whose data lines are; it may be megabytes, and arrives cut
//! anywhere. So nothing is parsed: strings, escapes and brackets are followed, and of objects named
//! `usage` the direct numbers are read. An answer that quotes such an object has it inside of a
//! string, and `prompt_tokens_details` and the like are a level deeper. The state is some 80 bytes.

use super::stops::Stops;
use crate::values::units::Tokens;

/// Reads a response as it passes.
#[derive(Clone, Debug, Default)]
pub struct UsageReader {
    found: Option<Tokens>,
    depth: u32,
    /// How deep the fields of the `usage` object are that is open.
    usage: Option<u32>,
    open: Usage,
    place: Place,
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
    Named,
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
            if self.place == Place::String {
                let stop = stops.next(chunk, at);
                self.spell(chunk.get(at..stop).unwrap_or_default());
                at = stop.saturating_add(1);
                if let Some(stop) = chunk.get(stop) {
                    self.stop(*stop);
                }
            } else {
                at = at.saturating_add(1);
                self.step(*byte);
            }
        }
    }

    /// The last count reported, with what came from the cache; `None` before the first.
    pub fn prompt_tokens(&self) -> Option<Tokens> {
        self.found
    }

    fn spell(&mut self, text: &[u8]) {
        let end = self.length.saturating_add(text.len());
        if let Some(room) = self.name.get_mut(self.length..end) {
            room.copy_from_slice(text);
        }
        self.length = end;
    }

    /// A byte in a string that is not plain.
    fn stop(&mut self, byte: u8) {
        self.place = match byte {
            b'"' => Place::Named,
            b'\\' => Place::Escape,
            // No string of JSON spans lines; whatever this quote was, the next line starts afresh.
            b'\n' => Place::Between,
            _ => Place::String,
        };
    }

    fn step(&mut self, byte: u8) {
        self.place = match (self.place, byte) {
            (Place::Escape, _) => {
                // Names that matter are not escaped by any server; this one is now none of them.
                self.length = NAME.saturating_add(1);
                Place::String
            }
            (_, b'"') => {
                self.length = 0;
                Place::String
            }
            (Place::Named, b':') => Place::Value(self.field()),
            (Place::Named | Place::Value(_), b' ' | b'\n' | b'\r' | b'\t') => return,
            (Place::Value(field), b'0'..=b'9') => Place::Number(field, u32::from(byte & 0xf)),
            (Place::Number(field, value), b'0'..=b'9') => {
                let next = value.checked_mul(10);
                let next = next.and_then(|tens| tens.checked_add(u32::from(byte & 0xf)));
                next.map_or(Place::Between, |value| Place::Number(field, value))
            }
            (place, b'{' | b'[') => {
                self.depth = self.depth.saturating_add(1);
                if place == Place::Value(Field::Usage) && byte == b'{' && self.usage.is_none() {
                    self.usage = Some(self.depth);
                    self.open = Usage::default();
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

    fn field(&self) -> Field {
        match self.name.get(..self.length) {
            Some(b"usage") => Field::Usage,
            Some(b"prompt_tokens") => Field::Prompt,
            Some(b"input_tokens") => Field::Input,
            Some(b"cache_read_input_tokens" | b"cache_creation_input_tokens") => Field::Cached,
            _ => Field::Other,
        }
    }

    fn number(&mut self, place: Place) {
        if let Place::Number(field, value) = place
            && self.usage == Some(self.depth)
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
        if self.usage == Some(self.depth) {
            let Usage {
                prompt,
                input,
                cached,
            } = self.open;
            let input = input.map(|input| input.saturating_add(cached));
            // The last event of Anthropic's streams may tell of the output only.
            self.found = prompt.or(input).map(Tokens).or(self.found);
            self.usage = None;
        }
        self.depth = self.depth.saturating_sub(1);
    }
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
