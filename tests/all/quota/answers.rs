//! What an answer costs: by what it says of itself, by what was relayed of it, or as it was reserved; and where it is cut.

use std::time::Duration;

use serde_json::json;

use super::{INPUT, ask, config, is_sent, left, number, tokens};
use crate::on_both;
use crate::scenario::{On, Step, pass, post, proxy};

on_both! {
    a_stream_with_a_declared_bound_is_the_servers_to_end
    each_of_several_answers_has_the_bound
    several_answers_that_are_left_before_their_usage_are_charged_what_was_relayed_of_all
    an_embedding_is_charged_as_it_says
    an_empty_prompt_is_metered_like_any_other
    what_an_endpoint_fails_costs_a_request_and_what_it_puts_off_nothing
    a_stream_cut_at_any_event_is_charged_what_was_relayed
    more_than_was_reserved_is_charged_while_it_passes
    a_stream_is_cut_where_its_limit_says_so
    an_answer_that_does_not_tell_its_usage_is_charged_by_estimate_and_counted
    an_answer_that_cannot_be_read_is_charged_as_it_was_reserved
    a_client_that_leaves_before_the_answer_pays_for_its_input
}

fn what_an_endpoint_fails_costs_a_request_and_what_it_puts_off_nothing(on: On) {
    let quotas = json!([{"name": "team", "tokens": {"limit": 1000, "per": "1h"}, "requests": {"limit": 6, "per": "1h"}}]);
    let proxy = &mut *proxy(on, &config(quotas), 1);
    for status in [400, 404, 500, 502, 429, 503, 529, 503] {
        let (stream, step) = ask(proxy, 0, &[], 994);
        assert!(is_sent(&step), "{status}");
        proxy.respond(stream, status, 1);
        proxy.respond_body(stream, b"{}", true);
        proxy.close(stream);
        // It rests after 503 and 529.
        pass(proxy, 0..1, Duration::from_secs(1));
    }
    // No endpoint of the list could be reached.
    let (stream, _) = ask(proxy, 0, &[], 994);
    proxy.respond_for(stream, 503, 3);
    proxy.close(stream);
    let (stream, step) = ask(proxy, 0, &[], 994);
    assert!(is_sent(&step));
    let told = proxy.respond_with(stream, 200, 1, &[]);
    assert_eq!(number(&told, "x-ratelimit-remaining-requests"), 1);
    assert_eq!(number(&told, "x-ratelimit-remaining-tokens"), 0);
}

fn event(text: &str) -> String {
    format!(
        "data: {}\n\n",
        json!({"object": "chat.completion.chunk", "choices": [{"index": 0, "delta": {"content": text}}]})
    )
}

fn a_stream_cut_at_any_event_is_charged_what_was_relayed(on: On) {
    let proxy = &mut *proxy(on, &config(tokens(1_000_000)), 1);
    for cut in 0..=50 {
        let before = left(proxy);
        let (stream, step) = ask(proxy, 0, &[], 200);
        assert!(is_sent(&step));
        proxy.respond_with(stream, 200, 1, &[("content-type", "text/event-stream")]);
        for _ in 0..cut {
            proxy.respond_body(stream, event(" token").as_bytes(), false);
        }
        proxy.close(stream);
        let charged = before - left(proxy);
        assert!(charged >= INPUT + cut, "{charged} for {cut} events");
        // A pessimist would keep all that was reserved.
        assert!(charged <= INPUT + 2 * cut + 1, "{charged} for {cut} events");
    }
}

fn more_than_was_reserved_is_charged_while_it_passes(on: On) {
    let quotas =
        json!([{"name": "team", "default_output": 10, "tokens": {"limit": 10_000, "per": "1h"}}]);
    let proxy = &mut *proxy(on, &config(quotas), 1);
    let body =
        json!({"model": "m", "messages": [{"role": "user", "content": "hello"}]}).to_string();
    let (stream, _) = proxy.open(0, &post("/v1/chat/completions"), false);
    assert!(is_sent(&proxy.body(stream, body.as_bytes(), true)));
    assert_eq!(left(proxy), 10_000 - INPUT - 10);
    proxy.respond_with(stream, 200, 1, &[("content-type", "text/event-stream")]);
    for _ in 0..500 {
        proxy.respond_body(stream, event(" token").as_bytes(), false);
    }
    assert!(left(proxy) <= 10_000 - 506, "while it passes");
    let usage = json!({"choices": [], "usage": {"prompt_tokens": 6, "completion_tokens": 501}});
    proxy.respond_body(
        stream,
        format!("data: {usage}\n\ndata: [DONE]\n\n").as_bytes(),
        true,
    );
    proxy.close(stream);
    assert_eq!(left(proxy), 10_000 - 507);
}

fn a_stream_with_a_declared_bound_is_the_servers_to_end(on: On) {
    let quotas =
        json!([{"name": "team", "cut_streams": true, "tokens": {"limit": 1000, "per": "1h"}}]);
    let proxy = &mut *proxy(on, &config(quotas), 1);
    let body = json!({"model": "m", "stream": true, "max_tokens": 5, "messages": []});
    let (stream, _) = proxy.open(0, &post("/v1/chat/completions"), false);
    let step = proxy.body(stream, body.to_string().as_bytes(), true);
    assert!(is_sent(&step), "{step:?}");
    proxy.respond_with(stream, 200, 1, &[("content-type", "text/event-stream")]);
    // Five tokens there, more by our estimate.
    let events = [
        event(" incomprehensibilities"),
        "data: [DONE]\n\n".to_owned(),
    ]
    .concat();
    let relayed = proxy.respond_body(stream, events.as_bytes(), true);
    assert_eq!(relayed, events.as_bytes());
    proxy.close(stream);
}

fn each_of_several_answers_has_the_bound(on: On) {
    for (fields, cost) in [
        (json!({"n": 3, "max_tokens": 10}), 30),
        (json!({"n": 3}), 60),
        (json!({"max_tokens": 0}), 20),
        (json!({"n": 3, "max_completion_tokens": 0}), 60),
        (json!({"n": 0, "max_tokens": 10}), 10),
        (json!({"n": null, "max_tokens": 10}), 10),
        (
            json!({"n": 2, "best_of": 4, "max_tokens": 10, "prompt": ""}),
            40,
        ),
    ] {
        let quotas =
            json!([{"name": "team", "default_output": 20, "tokens": {"limit": 1000, "per": "1h"}}]);
        let proxy = &mut *proxy(on, &config(quotas), 1);
        let mut body = json!({"model": "m"});
        let (fields, body_fields) = (fields.as_object().expect("fields"), &mut body);
        for (name, value) in fields {
            body_fields[name] = value.clone();
        }
        let path = match fields.contains_key("prompt") {
            true => "/v1/completions",
            false => "/v1/chat/completions",
        };
        let (stream, _) = proxy.open(0, &post(path), false);
        let step = proxy.body(stream, body.to_string().as_bytes(), true);
        assert!(is_sent(&step), "{step:?}");
        let left = left(proxy);
        let input = 1000 - cost - left;
        assert!(input <= INPUT, "{body}: {left} left");
    }
}

/// With `continuous_usage_stats` each event tells what its own choice, and its own prompt, has used.
fn several_answers_that_are_left_before_their_usage_are_charged_what_was_relayed_of_all(on: On) {
    let prompt = "some ten words or so ".repeat(8);
    let requests = [
        (
            "/v1/chat/completions",
            json!({"n": 8, "messages": [{"role": "user", "content": prompt}]}),
        ),
        ("/v1/completions", json!({"prompt": vec![&prompt; 8]})),
    ];
    for (path, mut body) in requests {
        for usage in [None, Some((300, 600))] {
            let proxy = &mut *proxy(on, &config(tokens(100_000)), 1);
            (body["model"], body["stream"], body["max_tokens"]) =
                (json!("m"), json!(true), json!(100));
            let (stream, _) = proxy.open(0, &post(path), false);
            assert!(is_sent(&proxy.body(
                stream,
                body.to_string().as_bytes(),
                true
            )));
            let input = 100_000 - 800 - left(proxy);
            proxy.respond_with(stream, 200, 1, &[("content-type", "text/event-stream")]);
            for token in 1..=50 {
                for choice in 0..8 {
                    let event = json!({
                        "choices": [{"index": choice, "text": " token"}],
                        "usage": {"prompt_tokens": 1, "completion_tokens": token},
                    });
                    proxy.respond_body(stream, format!("data: {event}\n\n").as_bytes(), false);
                }
            }
            if let Some((input, output)) = usage {
                let usage = json!({"prompt_tokens": input, "completion_tokens": output});
                let event = json!({"choices": [], "usage": usage});
                proxy.respond_body(stream, format!("data: {event}\n\n").as_bytes(), false);
            }
            proxy.close(stream);
            let charged = 100_000 - left(proxy);
            match usage {
                None => assert!(
                    charged >= input + 400,
                    "{path}: {charged}, {input} of input"
                ),
                Some((input, output)) => assert_eq!(charged, input + output),
            }
        }
    }
}

/// Embeddings tell what they used, which has no output.
fn an_embedding_is_charged_as_it_says(on: On) {
    let proxy = &mut *proxy(on, &config(tokens(10_000)), 1);
    let body = json!({"model": "m", "input": "some text"});
    let (stream, _) = proxy.open(0, &post("/v1/embeddings"), false);
    let step = proxy.body(stream, body.to_string().as_bytes(), true);
    assert!(is_sent(&step), "{step:?}");
    proxy.respond_with(stream, 200, 1, &[("content-type", "application/json")]);
    let answer = json!({
        "data": [{"embedding": [0.5], "text": "some text"}],
        "usage": {"prompt_tokens": 7, "total_tokens": 7},
    });
    proxy.respond_body(stream, answer.to_string().as_bytes(), true);
    proxy.close(stream);
    assert_eq!(left(proxy), 10_000 - 7);
    pass(proxy, 0..1, Duration::from_millis(50));
    assert_eq!(proxy.metric("junheng.quota.team.estimated"), 0);
}

fn a_stream_is_cut_where_its_limit_says_so(on: On) {
    let quotas = json!([{"name": "team", "default_output": 20, "cut_streams": true, "tokens": {"limit": 1000, "per": "1h"}}]);
    let body =
        json!({"model": "m", "stream": true, "messages": [{"role": "user", "content": "hello"}]});
    let usage = json!({"choices": [], "usage": {"prompt_tokens": INPUT, "completion_tokens": 45}});
    let usage = format!("data: {usage}\n\ndata: [DONE]\n\n");
    // Who leaves at the end that was given stops the server; who stays has it go on, and pays for that.
    for (stays, end, charges) in [
        (false, "", INPUT + 20..=INPUT + 22),
        (true, "", INPUT + 50..=INPUT + 100),
        (true, &usage, INPUT + 45..=INPUT + 45),
    ] {
        let proxy = &mut *proxy(on, &config(quotas.clone()), 1);
        let (stream, _) = proxy.open(0, &post("/v1/chat/completions"), false);
        let step = proxy.body(stream, body.to_string().as_bytes(), true);
        assert!(is_sent(&step), "{step:?}");
        proxy.respond_with(stream, 200, 1, &[("content-type", "text/event-stream")]);
        let mut relayed = String::new();
        for _ in 0..50 {
            let event = proxy.respond_body(stream, event(" token").as_bytes(), false);
            relayed += std::str::from_utf8(&event).expect("UTF-8");
            if !stays && relayed.ends_with("data: [DONE]\n\n") {
                break;
            }
        }
        assert_eq!(proxy.respond_body(stream, end.as_bytes(), true), b"");
        proxy.close(stream);
        assert!(
            relayed.contains("\"finish_reason\":\"length\"")
                && relayed.ends_with("data: [DONE]\n\n")
                && relayed.matches(" token").count() <= 20,
            "{relayed}"
        );
        let charged = 1000 - left(proxy);
        assert!(charges.contains(&charged), "{charged}, not {charges:?}");
    }
}

/// Its input is estimated at no token, and its output counts all the same.
fn an_empty_prompt_is_metered_like_any_other(on: On) {
    let proxy = &mut *proxy(on, &config(tokens(10_000)), 1);
    let body = json!({"model": "m", "max_tokens": 5, "stream": true, "prompt": ""});
    let (stream, step) = proxy.open(0, &post("/v1/completions"), false);
    assert_eq!(step, Step::Held);
    let step = proxy.body(stream, body.to_string().as_bytes(), true);
    assert!(is_sent(&step), "{step:?}");
    proxy.respond_with(stream, 200, 1, &[("content-type", "text/event-stream")]);
    let usage = json!({"choices": [], "usage": {"prompt_tokens": 0, "completion_tokens": 700}});
    let events = format!("data: {usage}\n\ndata: [DONE]\n\n");
    proxy.respond_body(stream, events.as_bytes(), true);
    proxy.close(stream);
    assert_eq!(left(proxy), 10_000 - 700);
}

fn an_answer_that_does_not_tell_its_usage_is_charged_by_estimate_and_counted(on: On) {
    let proxy = &mut *proxy(on, &config(tokens(10_000)), 1);
    let (stream, _) = ask(proxy, 0, &[], 100);
    proxy.respond_with(stream, 200, 1, &[("content-type", "application/json")]);
    let body = json!({"choices": [{"message": {"content": "four words or so"}}]});
    proxy.respond_body(stream, body.to_string().as_bytes(), true);
    proxy.close(stream);
    let charged = 10_000 - left(proxy);
    assert!((INPUT + 3..INPUT + 8).contains(&charged), "{charged}");
    pass(proxy, 0..1, Duration::from_millis(50));
    assert_eq!(proxy.metric("junheng.quota.team.estimated"), 1);
}

fn an_answer_that_cannot_be_read_is_charged_as_it_was_reserved(on: On) {
    let proxy = &mut *proxy(on, &config(tokens(10_000)), 1);
    let (stream, _) = ask(proxy, 0, &[], 100);
    let headers = [
        ("content-type", "application/json"),
        ("content-encoding", "gzip"),
    ];
    proxy.respond_with(stream, 200, 1, &headers);
    proxy.respond_body(stream, b"\x1f\x8b", true);
    proxy.close(stream);
    assert_eq!(left(proxy), 10_000 - INPUT - 100);
}

fn a_client_that_leaves_before_the_answer_pays_for_its_input(on: On) {
    let proxy = &mut *proxy(on, &config(tokens(10_000)), 1);
    let (stream, _) = ask(proxy, 0, &[], 100);
    proxy.close(stream);
    assert_eq!(left(proxy), 10_000 - INPUT);
}
