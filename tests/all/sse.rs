//! Streams: usage asked for on a caller's behalf and taken out again, and what is counted of them meanwhile.

use junheng::answer::{Form, Meter, Relayed};
use serde_json::{Value, json};

use crate::on_both;
use crate::scenario::{On, Proxy, StreamId, chat, post, proxy};

/// One rule asks for usage, the other does not.
fn config() -> Value {
    json!({
        "pools": [{"name": "p", "endpoints": [{"address": "10.0.0.1:80"}]}],
        "routes": [
            {"match": {"models": ["metered"]}, "alias": {"metered": "m"}, "stream_usage": true, "pools": ["p"]},
            {"pools": ["p"]}
        ]
    })
}

const LINE_ENDS: [&str; 3] = ["\n", "\r", "\r\n"];

/// An answer of 50 events, `[DONE]` among them, as `vllm serve` gives it; the event with the usage is the last but one.
fn events() -> Vec<String> {
    let event = |choices: Value, usage: Value| {
        let chunk = json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices, "usage": usage});
        format!("data: {chunk}\n\n")
    };
    let delta = |text: &str| {
        event(
            json!([{"index": 0, "delta": {"content": text}, "finish_reason": null}]),
            Value::Null,
        )
    };
    let mut events: Vec<String> = (0..48)
        .map(|n| delta(["Grüße ", "\"choices\":[]", "均衡", "\n🙂"][n % 4]))
        .collect();
    events.push(event(
        json!([]),
        json!({"prompt_tokens": 9, "completion_tokens": 48, "total_tokens": 57}),
    ));
    events.push("data: [DONE]\n\n".to_owned());
    events
}

fn without_usage(events: &[String]) -> String {
    events
        .iter()
        .filter(|event| !event.contains("prompt_tokens"))
        .map(String::as_str)
        .collect()
}

/// A stream asked for by a caller who says nothing of usage.
fn streamed(proxy: &mut dyn Proxy, model: &str) -> StreamId {
    let (stream, step) = chat(
        proxy,
        &json!({"model": model, "stream": true, "messages": []}),
    );
    step.sent();
    let headers = [
        ("content-type", "text/event-stream; charset=utf-8"),
        ("content-length", "12345"),
    ];
    proxy.respond_with(stream, 200, 1, &headers);
    stream
}

fn usage_is_asked_for_where_the_rule_says_so(on: On) {
    let mut proxy = proxy(on, &config(), 1);
    let body = r#"{"model":"metered" ,"stream":true, "messages":[]}"#;
    let (stream, _) = proxy.open(0, &post("/v1/chat/completions"), false);
    let sent = proxy.body(stream, body.as_bytes(), true).sent();
    let asked =
        r#"{"model":"m","stream_options":{"include_usage":true} ,"stream":true, "messages":[]}"#;
    assert_eq!(String::from_utf8_lossy(&sent.body), asked);
    assert_eq!(sent.header("content-length"), asked.len().to_string());
    assert_eq!(sent.header("accept-encoding"), "identity");

    for body in [
        r#"{"model":"other","stream":true,"messages":[]}"#,
        r#"{"model":"metered@2","stream":true,"messages":[],"stream_options":{"include_usage":true}}"#,
        r#"{"model":"metered@2","stream":false,"messages":[]}"#,
    ] {
        let (stream, _) = proxy.open(0, &post("/v1/chat/completions"), false);
        let sent = proxy.body(stream, body.as_bytes(), true).sent();
        assert_eq!(String::from_utf8_lossy(&sent.body), body);
        assert!(
            sent.headers
                .iter()
                .all(|(name, _)| name != "accept-encoding")
        );
    }
}

fn the_event_is_taken_out_again_at_every_event_and_line_end(on: On) {
    let mut proxy = proxy(on, &config(), 1);
    for end in LINE_ENDS {
        let stream = streamed(&mut *proxy, "metered");
        let mut got = Vec::new();
        for event in events() {
            got.extend(proxy.respond_body(stream, event.replace('\n', end).as_bytes(), false));
        }
        // HTTP/1 ends a body with an empty piece.
        got.extend(proxy.respond_body(stream, b"", true));
        proxy.close(stream);
        let expected = without_usage(&events()).replace('\n', end);
        assert_eq!(String::from_utf8_lossy(&got), expected);
    }
}

/// Around the event that is taken out, byte by byte; further off there is nothing to get wrong.
fn the_event_is_taken_out_again_wherever_it_is_cut(on: On) {
    let mut proxy = proxy(on, &config(), 1);
    let last = events().split_off(47);
    for end in LINE_ENDS {
        let answer = last.concat().replace('\n', end);
        let expected = without_usage(&last).replace('\n', end);
        for cut in 0..=answer.len() {
            let (start, rest) = answer.as_bytes().split_at(cut);
            let stream = streamed(&mut *proxy, "metered");
            let mut got = proxy.respond_body(stream, start, false);
            got.extend(proxy.respond_body(stream, rest, true));
            proxy.close(stream);
            assert_eq!(String::from_utf8_lossy(&got), expected, "{cut}");
        }
    }
}

fn a_length_that_may_not_be_kept_is_not_announced(on: On) {
    let mut proxy = proxy(on, &config(), 1);
    let kinds = [
        ("text/event-stream", false),
        ("application/json", true),
        ("", true),
    ];
    for (kind, kept) in kinds {
        let (stream, step) = chat(
            &mut *proxy,
            &json!({"model": "metered", "stream": true, "messages": []}),
        );
        step.sent();
        let headers = [("content-type", kind), ("content-length", "7")];
        let got = proxy.respond_with(stream, 200, 1, &headers);
        assert_eq!(got.iter().any(|(name, _)| name == "content-length"), kept);
        proxy.close(stream);
    }
}

fn other_answers_pass_as_they_are(on: On) {
    let mut proxy = proxy(on, &config(), 1);
    let all = events().concat();
    let stream = streamed(&mut *proxy, "other");
    assert_eq!(
        proxy.respond_body(stream, all.as_bytes(), true),
        all.as_bytes()
    );
    proxy.close(stream);

    for (status, headers) in [
        (400, [("content-type", "text/event-stream"), ("x", "y")]),
        (200, [("content-type", "application/json"), ("x", "y")]),
        (
            200,
            [
                ("content-type", "text/event-stream"),
                ("content-encoding", "gzip"),
            ],
        ),
    ] {
        let (stream, step) = chat(
            &mut *proxy,
            &json!({"model": "metered", "stream": true, "messages": []}),
        );
        step.sent();
        proxy.respond_with(stream, status, 1, &headers);
        assert_eq!(
            proxy.respond_body(stream, all.as_bytes(), true),
            all.as_bytes()
        );
        proxy.close(stream);
    }
}

fn what_was_held_back_goes_out_at_the_end(on: On) {
    let mut proxy = proxy(on, &config(), 1);
    let stream = streamed(&mut *proxy, "metered");
    let half = b"data: {\"id\":\"c\",\"choices\":[";
    assert_eq!(proxy.respond_body(stream, half, false), b"");
    assert_eq!(proxy.respond_body(stream, b"", true), half);
    proxy.close(stream);
}

/// The prompt's tokens that the upstream told are learned from, whether the client saw them or not.
fn what_is_taken_out_still_corrects_the_estimate(on: On) {
    let mut config = config();
    config["decision_header"] = json!({"callers": "all"});
    config["pools"][0]["models"] = json!(["m"]);
    config["routes"] = json!([{"stream_usage": true, "pools": ["p"]}]);
    let mut proxy = proxy(on, &config, 1);
    let body = json!({"model": "m", "stream": true, "messages": [{"role": "user", "content": "a plain sentence of words ".repeat(40)}]});
    let mut estimates = Vec::new();
    for _ in 0..200 {
        let (stream, step) = chat(&mut *proxy, &body);
        step.sent();
        let headers = [("content-type", "text/event-stream")];
        let (_, decision) = proxy
            .respond_with(stream, 200, 1, &headers)
            .pop()
            .expect("a decision");
        let input = decision
            .split("input=")
            .nth(1)
            .and_then(|rest| rest.split(',').next());
        let input: u32 = input
            .and_then(|input| input.parse().ok())
            .expect("an estimate");
        estimates.push(input);
        let usage = json!({"choices": [], "usage": {"prompt_tokens": estimates[0] * 2}});
        let event = format!("data: {usage}\n\n");
        assert_eq!(proxy.respond_body(stream, event.as_bytes(), true), b"");
        proxy.close(stream);
    }
    let (first, last) = (estimates[0], estimates[199]);
    assert!(
        (first * 2).abs_diff(last) * 10 <= first * 2,
        "{first}, then {last}"
    );
}

on_both! {
    what_is_taken_out_still_corrects_the_estimate
    usage_is_asked_for_where_the_rule_says_so
    the_event_is_taken_out_again_at_every_event_and_line_end
    the_event_is_taken_out_again_wherever_it_is_cut
    a_length_that_may_not_be_kept_is_not_announced
    other_answers_pass_as_they_are
    what_was_held_back_goes_out_at_the_end
}

fn counted<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Relayed {
    let mut meter = Meter::new(Form::Events);
    pieces.into_iter().for_each(|piece| meter.feed(piece));
    meter.relayed()
}

#[test]
fn every_split_and_line_end_of_fifty_events_counts_the_same() {
    let whole = events().concat();
    let expected = counted([whole.as_bytes()]);
    assert_eq!(
        (expected.output.0, expected.events, expected.finished),
        (48, 50, true)
    );
    for end in LINE_ENDS {
        let answer = whole.replace('\n', end);
        let bytes = answer.as_bytes();
        assert_eq!(counted(bytes.chunks(1)), expected);
        for cut in 0..=bytes.len() {
            let (start, rest) = bytes.split_at(cut);
            assert_eq!(counted([start, rest]), expected, "{end:?} {cut}");
        }
    }
}

/// Wherever a client leaves, what it got has been counted: a token at least for each event with text.
#[test]
fn a_client_that_leaves_after_any_event_has_been_charged_for_all_before() {
    let mut meter = Meter::new(Form::Events);
    let mut before = 0;
    for (relayed, event) in (1..=48).zip(events()) {
        meter.feed(event.as_bytes());
        let output = meter.relayed().output.0;
        assert!(
            output >= relayed && output >= before,
            "{output} of {relayed}"
        );
        before = output;
    }
}
