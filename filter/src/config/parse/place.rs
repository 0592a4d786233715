//! Where in a JSON document a byte is: the path of the value, like `pools[1].endpoints[0].address`.
//!
//! `serde_json` tells by line and column where the JSON breaks, and a configuration that came as YAML has
//! others. The way from there to a path is this scan, made once and only for a document that was refused.

/// The path of what `serde_json` had reached at `line` and `column`, both from 1; empty for the whole.
pub fn at(json: &[u8], line: usize, column: usize) -> String {
    let start = line.saturating_sub(2);
    let mut starts = json
        .iter()
        .enumerate()
        .filter(|(_, byte)| **byte == b'\n')
        .map(|(at, _)| at);
    let line_start = if line < 2 {
        0
    } else {
        starts
            .nth(start)
            .map_or(json.len(), |at| at.saturating_add(1))
    };
    path(json, line_start.saturating_add(column))
}

/// One array or object that is open.
enum Open<'a> {
    Array(usize),
    Object { key: &'a [u8], key_next: bool },
}

/// The path of what ends at byte `end`, or is open there.
fn path(json: &[u8], end: usize) -> String {
    let mut open: Vec<Open<'_>> = Vec::new();
    let mut at = 0;
    while let Some(&byte) = json.get(at).filter(|_| at < end) {
        match byte {
            b'{' => open.push(Open::Object {
                key: b"",
                key_next: true,
            }),
            b'[' => open.push(Open::Array(0)),
            b'}' | b']' => {
                // What is wrong with a whole array or object is found at its end.
                if at.saturating_add(1) >= end {
                    match open.last_mut() {
                        Some(Open::Object { key, .. }) => *key = b"",
                        Some(Open::Array(_)) | None => {}
                    }
                    let whole = open.len().saturating_sub(1);
                    return written(open.get(..whole).unwrap_or_default());
                }
                open.pop();
            }
            b',' => match open.last_mut() {
                Some(Open::Array(index)) => *index = index.saturating_add(1),
                Some(Open::Object { key, key_next }) => (*key, *key_next) = (b"", true),
                None => {}
            },
            b'"' => {
                let text = string(json, at);
                at = at.saturating_add(text.len()).saturating_add(1);
                if let Some(Open::Object {
                    key,
                    key_next: next @ true,
                }) = open.last_mut()
                {
                    (*key, *next) = (text, false);
                }
            }
            _ => {}
        }
        at = at.saturating_add(1);
    }
    written(&open)
}

/// What stands between the quote at `quote` and the one that closes it.
fn string(json: &[u8], quote: usize) -> &[u8] {
    let rest = json.get(quote.saturating_add(1)..).unwrap_or_default();
    let mut escaped = false;
    let length = rest.iter().position(|&byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    });
    rest.get(..length.unwrap_or(rest.len())).unwrap_or_default()
}

fn written(open: &[Open<'_>]) -> String {
    let mut path = String::new();
    for level in open {
        match level {
            Open::Array(index) => path.push_str(&format!("[{index}]")),
            Open::Object { key: b"", .. } => {}
            Open::Object { key, .. } => {
                if !path.is_empty() {
                    path.push('.');
                }
                path.push_str(&String::from_utf8_lossy(key));
            }
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_that_of_the_value_that_ends_there() {
        let json = br#"{"a": 1, "b": [{"c": "x"}, {"c": [1, 22]}], "d": {}}"#;
        for (upto, path_there) in [
            (r#"{"a": 1"#, "a"),
            (r#"{"a": 1, "b": [{"c": "x""#, "b[0].c"),
            (r#"{"a": 1, "b": [{"c": "x"}"#, "b[0]"),
            (r#"{"a": 1, "b": [{"c": "x"}, {"c""#, "b[1].c"),
            (r#"{"a": 1, "b": [{"c": "x"}, {"c": [1, 22"#, "b[1].c[1]"),
            (r#"{"a": 1, "b": [{"c": "x"}, {"c": [1, 22]}]"#, "b"),
            (
                r#"{"a": 1, "b": [{"c": "x"}, {"c": [1, 22]}], "d": {}}"#,
                "",
            ),
        ] {
            assert_eq!(at(json, 1, upto.len()), path_there, "{upto}");
        }
    }

    #[test]
    fn lines_are_counted() {
        let json = b"{\n \"a\": {\n  \"b,\\\"]\": 1\n }\n}";
        assert_eq!(at(json, 3, 12), r#"a.b,\"]"#);
        assert_eq!(at(json, 1, 1), "");
        assert_eq!(at(json, 9, 9), "");
    }
}
