//! How a stream ends that is cut at its budget: as one that reached its `max_tokens`, so that a client needs no rule
//! for it.
//!
//! A chat's last chunk has a `finish_reason` of `length` for each choice, then comes `[DONE]`; Anthropic's block is closed, and its
//! message stops for `max_tokens`. Clients read from every chunk whose answer it is, so the last one says what the
//! event says in whose place it stands. A stream of OpenAI's Responses would have to end with the whole response in one
//! event, which nobody here holds: it has no such ending.

use super::events::{EventReader, Part};
use crate::text::stops::Stops;
use crate::values::units::Tokens;

/// More choices than any server gives at once.
const CHOICES: u32 = 128;
/// What every chunk of a chat or a completion says of itself.
static LABELS: [&str; 5] = ["id", "object", "created", "model", "system_fingerprint"];

/// What a stream of `choices` choices and `output` tokens ends with in the place of `event`, given as it came; `None` for a stream
/// that cannot be ended so.
#[cold]
#[inline(never)]
pub fn ending(event: &[u8], choices: u32, output: Tokens) -> Option<Vec<u8>> {
    let data = data(event);
    if field(&data, b"type") == Some(br#""content_block_delta""#) {
        return Some(messages(&data, output));
    }
    let choice: &[u8] = match field(&data, b"object")? {
        br#""chat.completion.chunk""# => {
            br#","delta":{},"logprobs":null,"finish_reason":"length"}"#
        }
        br#""text_completion""# => br#","text":"","logprobs":null,"finish_reason":"length"}"#,
        _ => return None,
    };
    let mut end = Vec::new();
    put(&mut end, &[b"data: {"]);
    for name in LABELS {
        if let Some(value) = field(&data, name.as_bytes()) {
            put(&mut end, &[b"\"", name.as_bytes(), b"\":", value, b","]);
        }
    }
    let mut before: &[u8] = b"\"choices\":[{\"index\":";
    for index in 0..choices.clamp(1, CHOICES) {
        put(&mut end, &[before, index.to_string().as_bytes(), choice]);
        before = b",{\"index\":";
    }
    put(&mut end, &[b"]}\n\ndata: [DONE]\n\n"]);
    Some(end)
}

fn messages(data: &[u8], output: Tokens) -> Vec<u8> {
    let output = output.0.to_string();
    let mut end = Vec::new();
    let parts: [&[u8]; 5] = [
        b"event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":",
        field(data, b"index").unwrap_or(b"0"),
        b"}\n\nevent: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"max_tokens\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":",
        output.as_bytes(),
        b"}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
    ];
    put(&mut end, &parts);
    end
}

#[inline(never)]
fn put(end: &mut Vec<u8>, parts: &[&[u8]]) {
    parts.iter().for_each(|part| end.extend_from_slice(part));
}

/// The data of an event.
fn data(event: &[u8]) -> Vec<u8> {
    let (mut reader, mut rest, mut data) = (EventReader::default(), event, Vec::new());
    while let Some(part) = reader.next(&mut rest) {
        if let Part::Data(more) = part {
            data.extend_from_slice(more);
        }
    }
    data
}

/// The field `name` of the object `json`, as it is written; `None` if it is not there, or neither text nor number.
#[inline(never)]
fn field<'a>(json: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let mut stops = Stops::default();
    let (mut at, mut depth, mut named) = (0usize, 0u32, false);
    while let Some(byte) = json.get(at) {
        let from = at;
        match byte {
            b'"' => {
                at = string_end(json, at, &mut stops)?;
                let text = json.get(from..at)?;
                if named {
                    return Some(text).filter(|text| text.iter().all(|byte| *byte >= b' '));
                }
                let quoted = text
                    .strip_prefix(b"\"")
                    .and_then(|text| text.strip_suffix(b"\""));
                let behind = json.get(at..)?.trim_ascii_start();
                named = depth == 1 && quoted == Some(name) && behind.first() == Some(&b':');
                continue;
            }
            b'{' | b'[' if named => return None,
            b'{' | b'[' => depth = depth.saturating_add(1),
            b'}' | b']' => depth = depth.saturating_sub(1),
            b':' | b' ' | b'\n' | b'\r' | b'\t' => {}
            _ if named => {
                let rest = json.get(from..)?;
                let ends = |byte: &u8| matches!(byte, b',' | b'}') || byte.is_ascii_whitespace();
                return rest.get(..rest.iter().position(ends)?);
            }
            _ => {}
        }
        at = at.saturating_add(1);
    }
    None
}

/// Behind the string that begins at `at`.
fn string_end(json: &[u8], at: usize, stops: &mut Stops) -> Option<usize> {
    let mut at = at.saturating_add(1);
    loop {
        let stop = stops.next(json, at);
        let skipped = match json.get(stop)? {
            b'"' => return Some(stop.saturating_add(1)),
            b'\\' => 2,
            _ => 1,
        };
        at = stop.saturating_add(skipped);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(event: &str, choices: u32) -> Option<String> {
        let ending = ending(event.as_bytes(), choices, Tokens(7));
        ending.map(|ending| String::from_utf8(ending).unwrap())
    }

    #[test]
    fn a_chat_ends_for_want_of_length_in_each_choice() {
        let event = "data: {\"choices\":[{\"index\":1,\"id\":\"no\",\"delta\":{\"content\":\"\\\"id\\\":1\"}}], \"id\" : \"c\\\"1\",\r\n\
                     data: \"object\":\"chat.completion.chunk\",\"model\":\"m\",\"system_fingerprint\":null,\"created\":17}\r\n\r\n";
        assert_eq!(
            ended(event, 2).unwrap(),
            "data: {\"id\":\"c\\\"1\",\"object\":\"chat.completion.chunk\",\"created\":17,\"model\":\"m\",\"system_fingerprint\":null,\
             \"choices\":[{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"length\"},\
             {\"index\":1,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"length\"}]}\n\ndata: [DONE]\n\n"
        );
    }

    #[test]
    fn a_completion_ends_with_an_empty_text() {
        let event = "data: {\"id\":\"c\",\"object\":\"text_completion\",\"choices\":[{\"text\":\"a\"}]}\n\n";
        assert_eq!(
            ended(event, 0).unwrap(),
            "data: {\"id\":\"c\",\"object\":\"text_completion\",\
             \"choices\":[{\"index\":0,\"text\":\"\",\"logprobs\":null,\"finish_reason\":\"length\"}]}\n\ndata: [DONE]\n\n"
        );
    }

    #[test]
    fn a_message_closes_its_block_and_stops() {
        let event = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":3,\"delta\":{\"type\":\"text_delta\",\"text\":\"a\"}}\n\n";
        assert_eq!(
            ended(event, 0).unwrap(),
            "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":3}\n\n\
             event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"max_tokens\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":7}}\n\n\
             event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"
        );
    }

    #[test]
    fn what_has_no_such_ending_gets_none() {
        for event in [
            "data: {\"type\":\"response.output_text.delta\",\"delta\":\"a\"}\n\n",
            "data: {\"object\":{\"a\":1}}\n\n",
            "data: {\"object\":\"x",
            "data: [DONE]\n\n",
        ] {
            assert_eq!(ended(event, 1), None, "{event}");
        }
    }
}
