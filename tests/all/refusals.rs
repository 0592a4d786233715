//! Bodies that have no meaning, or more than one: each its 4xx, none forwarded.

use serde_json::{Value, json};

use crate::on_both;
use crate::scenario::{On, Refused, Step, chat_bytes, post, proxy};

fn config() -> Value {
    json!({
        "pools": [{"name": "all", "endpoints": [{"address": "10.0.0.1:80"}]}],
        "routes": [{"pools": ["all"]}],
        "limits": {"body_bytes": 65536}
    })
}

fn refused(on: On, body: &[u8]) -> Refused {
    let mut proxy = proxy(on, &config(), 1);
    let refused = chat_bytes(&mut *proxy, 0, body).1.refused();
    proxy.tick(0);
    assert_eq!(
        proxy.metric(&format!("junheng.refused.{}", refused.error("code"))),
        1
    );
    assert_eq!(
        proxy.metric("junheng.endpoint.all.10.0.0.1:80.in_flight"),
        0
    );
    refused
}

fn each_body_without_one_meaning_is_its_own_400(on: On) {
    let nested = |depth: usize| {
        let inner = "[".repeat(depth - 1) + &"]".repeat(depth - 1);
        format!(r#"{{"model":"m","messages":[],"x":{inner}}}"#).into_bytes()
    };
    let utf16: Vec<u8> = [0xff, 0xfe]
        .into_iter()
        .chain(r#"{"model":"m"}"#.encode_utf16().flat_map(u16::to_le_bytes))
        .collect();
    let cases: [(&[u8], &str, &str); 16] = [
        (b"", "empty_body", ""),
        (
            br#"{"model":"a","messages":[],"model":"b"}"#,
            "duplicate_parameter",
            "model",
        ),
        (
            br#"{"model":"a","messages":[],"mod\u0065l":"a"}"#,
            "duplicate_parameter",
            "model",
        ),
        (
            b"\xef\xbb\xbf{\"model\":\"m\",\"messages\":[]}",
            "byte_order_mark",
            "",
        ),
        (&utf16, "byte_order_mark", ""),
        (
            b"{\"model\":\"m\",\"messages\":[],\"x\":\"\xc3\x28\"}",
            "invalid_utf8",
            "",
        ),
        (&nested(65), "nesting_too_deep", ""),
        (br#"{"model":"m","messages":[]} {}"#, "trailing_data", ""),
        (
            br#"{"model":"m","messages":[],"max_tokens":-1}"#,
            "invalid_value",
            "max_tokens",
        ),
        (
            br#"{"model":"m","messages":[],"max_tokens":1e400}"#,
            "invalid_value",
            "max_tokens",
        ),
        (
            br#"{"model":"m","messages":[],"x":1e400}"#,
            "number_out_of_range",
            "",
        ),
        (br#"{"model":"m","messages":[]"#, "invalid_json", ""),
        (br#"{"model":7,"messages":[]}"#, "invalid_type", "model"),
        (br#"{"messages":[]}"#, "missing_required_parameter", "model"),
        (br#"[]"#, "invalid_json", ""),
        (
            br#"{"model":"m","messages":[],"stream":"yes"}"#,
            "invalid_type",
            "stream",
        ),
    ];
    for (body, code, param) in cases {
        let refused = refused(on, body);
        let told = (
            refused.status,
            refused.error("code"),
            refused.error("param"),
            refused.error("type"),
        );
        assert_eq!(
            told,
            (400, code, param, "invalid_request_error"),
            "{}",
            String::from_utf8_lossy(body)
        );
        assert!(!refused.error("message").is_empty());
    }
    let mut proxy = proxy(on, &config(), 1);
    chat_bytes(&mut *proxy, 0, &nested(64)).1.sent();
}

fn a_body_over_the_limit_is_413_however_it_comes(on: On) {
    let mut proxy = proxy(on, &config(), 1);
    let mut declared = post("/v1/chat/completions");
    declared.push(("content-length", "65537"));
    assert_eq!(proxy.open(0, &declared, false).1.refused().status, 413);

    let (stream, _) = proxy.open(0, &post("/v1/chat/completions"), false);
    proxy.body(stream, &[b' '; 65_536], false);
    assert_eq!(proxy.body(stream, b" ", false).refused().status, 413);

    let (_, step) = chat_bytes(&mut *proxy, 0, &[b' '; 65_537]);
    assert_eq!(step.refused().error("code"), "request_too_large");
    proxy.tick(0);
    assert_eq!(proxy.metric("junheng.refused.request_too_large"), 3);
}

fn a_body_that_is_encoded_is_415(on: On) {
    let mut proxy = proxy(on, &config(), 1);
    for (coding, status) in [("gzip", Some(415)), ("identity", None)] {
        let mut headers = post("/v1/chat/completions");
        headers.push(("content-encoding", coding));
        let (_, step) = proxy.open(0, &headers, false);
        match status {
            Some(status) => assert_eq!(step.refused().status, status),
            None => assert_eq!(step, Step::Held),
        }
    }
}

/// Servers decode a path before they route it; what hides behind escapes is read all the same.
fn a_path_is_known_however_it_is_spelled(on: On) {
    let mut proxy = proxy(on, &config(), 1);
    for path in [
        "/v1/chat/completions?a=b",
        "/v1//chat/completions/",
        "/v1/%63hat/completions",
        "/x/y/v1/chat/completions",
    ] {
        let (stream, step) = proxy.open(0, &post(path), false);
        assert_eq!(step, Step::Held, "{path}");
        assert_eq!(
            proxy.body(stream, b"{}", true).refused().error("code"),
            "missing_required_parameter"
        );
    }
}

/// However the others end: each gives back what it held, no more and no less.
fn requests_whose_bodies_do_not_come_leave_room_in_the_vm(on: On) {
    let mut proxy = proxy(on, &config(), 1);
    let filler = "x".repeat(8000);
    let mut headers = post("/v1/chat/completions");
    headers.push(("x-filler", &filler));
    let mut held = Vec::new();
    let refused = loop {
        match proxy.open(0, &headers, false) {
            (stream, Step::Held) => held.push(stream),
            (_, step) => break step.refused(),
        }
        assert!(held.len() < 9000, "no end");
    };
    assert!(held.len() > 8000, "{}", held.len());
    let told = (
        refused.status,
        refused.error("code"),
        refused.retry_after.as_deref(),
    );
    assert_eq!(told, (503, "too_many_requests_held", Some("1")));
    let good = br#"{"model":"m","messages":[]}"#;
    for way in 0..6 {
        let stream = held.pop().expect("a stream");
        match way {
            0 => proxy.close(stream),
            1 => _ = proxy.body(stream, good, true).sent(),
            2 => _ = proxy.body(stream, b"", true).refused(),
            3 => _ = proxy.body(stream, &[b' '; 65_537], false).refused(),
            4 => _ = proxy.body(stream, &[b' '; 65_537], true).refused(),
            _ => {
                proxy.body(stream, good, false);
                proxy.trailers(stream).sent();
            }
        }
        let (next, step) = proxy.open(0, &headers, false);
        assert_eq!(step, Step::Held, "{way}");
        let (_, step) = proxy.open(0, &headers, false);
        assert_eq!(step.refused().status, 503, "{way}");
        if way > 0 {
            proxy.close(stream);
        }
        let (_, step) = proxy.open(0, &headers, false);
        assert_eq!(step.refused().status, 503, "{way}, and closed");
        held.push(next);
    }
}

on_both! {
    requests_whose_bodies_do_not_come_leave_room_in_the_vm
    each_body_without_one_meaning_is_its_own_400
    a_body_over_the_limit_is_413_however_it_comes
    a_body_that_is_encoded_is_415
    a_path_is_known_however_it_is_spelled
}
