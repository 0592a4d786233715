//! Prompt lengths: estimated from the text, then corrected by what responses report.

use serde_json::{Value, json};

use crate::on_both;
use crate::scenario::{On, Proxy, StreamId, chat, post, proxy};

fn config() -> Value {
    json!({
        "pools": [{"name": "p", "models": ["m", "n"], "endpoints": [{"address": "10.0.0.1:80"}]}],
        "routes": [{"pools": ["p"]}],
        "decision_header": {"callers": "all"}
    })
}

fn ask(proxy: &mut dyn Proxy, model: &str) -> (StreamId, u32) {
    let body = json!({"model": model, "messages": [{"role": "user", "content": "a plain sentence of words ".repeat(40)}]});
    let (stream, step) = chat(proxy, &body);
    step.sent();
    let decision = proxy.respond(stream, 200, 1).remove(0).1;
    let input = decision
        .split("input=")
        .nth(1)
        .and_then(|rest| rest.split(',').next())
        .expect("an estimate");
    (stream, input.parse().expect("a number"))
}

fn an_estimate_approaches_what_the_model_reports_and_for_that_model_only(on: On) {
    let mut proxy = proxy(on, &config(), 1);
    let (stream, first) = ask(&mut *proxy, "m");
    proxy.close(stream);
    let truth = first * 2;
    for round in 0..200 {
        let (stream, _) = ask(&mut *proxy, "m");
        let usage =
            format!(r#"{{"choices":[],"usage":{{"prompt_tokens":{truth},"total_tokens":1}}}}"#);
        // The report comes in pieces, wherever they end.
        let (start, rest) = usage.split_at(round % usage.len());
        proxy.respond_body(stream, start.as_bytes(), false);
        proxy.respond_body(stream, rest.as_bytes(), true);
        proxy.close(stream);
    }
    let (_, corrected) = ask(&mut *proxy, "m");
    assert!(
        corrected.abs_diff(truth) * 10 <= truth,
        "{corrected} is not within 10 % of {truth}"
    );
    assert_eq!(
        ask(&mut *proxy, "n").1,
        first,
        "another model has another tokenizer"
    );
}

/// What an image is worth depends on the model and says nothing of text.
fn prompts_with_images_teach_nothing(on: On) {
    let mut proxy = proxy(on, &config(), 1);
    let (_, first) = ask(&mut *proxy, "m");
    for _ in 0..50 {
        let image =
            json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}});
        let body = json!({"model": "m", "messages": [{"role": "user", "content": [image]}]});
        let (stream, step) = chat(&mut *proxy, &body);
        step.sent();
        proxy.respond(stream, 200, 1);
        proxy.respond_body(stream, br#"{"usage":{"prompt_tokens":80}}"#, true);
        proxy.close(stream);
    }
    assert_eq!(ask(&mut *proxy, "m").1, first);
}

/// What a caller has made an endpoint tell of a part of its prompts would be every caller's correction.
fn answers_that_break_off_and_streams_of_several_prompts_teach_nothing(on: On) {
    let mut proxy = proxy(on, &config(), 1);
    let (_, first) = ask(&mut *proxy, "m");
    let usage =
        json!({"choices": [{"index": 0, "text": "a"}], "usage": {"prompt_tokens": first * 3}});
    let event = format!("data: {usage}\n\n");
    for _ in 0..50 {
        let (stream, _) = ask(&mut *proxy, "m");
        proxy.respond_body(stream, event.as_bytes(), false);
        proxy.close(stream);
    }
    assert_eq!(ask(&mut *proxy, "m").1, first, "broken off");
    let prompt = "a plain sentence of words ".repeat(40);
    let body = json!({"model": "m", "stream": true, "prompt": [prompt, "b"]}).to_string();
    for _ in 0..50 {
        let (stream, _) = proxy.open(0, &post("/v1/completions"), false);
        proxy.body(stream, body.as_bytes(), true).sent();
        proxy.respond(stream, 200, 1);
        proxy.respond_body(stream, event.as_bytes(), true);
        proxy.close(stream);
    }
    assert_eq!(ask(&mut *proxy, "m").1, first, "of several prompts");
}

on_both! {
    answers_that_break_off_and_streams_of_several_prompts_teach_nothing
    prompts_with_images_teach_nothing
    an_estimate_approaches_what_the_model_reports_and_for_that_model_only
}
