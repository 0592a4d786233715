//! What is read, and what is refused.

use super::*;

fn chat(body: &[u8]) -> Result<Facts, Error> {
    read(Api::ChatCompletions, body, &Limits::default())
}

fn refusal(body: &[u8]) -> Error {
    chat(body).expect_err(&String::from_utf8_lossy(body))
}

#[test]
fn a_body_with_two_meanings_or_none_is_refused() {
    let field = |name: &str| name.to_owned();
    let duplicate = |name| Error::Duplicate { field: field(name) };
    let bound = |name| Error::BoundOutOfRange { field: field(name) };
    let cases: &[(&[u8], Error)] = &[
        (b"", Error::Empty),
        (b"\xef\xbb\xbf{\"model\":\"m\"}", Error::ByteOrderMark),
        (b"\xff\xfe{\0", Error::ByteOrderMark),
        (b"\xfe\xff\0{", Error::ByteOrderMark),
        (br#"{"model":"a","model":"b"}"#, duplicate("model")),
        (br#"{"model":"a","mod\u0065l":"b"}"#, duplicate("model")),
        (br#"{"model":"a","model":"a"}"#, duplicate("model")),
        (
            br#"{"model":"m","messages":[{},{"content":"a","c\u006fntent":"b"}]}"#,
            duplicate("messages[1].content"),
        ),
        (
            br#"{"model":"m","messages":[{"content":[{"text":"a","text":"b"}]}]}"#,
            duplicate("messages[0].content[0].text"),
        ),
        (
            b"{\"model\":\"m\",\"x\":\"\xc3\x28\"}",
            Error::InvalidUtf8 { offset: 18 },
        ),
        (b"{\"model\":\"m\"}\xff", Error::InvalidUtf8 { offset: 13 }),
        (br#"{"model":"m"} {}"#, Error::TrailingData { offset: 14 }),
        (br#"{"model":"m","max_tokens":-1}"#, bound("max_tokens")),
        (br#"{"model":"m","max_tokens":1e400}"#, bound("max_tokens")),
        (br#"{"model":"m","max_tokens":1.5}"#, bound("max_tokens")),
        (br#"{"model":"m","max_tokens":1e2}"#, bound("max_tokens")),
        (
            br#"{"model":"m","max_completion_tokens":4294967296}"#,
            bound("max_completion_tokens"),
        ),
        (
            br#"{"model":"m","max_tokens":1,"max_completion_tokens":2}"#,
            Error::BoundsDisagree,
        ),
        (
            br#"{"model":"m","x":[1e400]}"#,
            Error::NumberOutOfRange { offset: 18 },
        ),
        (br#"["model"]"#, Error::NotAnObject),
        (b"null", Error::NotAnObject),
        (b"{}", Error::ModelMissing),
        (br#"{"model":""}"#, Error::ModelEmpty),
    ];
    for (body, error) in cases {
        assert_eq!(refusal(body), *error, "{}", String::from_utf8_lossy(body));
    }
    let long = format!(r#"{{"model":"{}"}}"#, "m".repeat(257));
    assert_eq!(refusal(long.as_bytes()), Error::ModelTooLong { limit: 256 });
    assert!(
        chat(
            long.replacen('m', "", 0)
                .replace("mm\"}", "m\"}")
                .as_bytes()
        )
        .is_ok()
    );
}

#[test]
fn what_is_not_json_is_refused_wherever_it_stands() {
    for value in [
        "01",
        "1.",
        ".5",
        "+1",
        "-",
        "NaN",
        "Infinity",
        "tru",
        "nul",
        "\"\n\"",
        "\"\\x\"",
        "\"\\u12\"",
        r#""\ud800""#,
        r#""\udc00""#,
        r#""\ud83d\u0041""#,
        "\"",
        "[1,]",
        "[1 2]",
        "{\"a\"}",
        "{a:1}",
        "{\"a\":1,}",
        "[",
        "{",
        "",
        "'a'",
        "1 2",
        "\u{a0}1",
    ] {
        for body in [
            format!(r#"{{"model":"m","x":{value}}}"#),
            format!(r#"{{"model":"m","messages":{value}}}"#),
            format!(r#"{{"model":"m","messages":[{{"content":{value}}}]}}"#),
        ] {
            let error = refusal(body.as_bytes());
            assert!(
                matches!(error, Error::Syntax { .. } | Error::WrongType { .. }),
                "{body}: {error}"
            );
        }
    }
}

#[test]
fn sixty_four_levels_are_read_and_sixty_five_are_not() {
    let nested = |levels: usize| {
        let inner = levels - 1;
        format!(
            r#"{{"model":"m","x":{}{}}}"#,
            "[".repeat(inner),
            "]".repeat(inner)
        )
    };
    assert!(chat(nested(64).as_bytes()).is_ok());
    assert_eq!(
        refusal(nested(65).as_bytes()),
        Error::TooDeep {
            offset: 80,
            limit: 64
        }
    );
}

#[test]
fn a_field_of_the_wrong_type_is_named_by_its_path() {
    for (body, param) in [
        (r#"{"model":5}"#, "model"),
        (r#"{"model":null}"#, "model"),
        (r#"{"model":"m","stream":1}"#, "stream"),
        (r#"{"model":"m","messages":"hi"}"#, "messages"),
        (r#"{"model":"m","messages":[{},5]}"#, "messages[1]"),
        (
            r#"{"model":"m","messages":[{"content":5}]}"#,
            "messages[0].content",
        ),
        (
            r#"{"model":"m","messages":[{"content":[{"text":{}}]}]}"#,
            "messages[0].content[0].text",
        ),
    ] {
        let error = refusal(body.as_bytes());
        assert!(matches!(error, Error::WrongType { .. }), "{body}: {error}");
        assert_eq!(error.param(), Some(param), "{body}");
        assert_eq!(error.code(), "invalid_type");
    }
}

#[test]
fn a_document_may_be_made_of_content() {
    let body = |source: &str| {
        format!(
            r#"{{"model":"m","messages":[{{"role":"user","content":[{{"type":"document","source":{source}}}]}}]}}"#
        )
    };
    for (source, letters) in [
        (r#"{"type":"content","content":"abc"}"#, 3),
        (
            r#"{"content":[{"type":"text","text":"abcd"}],"type":"content"}"#,
            4,
        ),
        (r#"{"type":"content","content":null}"#, 0),
    ] {
        let facts = read(Api::Messages, body(source).as_bytes(), &Limits::default());
        assert_eq!(facts.unwrap().text.letters, letters, "{source}");
    }
    let twice = body(r#"{"type":"content","content":"a","content":"b"}"#);
    let error = read(Api::Messages, twice.as_bytes(), &Limits::default()).unwrap_err();
    assert_eq!(error.code(), "duplicate_parameter");
}

#[test]
fn everything_a_model_is_shown_counts_and_data_does_not() {
    let facts = chat(
        br#"{"stream":true,"messages":[{"role":"user","content":[
            {"type":"text","text":"ab \u0063d\n"},
            {"image_url":{"url":"data:image/png;base64,AAAA"},"type":"image_url"},
            {"source":{"data":"efg","type":"text"}},{"source":{"data":"AAAA","type":"base64"}},
            {"type":"input_audio","input_audio":{"data":"AAAA"}}]},{"role":"x","content":null}],
            "model":"m","max_tokens":7,"max_completion_tokens":7,"tools":[1]}"#,
    )
    .unwrap();
    let expected = TextCounts {
        letters: 9,
        words: 5,
        spaces: 1,
        breaks: 1,
        marks: 1,
        images: 1,
        messages: 2,
        ..TextCounts::default()
    };
    assert_eq!(facts.text, expected);
    assert_eq!(
        (facts.stream, facts.max_output, facts.model.as_str()),
        (true, Some(Tokens(7)), "m")
    );
}

#[test]
fn a_bound_of_0_declares_none() {
    for (fields, bound) in [
        (r#""max_tokens":0"#, None),
        (r#""max_tokens":0,"max_completion_tokens":0"#, None),
        (r#""max_tokens":1"#, Some(1)),
    ] {
        let facts = chat(format!(r#"{{"model":"m",{fields}}}"#).as_bytes()).unwrap();
        assert_eq!(facts.max_output, bound.map(Tokens), "{fields}");
    }
    // Whether that is a bound of 5 or none, servers would differ on.
    let both = br#"{"model":"m","max_tokens":0,"max_completion_tokens":5}"#;
    assert_eq!(chat(both).unwrap_err(), Error::BoundsDisagree);
}

#[test]
fn token_ids_are_counted_one_by_one() {
    let body = br#"{"model":"m","input":[[1,2,3],[4]]}"#;
    assert_eq!(
        read(Api::Embeddings, body, &Limits::default())
            .unwrap()
            .text
            .ids,
        4
    );
    let body = br#"{"model":"m","input":[[1,-2]]}"#;
    let error = read(Api::Embeddings, body, &Limits::default()).unwrap_err();
    assert_eq!(error.param(), Some("input[0][1]"));
}

#[test]
fn the_prompt_key_is_that_of_the_text_however_it_is_written() {
    let key = |body: &str| {
        read(Api::Messages, body.as_bytes(), &Limits { prefix_bytes: 8 })
            .unwrap()
            .prompt_key
    };
    let plain = key(r#"{"model":"m","system":"abc","messages":[{"content":"déf gh"}]}"#);
    for same in [
        r#"{"messages":[{"role":"user","content":"d\u00e9f gh"}], "system":"\u0061bc","model":"n"}"#,
        r#"{"model":"m","system":[{"type":"text","text":"abc"}],"messages":[{"content":"déf and more"}]}"#,
    ] {
        assert_eq!(key(same), plain, "{same}");
    }
    assert_ne!(
        key(r#"{"model":"m","system":"abd","messages":[{"content":"déf gh"}]}"#),
        plain
    );
}
