//! Changing a request on its way upstream: another name for the model, usage asked for. What is not changed stays as it
//! is, byte for byte; a body that is parsed and written anew would come out with other spaces, numbers and escapes,
//! and a signature over it would no longer hold.

use std::ops::Range;

use super::facts::Facts;
use super::fields::Name;
use super::json::{Kind, Scanner};

/// Which bytes make way, and for what.
type Edit = (Range<usize>, &'static [u8]);

/// What to change.
#[derive(Clone, Copy, Debug, Default)]
pub struct Changes<'a> {
    /// The model's name upstream, where it has another.
    pub model: Option<&'a str>,
    /// Whether the stream shall tell its usage: `stream_options.include_usage`.
    pub usage: bool,
}

impl Changes<'_> {
    /// Whether there may be anything to change.
    pub fn any(self) -> bool {
        self.usage || self.model.is_some()
    }
}

/// `body` with `changes`, and whether usage is asked for in it that was not before; `None` if nothing is to be changed.
///
/// Usage is asked for only of an OpenAI stream, and where the caller did not ask itself: not in a body that
/// has `include_usage` twice, or `stream_options` that are no object, either.
#[cold]
#[inline(never)]
pub fn rewrite(body: &[u8], facts: &Facts, changes: Changes<'_>) -> Option<(Vec<u8>, bool)> {
    let renamed = changes
        .model
        .map(|model| (&facts.model_span, quoted(model)));
    let asked = match changes.usage && facts.streams_options() {
        true => usage(body, facts),
        false => None,
    };
    let rewritten = match (renamed, &asked) {
        (None, None) => return None,
        (Some((span, name)), None) => put(body, span, &name),
        (None, Some((place, text))) => put(body, place, text),
        // What stands last first, so that the other is where it was.
        (Some((span, name)), Some((place, text))) if place.start < span.start => {
            put(&put(body, span, &name), place, text)
        }
        (Some((span, name)), Some((place, text))) => put(&put(body, place, text), span, &name),
    };
    Some((rewritten, asked.is_some()))
}

/// `body` with `text` in the place of what stands there.
#[inline(never)]
fn put(body: &[u8], place: &Range<usize>, text: &[u8]) -> Vec<u8> {
    let mut changed = Vec::with_capacity(body.len().saturating_add(text.len()));
    changed.extend_from_slice(body.get(..place.start).unwrap_or_default());
    changed.extend_from_slice(text);
    changed.extend_from_slice(body.get(place.end..).unwrap_or_default());
    changed
}

/// How to ask for usage; `None` where the caller does, or nobody can.
fn usage(body: &[u8], facts: &Facts) -> Option<Edit> {
    let Some(span) = &facts.stream_options else {
        let end = facts.model_span.end;
        return Some((end..end, br#","stream_options":{"include_usage":true}"#));
    };
    let options = body.get(span.clone())?;
    let mut scan = Scanner::new(options);
    match scan.kind() {
        Ok(Kind::Null) => return Some((span.clone(), br#"{"include_usage":true}"#)),
        Ok(Kind::Object) => scan.enter().ok()?,
        _ => return None,
    }
    let (mut first, mut empty, mut told) = (true, true, None);
    while let Some(name) = scan.field(&mut first).ok()? {
        empty = false;
        let place = scan.skip().ok()?;
        if Name::of(&name).bytes() == b"include_usage" && told.replace(place).is_some() {
            return None;
        }
    }
    let within = |at: usize| span.start.saturating_add(at);
    match told {
        Some(place) if options.get(place.clone()) == Some(b"true") => None,
        // A caller that wants none gets none: the event is taken out again.
        Some(place) => Some((within(place.start)..within(place.end), b"true")),
        None if empty => Some((within(1)..within(1), br#""include_usage":true"#)),
        None => Some((within(1)..within(1), br#""include_usage":true,"#)),
    }
}

fn quoted(text: &str) -> Vec<u8> {
    let mut quoted = Vec::with_capacity(text.len().saturating_add(8));
    quoted.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => quoted.extend_from_slice(&[b'\\', byte]),
            0x00..0x20 => quoted.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => quoted.push(byte),
        }
    }
    quoted.push(b'"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{Api, Limits, read};

    fn rewritten(api: Api, body: &str, changes: Changes<'_>) -> Option<(String, bool)> {
        let facts = read(api, body.as_bytes(), &Limits::default()).unwrap();
        let rewritten = rewrite(body.as_bytes(), &facts, changes);
        rewritten.map(|(body, asks)| (String::from_utf8(body).unwrap(), asks))
    }

    #[test]
    fn only_the_model_changes() {
        let body = r#" {"messages":[],"m\u006fdel" : "o\u006ce" ,"top_p":1e0}"#;
        let changes = Changes {
            model: Some("q\"w\\e\n\u{1}7b"),
            usage: true,
        };
        let (changed, asks) = rewritten(Api::ChatCompletions, body, changes).unwrap();
        assert_eq!(
            changed,
            r#" {"messages":[],"m\u006fdel" : "q\"w\\e\u000a\u00017b" ,"top_p":1e0}"#
        );
        assert!(!asks, "it does not stream");
        let facts = read(Api::ChatCompletions, changed.as_bytes(), &Limits::default());
        assert_eq!(facts.unwrap().model, "q\"w\\e\n\u{1}7b");
    }

    #[test]
    fn usage_is_asked_for_where_the_caller_did_not() {
        const ASKED: &str =
            r#"{"model":"m","stream_options":{"include_usage":true},"stream":true}"#;
        for (body, changed) in [
            (r#"{"model":"m","stream":true}"#, Some(ASKED)),
            (
                r#"{"model":"m","stream_options":null,"stream":true}"#,
                Some(ASKED),
            ),
            (
                r#"{"model":"m","stream_options":{},"stream":true}"#,
                Some(ASKED),
            ),
            (
                r#"{"model":"m","stream_options":{"include_usage":false},"stream":true}"#,
                Some(ASKED),
            ),
            (
                r#"{"stream_options" : { "x":[{}] },"model":"m","stream":true}"#,
                Some(
                    r#"{"stream_options" : {"include_usage":true, "x":[{}] },"model":"m","stream":true}"#,
                ),
            ),
            (ASKED, None),
            (
                r#"{"model":"m","stream_options":{"include_us\u0061ge" : true},"stream":true}"#,
                None,
            ),
            (
                r#"{"model":"m","stream_options":{"include_usage":false,"include_usage":true},"stream":true}"#,
                None,
            ),
            (r#"{"model":"m","stream_options":[],"stream":true}"#, None),
            (r#"{"model":"m","stream":false}"#, None),
        ] {
            let usage = Changes {
                model: None,
                usage: true,
            };
            for api in [Api::ChatCompletions, Api::Completions] {
                let expected = changed.map(|changed| (changed.to_owned(), true));
                assert_eq!(rewritten(api, body, usage), expected, "{body}");
            }
            assert_eq!(rewritten(Api::Responses, body, usage), None, "{body}");
            assert_eq!(
                rewritten(Api::ChatCompletions, body, Changes::default()),
                None
            );
        }
    }

    #[test]
    fn both_changes_come_out_in_either_order() {
        let both = Changes {
            model: Some("n"),
            usage: true,
        };
        for (body, changed) in [
            (
                r#"{"stream":true,"model":"m"}"#,
                r#"{"stream":true,"model":"n","stream_options":{"include_usage":true}}"#,
            ),
            (
                r#"{"model":"m","stream":true,"stream_options":{}}"#,
                r#"{"model":"n","stream":true,"stream_options":{"include_usage":true}}"#,
            ),
            (
                r#"{"stream_options":{},"model":"m","stream":true}"#,
                r#"{"stream_options":{"include_usage":true},"model":"n","stream":true}"#,
            ),
        ] {
            let expected = Some((changed.to_owned(), true));
            assert_eq!(rewritten(Api::Completions, body, both), expected);
        }
    }
}
