//! The meter on answers of every API, cut everywhere.

use super::*;
use proptest::prelude::*;

/// What an answer relays: the input, the output as it was reported, what was said without a report, whether it finished.
type Told = (Option<u32>, u32, &'static str, bool);

const CHAT: &str = "\u{feff}: hello\n\ndata: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}],\"usage\":null}\n\n\
    data: {\"choices\":[{\"delta\":{\"content\":\"Grün\"}}]}\n\n\
    data:{\"choices\":[{\"delta\":{\"content\":\" \\\"\\ud83d\\ude00\\n\\\"\",\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":\"{\\\"usage\\\":{\\\"completion_tokens\\\":0}}\"}}]}}]}\n\n";
const CHATTED: &str = "Grün \"😀\n\"f{\"usage\":{\"completion_tokens\":0}}";
const USAGE: &str = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":21,\"completion_tokens\": 7 ,\"total_tokens\":28,\"completion_tokens_details\":{\"completion_tokens\":3}}}\n\n";
const MESSAGES: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"content\":[],\"usage\":{\"input_tokens\":25,\"cache_creation_input_tokens\":100,\"cache_read_input_tokens\": 1000 ,\"cache_creation\":{\"ephemeral_5m_input_tokens\":100},\"output_tokens\":1}}}\n\n\
    event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Hello\"}}\n\n\
    event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"a\\\":\"}}\n\n";
const DELTA: &str = "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\n\
    data\n\
    data:  \"usage\":{\"output_tokens\":15}}\n\n\
    event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";
const RESPONSES: &str = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"usage\":null,\"tools\":[{\"parameters\":{\"usage\":{\"output_tokens\":0}}}]}}\n\n\
    data: {\"delta\":\"one two\",\"type\":\"response.output_text.delta\"}\n\n\
    data: {\"type\":\"response.output_text.done\",\"text\":\"one two\"}\n\n";
const COMPLETED: &str = "data: {\"response\":{\"output\":[{\"content\":[{\"text\":\"one two\"}]}],\"usage\":{\"input_tokens\":36,\"input_tokens_details\":{\"cached_tokens\":30},\"output_tokens\":2}},\"type\":\"response.completed\"}\n\n";

/// Answers, with LF for their line ends.
fn answers() -> Vec<(String, Form, Told)> {
    let events: [(&[&str], Told); 9] = [
        (&[CHAT], (None, 0, CHATTED, false)),
        (&[CHAT, USAGE], (Some(21), 7, "", false)),
        (&[CHAT, USAGE, "data: [DONE]\n\n"], (Some(21), 7, "", true)),
        (&[CHAT, "data: [DONE]\n"], (None, 0, CHATTED, false)),
        (
            &["data: {\"choices\":[{\"text\":\"one\"},{\"text\":\" two\"}]}\n\n"],
            (None, 0, "one two", false),
        ),
        (&[MESSAGES], (Some(1125), 1, "Hello{\"a\":", false)),
        (&[MESSAGES, DELTA], (Some(1125), 15, "", true)),
        (&[RESPONSES], (None, 0, "one two", false)),
        (&[RESPONSES, COMPLETED], (Some(36), 2, "", true)),
    ];
    let whole: [(&str, Form, Told); 7] = [
        (
            r#"{"choices":[{"message":{"content":"say \"usage\":{\"completion_tokens\":5}"}}],"usage" : { "prompt_tokens" : 17 , "completion_tokens":3}}"#,
            Form::Json,
            (Some(17), 3, "", true),
        ),
        (
            r#"{"choices":[{"message":{"content":"four words are here"}}]}"#,
            Form::Json,
            (None, 0, "four words are here", true),
        ),
        (
            r#"{"content":[{"type":"tool_use","input":{"usage":{"output_tokens":0}}}],"usage":{"input_tokens":5,"output_tokens":9}}"#,
            Form::Json,
            (Some(5), 9, "", true),
        ),
        (
            r#"{"output":[{"content":[{"text":"one two"}]}],"usage":{"output_tokens":99999999999}}"#,
            Form::Json,
            (None, 0, "one two", true),
        ),
        (
            r#"{"data":[{"embedding":[0.5,-1e-3],"x":"]}\"[","usage":{"prompt_tokens":1}},[[{"usage":{}}]]],"usage":{"prompt_tokens":8,"total_tokens":8}}"#,
            Form::Json,
            (Some(8), 0, "", true),
        ),
        (
            r#"{"usage":{"prompt_tokens":-1,"completion_tokens":1.5}"#,
            Form::Json,
            (None, 0, "", false),
        ),
        ("", Form::Events, (None, 0, "", false)),
    ];
    let events = events.map(|(parts, told)| (parts.concat(), Form::Events, told));
    let whole = whole.map(|(text, form, told)| (text.to_owned(), form, told));
    events.into_iter().chain(whole).collect()
}

fn relayed<'a>(form: Form, chunks: impl IntoIterator<Item = &'a [u8]>) -> Relayed {
    metered(Meter::new(form), chunks)
}

fn metered<'a>(mut meter: Meter, chunks: impl IntoIterator<Item = &'a [u8]>) -> Relayed {
    chunks.into_iter().for_each(|chunk| meter.feed(chunk));
    meter.relayed()
}

fn estimate(text: &str) -> u32 {
    let mut counted = Flowing::default();
    counted.push(text.as_bytes());
    match text {
        "" => 0,
        _ => raw(counted.counts()).0,
    }
}

#[test]
fn what_every_api_relays_is_counted() {
    for (answer, form, (input, reported, text, finished)) in answers() {
        let relayed = relayed(form, [answer.as_bytes()]);
        let told = relayed.usage.and_then(|usage| usage.input);
        assert_eq!(
            (told.map(|told| told.0), relayed.output.0, relayed.finished),
            (input, reported + estimate(text), finished),
            "{answer}"
        );
    }
}

#[test]
fn every_cut_and_every_line_end_gives_the_same_count() {
    for (answer, form, _) in answers() {
        let expected = relayed(form, [answer.as_bytes()]);
        for end in ["\n", "\r", "\r\n"] {
            let answer = answer.replace('\n', end);
            let bytes = answer.as_bytes();
            assert_eq!(relayed(form, [bytes]), expected, "{end:?} {answer}");
            assert_eq!(relayed(form, bytes.chunks(1)), expected, "{end:?} {answer}");
            for cut in 0..bytes.len() {
                let (start, rest) = bytes.split_at(cut);
                assert_eq!(
                    relayed(form, [start, rest]),
                    expected,
                    "{end:?} {cut} {answer}"
                );
            }
        }
    }
}

#[test]
fn events_are_those_that_have_data() {
    let stream = "\u{feff}data: 1\n\n\n: c\n\ndata\n\nevent: x\n\ndatax: 1\n\n data: 1\n\ndata: 2\r\n\r\ndata: 3\r\rdata: 4\n";
    assert_eq!(relayed(Form::Events, [stream.as_bytes()]).events, 4);
    let marks = "\u{feff}\u{feff}data: 1\n\n";
    assert_eq!(relayed(Form::Events, [marks.as_bytes()]).events, 0);
}

#[test]
fn a_count_never_falls_while_text_passes_and_covers_a_token_a_piece() {
    let mut meter = Meter::new(Form::Events);
    for piece in 1..=50 {
        meter.feed(b"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n");
        assert!(meter.relayed().output.0 >= piece);
    }
}

/// As vLLM and SGLang report with `continuous_usage_stats`; the usage may as well stand before the choices.
#[test]
fn a_report_of_one_of_several_choices_is_not_taken_for_all() {
    let several = |events: &[String]| {
        let stream = events.concat();
        let meter = || Meter::new(Form::Events).of_several();
        let relayed = metered(meter(), [stream.as_bytes()]);
        for cut in 0..stream.len() {
            let (start, rest) = stream.as_bytes().split_at(cut);
            assert_eq!(metered(meter(), [start, rest]), relayed, "{cut}");
        }
        (relayed.usage.and_then(|usage| usage.input), relayed.output)
    };
    let mut events = Vec::new();
    for token in 1..=3 {
        for choice in 0..3 {
            let choices = format!(r#""choices":[{{"index":{choice},"text":"a "}}]"#);
            let usage = format!(r#""usage":{{"prompt_tokens":3,"completion_tokens":{token}}}"#);
            events.push(match choice {
                0 => format!("data: {{{usage},{choices}}}\n\n"),
                _ => format!("data: {{{choices},{usage}}}\n\n"),
            });
            assert_eq!(several(&events), (None, Tokens(events.len() as u32)));
        }
    }
    // Servers that tell of all with the last choice are believed, where that is more.
    let all = "data: {\"choices\":[{}],\"usage\":{\"completion_tokens\":90}}\n\n";
    events.push(all.to_owned());
    assert_eq!(several(&events), (None, Tokens(90)));
    events.push(USAGE.to_owned());
    assert_eq!(several(&events), (Some(Tokens(21)), Tokens(7)));
}

#[test]
fn a_line_of_megabytes_costs_no_memory() {
    let mut meter = Meter::new(Form::Events);
    meter.feed(b"data: {\"choices\":[{\"delta\":{\"content\":\"");
    (0..1024).for_each(|_| meter.feed(&[b'x'; 4096]));
    meter.feed(b"\"}}],\"a\":");
    (0..1024).for_each(|_| meter.feed(&[b'['; 1024]));
    assert_eq!(meter.said.text.counts().letters, 1024 * 4096);
    assert!(size_of::<Meter>() <= 320, "{}", size_of::<Meter>());
}

#[test]
fn a_form_is_told_by_the_media_type() {
    for (kind, form) in [
        ("text/event-stream", Some(Form::Events)),
        ("Text/Event-Stream ; charset=utf-8", Some(Form::Events)),
        ("application/json", Some(Form::Json)),
        ("application/json-seq", None),
        ("", None),
    ] {
        assert_eq!(Form::of(kind.as_bytes()), form, "{kind}");
    }
}

proptest! {
    #[test]
    fn whatever_comes_counts_the_same_in_pieces(
        parts in prop::collection::vec(prop_oneof![
            Just("data: {\"choices\":[".to_owned()), Just("{\"delta\":{\"content\":\"é\\u00e9".to_owned()), Just("\"}}]}".to_owned()),
            Just("\r".to_owned()), Just("\n".to_owned()), Just("usage\":{\"completion_tokens\":12".to_owned()), Just("\"".to_owned()),
            Just("data: {\"usage\":{\"completion_tokens\":9},\"choices\":[{}]}\n\n".to_owned()),
            Just(",".to_owned()), Just("}".to_owned()), Just("\u{feff}".to_owned()), "[ -~]{0,5}", "\\PC{0,3}"
        ], 0..40),
        mut cuts in prop::collection::vec(0usize..600, 0..12), json: bool, several: bool
    ) {
        let text = parts.concat();
        let bytes = text.as_bytes();
        cuts.iter_mut().for_each(|cut| *cut = (*cut).min(bytes.len()));
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let chunks = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]);
        let form = if json { Form::Json } else { Form::Events };
        let meter = || match several {
            true => Meter::new(form).of_several(),
            false => Meter::new(form),
        };
        prop_assert_eq!(metered(meter(), chunks), metered(meter(), [bytes]));
    }
}
