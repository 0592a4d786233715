//! Where an answer begins: streams that open with pings, with errors, late or never, and tunnels.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::on_both;
use crate::scenario::{On, Proxy, StreamId, chat_bytes, pass, proxy};

const BODY: &[u8] = br#"{"model":"m","stream":true,"messages":[{"role":"user","content":"Why?"}]}"#;
const A: &str = "10.0.0.1:80";
const B: &str = "10.0.0.2:80";
const TOKEN: &[u8] = b"data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Because\"}}]}\n\n";
const DONE: &[u8] = b"data: [DONE]\n\n";

fn config(algorithm: &str, retry: Value) -> Value {
    json!({
        "pools": [{
            "name": "p", "endpoints": [{"address": A}, {"address": B}],
            "balance": {"algorithm": algorithm},
            "health": {"check": {"enabled": false}}, "load": {"weights": false},
        }],
        "routes": [{"pools": ["p"], "retry": retry}],
    })
}

fn trips(proxy: &dyn Proxy, endpoint: &str) -> i64 {
    proxy.metric(&format!("junheng.endpoint.p.{endpoint}.trips"))
}

fn requests(proxy: &mut dyn Proxy, class: &str) -> i64 {
    pass(proxy, [0], Duration::from_millis(50));
    proxy.metric(&format!("junheng.pool.p.requests_{class}"))
}

fn waiting(proxy: &dyn Proxy) -> bool {
    [A, B].iter().any(|endpoint| {
        let gauge = format!("junheng.endpoint.p.{endpoint}.waiting_tokens");
        proxy.metric(&gauge) > 0
    })
}

/// A request whose stream has sent its headers; its endpoint.
fn open(proxy: &mut dyn Proxy) -> (StreamId, String) {
    open_with(
        proxy,
        &[("content-type", "text/event-stream; charset=utf-8")],
    )
}

fn open_with(proxy: &mut dyn Proxy, headers: &[(&str, &str)]) -> (StreamId, String) {
    let (stream, step) = chat_bytes(proxy, 0, BODY);
    let endpoint = step.sent().endpoint().to_owned();
    proxy.respond_with(stream, 200, 1, headers);
    (stream, endpoint)
}

fn finish(proxy: &mut dyn Proxy, stream: StreamId, events: &[&[u8]]) {
    for event in events {
        assert_eq!(proxy.respond_body(stream, event, false), *event);
    }
    proxy.respond_body(stream, b"", true);
    proxy.close(stream);
}

/// How an endpoint's failure looks in each dialect, after what each sends before it knows.
const ERRORS: [&str; 8] = [
    "data: {\"error\":{\"object\":\"error\",\"message\":\"EngineCore died\",\"type\":\"InternalServerError\",\"code\":500}}\n\n",
    "data: {\"error\":{\"message\":\"The server had an error\",\"type\":\"server_error\",\"code\":null}}\n\n",
    "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\ndata: {\"error\":\"boom\"}\n\n",
    "error: {\"code\":500,\"message\":\"boom\",\"type\":\"server_error\"}\n\n",
    ": ping\n\ndata: {\"error\":\"boom\",\"error_type\":\"generation\"}\n\n",
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{}}\n\nevent: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"boom\"}}\n\n",
    "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"error\":null}}\n\nevent: response.failed\ndata: {\"type\":\"response.failed\",\"response\":{\"error\":{\"code\":\"server_error\",\"message\":\"boom\"}}}\n\n",
    "event: error\ndata: {\"type\":\"error\",\"code\":\"server_error\",\"message\":\"boom\"}\n\n",
];

fn an_endpoint_that_opens_its_streams_with_errors_trips_in_every_dialect(on: On) {
    for error in ERRORS {
        let mut proxy = proxy(on, &config("round_robin", json!({})), 1);
        let mut counts: BTreeMap<String, u32> = BTreeMap::new();
        for _ in 0..240 {
            let (stream, endpoint) = open(&mut *proxy);
            let events: &[&[u8]] = match endpoint == A {
                true => &[error.as_bytes(), DONE],
                false => &[TOKEN, DONE],
            };
            finish(&mut *proxy, stream, events);
            *counts.entry(endpoint).or_default() += 1;
        }
        assert_eq!((trips(&*proxy, A), trips(&*proxy, B)), (1, 0), "{error}");
        assert!(counts[B] >= 220, "{error}: {counts:?}");
        assert_eq!(
            requests(&mut *proxy, "5xx"),
            i64::from(counts[A]),
            "{error}"
        );
        assert_eq!(requests(&mut *proxy, "ok"), i64::from(counts[B]), "{error}");
    }
}

fn an_error_that_is_the_callers_is_an_answer(on: On) {
    for error in [
        "data: {\"error\":{\"message\":\"too long\",\"type\":\"BadRequestError\",\"code\":400}}\n\n",
        "data: {\"error\":{\"message\":\"too long\",\"type\":\"invalid_request_error\",\"code\":\"context_length_exceeded\"}}\n\n",
        "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"request_too_large\",\"message\":\"boom\"}}\n\n",
        "data: {\"type\":\"response.failed\",\"response\":{\"error\":{\"code\":\"invalid_prompt\"}}}\n\n",
    ] {
        let mut proxy = proxy(on, &config("round_robin", json!({})), 1);
        for _ in 0..50 {
            let (stream, _) = open(&mut *proxy);
            finish(&mut *proxy, stream, &[error.as_bytes(), DONE]);
        }
        assert_eq!((trips(&*proxy, A), trips(&*proxy, B)), (0, 0), "{error}");
        assert_eq!(requests(&mut *proxy, "4xx"), 50, "{error}");
    }
}

fn an_overloaded_error_is_overload_and_no_failure(on: On) {
    let error =
        b"event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\"}}\n\n";
    let mut proxy = proxy(on, &config("round_robin", json!({})), 1);
    for _ in 0..50 {
        let (stream, endpoint) = open(&mut *proxy);
        let event = if endpoint == A { &error[..] } else { TOKEN };
        finish(&mut *proxy, stream, &[event]);
    }
    assert_eq!((trips(&*proxy, A), trips(&*proxy, B)), (0, 0));
    let overloaded = requests(&mut *proxy, "5xx");
    assert!((1..=25).contains(&overloaded), "{overloaded}");
}

/// What comes after the answer's first data is the client's to see.
fn an_error_behind_the_first_token_breaks_off_an_answer(on: On) {
    let mut proxy = proxy(on, &config("round_robin", json!({})), 1);
    for _ in 0..20 {
        let (stream, _) = open(&mut *proxy);
        finish(&mut *proxy, stream, &[TOKEN, ERRORS[0].as_bytes()]);
    }
    assert_eq!((trips(&*proxy, A), trips(&*proxy, B)), (0, 0));
    assert_eq!(requests(&mut *proxy, "ok"), 20);
}

fn an_answer_begins_with_its_first_data_however_it_is_cut(on: On) {
    let mut proxy = proxy(on, &config("round_robin", json!({})), 1);
    let preambles: [&[u8]; 5] = [
        b": ping\r\n\r\n",
        b"event: ping\ndata: {\"type\":\"ping\"}\n\n",
        b"event: message_start\rdata: {\"type\":\"message_start\"}\r\r",
        b"data: {\"choices\":[],\"prompt_filter_results\":[]}\n\n",
        b"data: {\"type\":\"response.in_progress\"}\n\n",
    ];
    for (number, preamble) in preambles.into_iter().enumerate() {
        let begun = |proxy: &mut dyn Proxy| {
            proxy.tick(0);
            (!waiting(proxy), proxy.metric("junheng.pool.p.ttft_ms"))
        };
        let (before, after) = ((false, number as i64), (true, number as i64 + 1));
        let (stream, _) = open(&mut *proxy);
        for byte in preamble {
            proxy.respond_body(stream, &[*byte], false);
            assert_eq!(begun(&mut *proxy), before);
        }
        let (start, last) = TOKEN.split_at(TOKEN.len() - 1);
        proxy.respond_body(stream, start, false);
        assert_eq!(begun(&mut *proxy), before);
        proxy.respond_body(stream, last, false);
        assert_eq!(begun(&mut *proxy), after);
        finish(&mut *proxy, stream, &[DONE]);
        assert_eq!(begun(&mut *proxy), after);
    }
}

/// Nothing is read of them.
fn an_answer_that_is_no_stream_begins_with_its_first_byte(on: On) {
    let mut proxy = proxy(on, &config("round_robin", json!({})), 1);
    let error = ERRORS[0].as_bytes();
    for headers in [
        &[("content-type", "application/json")][..],
        &[
            ("content-type", "text/event-stream"),
            ("content-encoding", "gzip"),
        ],
        &[],
    ] {
        for _ in 0..10 {
            let (stream, _) = open_with(&mut *proxy, headers);
            assert!(waiting(&*proxy));
            proxy.respond_body(stream, &error[..1], false);
            proxy.tick(0);
            assert!(!waiting(&*proxy));
            finish(&mut *proxy, stream, &[&error[1..]]);
        }
    }
    assert_eq!((trips(&*proxy, A), trips(&*proxy, B)), (0, 0));
    assert_eq!(requests(&mut *proxy, "ok"), 30);
}

/// One endpoint pings at once and has its first token after two seconds, the other after 100 ms.
fn a_ping_is_not_taken_for_the_first_token(on: On) {
    let role = "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\"}}]}\n\n";
    for ping in [
        ": ping\n\n",
        "event: ping\ndata: {\"type\":\"ping\"}\n\n",
        role,
    ] {
        let mut proxy = proxy(on, &config("response_time", json!({})), 1);
        let mut pending: Vec<(StreamId, u32)> = Vec::new();
        let mut counts: BTreeMap<String, u32> = BTreeMap::new();
        for tick in 0..1200u32 {
            pass(&mut *proxy, [0], Duration::from_millis(50));
            let due = pending.extract_if(.., |(_, due)| *due <= tick);
            for (stream, _) in due.collect::<Vec<_>>() {
                finish(&mut *proxy, stream, &[TOKEN, DONE]);
            }
            if tick % 4 == 0 {
                let (stream, endpoint) = open(&mut *proxy);
                let takes = if endpoint == A { 40 } else { 2 };
                if endpoint == A {
                    proxy.respond_body(stream, ping.as_bytes(), false);
                }
                pending.push((stream, tick + takes));
                *counts.entry(endpoint).or_default() += 1;
            }
        }
        assert!(counts[A] * 5 < counts[B], "{ping}: {counts:?}");
    }
}

fn a_stream_that_has_not_begun_in_time_is_a_failure_for_the_next_requests(on: On) {
    let mut proxy = proxy(on, &config("round_robin", json!({"first_byte": "10s"})), 1);
    let (mut late, mut answered) = (Vec::new(), 0);
    while late.len() < 5 {
        let (stream, endpoint) = open(&mut *proxy);
        proxy.respond_body(stream, b": ping\n\n", false);
        match endpoint == A {
            true => late.push(stream),
            false => finish(&mut *proxy, stream, &[TOKEN, DONE]),
        }
        answered += 1;
    }
    pass(&mut *proxy, [0], Duration::from_millis(9_950));
    assert_eq!(trips(&*proxy, A), 0);
    pass(&mut *proxy, [0], Duration::from_millis(100));
    assert_eq!((trips(&*proxy, A), trips(&*proxy, B)), (1, 0));
    for _ in 0..20 {
        let (stream, endpoint) = open(&mut *proxy);
        assert_eq!(endpoint, B);
        finish(&mut *proxy, stream, &[TOKEN, DONE]);
    }
    // The requests themselves go on, and are judged no second time.
    for stream in late {
        finish(&mut *proxy, stream, &[TOKEN, DONE]);
    }
    pass(&mut *proxy, [0], Duration::from_secs(11));
    assert_eq!((trips(&*proxy, A), trips(&*proxy, B)), (1, 0));
    assert_eq!(requests(&mut *proxy, "ok"), answered + 20);
}

/// It may be the request: the first endpoint failed it, too.
fn a_stream_that_is_late_after_a_retry_says_nothing(on: On) {
    let mut proxy = proxy(on, &config("round_robin", json!({"first_byte": "10s"})), 1);
    for _ in 0..20 {
        let (stream, _) = chat_bytes(&mut *proxy, 0, BODY);
        let events = [("content-type", "text/event-stream")];
        proxy.respond_with(stream, 200, 2, &events);
        proxy.respond_body(stream, b": ping\n\n", false);
    }
    // The first attempts are another matter: the endpoint that is late serves nothing else.
    let before = (trips(&*proxy, A), trips(&*proxy, B));
    pass(&mut *proxy, [0], Duration::from_secs(11));
    assert_eq!((trips(&*proxy, A), trips(&*proxy, B)), before);
}

/// They began in time, their clients left, they are no streams, or their route has no bound.
fn streams_that_are_not_awaited_are_not_overdue(on: On) {
    let bounded = json!({"first_byte": "10s"});
    let events = ("content-type", "text/event-stream");
    let json = ("content-type", "application/json");
    type Act = fn(&mut dyn Proxy, StreamId);
    let cases: [(Value, (&str, &str), Act); 4] = [
        (bounded.clone(), events, |proxy, stream| {
            drop(proxy.respond_body(stream, TOKEN, false))
        }),
        (bounded.clone(), events, |proxy, stream| proxy.close(stream)),
        (bounded, json, |_, _| ()),
        (json!({}), events, |_, _| ()),
    ];
    for (retry, kind, act) in cases {
        let mut proxy = proxy(on, &config("round_robin", retry), 1);
        for _ in 0..20 {
            let (stream, _) = open_with(&mut *proxy, &[kind]);
            act(&mut *proxy, stream);
        }
        pass(&mut *proxy, [0], Duration::from_secs(11));
        assert_eq!((trips(&*proxy, A), trips(&*proxy, B)), (0, 0));
    }
}

/// A session's headers, and the status that opens it.
fn sessions() -> [(Vec<(&'static str, &'static str)>, u16); 2] {
    let websocket = vec![
        (":method", "GET"),
        (":path", "/v1/realtime?model=m"),
        (":authority", "test"),
        ("upgrade", "websocket"),
    ];
    let connect = vec![
        (":method", "CONNECT"),
        (":path", "/"),
        (":authority", "test"),
    ];
    [(websocket, 101), (connect, 200)]
}

fn a_tunnel_is_good_at_its_headers_whoever_closes_it(on: On) {
    for (headers, status) in sessions() {
        let mut proxy = proxy(on, &config("round_robin", json!({})), 1);
        for session in 0..20 {
            let (stream, step) = proxy.open(0, &headers, false);
            let endpoint = step.sent().endpoint().to_owned();
            proxy.respond(stream, status, 1);
            let answered = proxy.metric(&format!("junheng.endpoint.p.{endpoint}.answered"));
            assert_eq!(answered, session / 2 + 1);
            proxy.respond_body(stream, b"\x81\x05hello", false);
            match session % 4 < 2 {
                true => proxy.close(stream),
                false => proxy.lose(stream),
            }
        }
        assert_eq!((trips(&*proxy, A), trips(&*proxy, B)), (0, 0));
        assert_eq!(requests(&mut *proxy, "ok"), 20);
        assert_eq!(requests(&mut *proxy, "cut"), 0);
    }
}

fn only_a_request_that_asked_for_a_tunnel_gets_one(on: On) {
    let mut document = config("round_robin", json!({}));
    document["pools"][0]["health"]["breaker"] = json!({"enabled": false});
    let mut proxy = proxy(on, &document, 1);
    for (headers, _) in sessions() {
        let (stream, step) = proxy.open(0, &headers, false);
        step.sent();
        proxy.respond(stream, 502, 1);
        proxy.close(stream);
    }
    let (stream, _) = chat_bytes(&mut *proxy, 0, BODY);
    proxy.respond(stream, 200, 1);
    proxy.close(stream);
    assert_eq!(requests(&mut *proxy, "5xx"), 2);
    assert_eq!(requests(&mut *proxy, "cut"), 1);
    assert_eq!(requests(&mut *proxy, "ok"), 0);
}

on_both! {
    an_endpoint_that_opens_its_streams_with_errors_trips_in_every_dialect
    an_error_that_is_the_callers_is_an_answer
    an_overloaded_error_is_overload_and_no_failure
    an_error_behind_the_first_token_breaks_off_an_answer
    an_answer_begins_with_its_first_data_however_it_is_cut
    an_answer_that_is_no_stream_begins_with_its_first_byte
    a_ping_is_not_taken_for_the_first_token
    a_stream_that_has_not_begun_in_time_is_a_failure_for_the_next_requests
    a_stream_that_is_late_after_a_retry_says_nothing
    streams_that_are_not_awaited_are_not_overdue
    a_tunnel_is_good_at_its_headers_whoever_closes_it
    only_a_request_that_asked_for_a_tunnel_gets_one
}
