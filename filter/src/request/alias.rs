//! Naming another model in a body that is otherwise left as it is, byte for byte.

use std::ops::Range;

/// `body` with the JSON string at `span` ([`super::Facts::model_span`]) replaced by `model`, quoted
/// and escaped.
pub fn rewrite_model(body: &[u8], span: &Range<usize>, model: &str) -> Vec<u8> {
    let before = body.get(..span.start).unwrap_or_default();
    let after = body.get(span.end..).unwrap_or_default();
    let room = before
        .len()
        .saturating_add(after.len())
        .saturating_add(model.len());
    let mut rewritten = Vec::with_capacity(room.saturating_add(8));
    rewritten.extend_from_slice(before);
    quote(model, &mut rewritten);
    rewritten.extend_from_slice(after);
    rewritten
}

fn quote(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            0x00..0x20 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::{Api, Limits, read};

    #[test]
    fn only_the_model_changes() {
        let body = br#" {"messages":[],"m\u006fdel" : "o\u006ce" ,"n":1e0}"#;
        let facts = read(Api::ChatCompletions, body, &Limits::default()).unwrap();
        assert_eq!(facts.model, "ole");
        let rewritten = rewrite_model(body, &facts.model_span, "q\"w\\e\n\u{1}7b");
        assert_eq!(
            String::from_utf8(rewritten.clone()).unwrap(),
            r#" {"messages":[],"m\u006fdel" : "q\"w\\e\u000a\u00017b" ,"n":1e0}"#
        );
        let facts = read(Api::ChatCompletions, &rewritten, &Limits::default()).unwrap();
        assert_eq!(facts.model, "q\"w\\e\n\u{1}7b");
    }
}
