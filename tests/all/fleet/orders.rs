//! Orders that concern some requests only, and answers that begin well and end badly.

use std::time::Duration;

use harness::fleet::{
    Caller, EndpointSpec, LIMITED_TENANT, Opening, Order, POISON, Speed, TENANT_HEADER,
    json_request,
};
use http::StatusCode;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::{instant, one};

#[tokio::test]
async fn poison_fails_the_requests_that_hold_it_and_no_other() {
    let (fleet, caller) = one(instant());
    let endpoint = fleet.endpoint(0);
    for status in [500, 501] {
        let order = Order::Poison {
            status,
            in_stream: false,
        };
        endpoint.order(order).unwrap();
        endpoint.order(Order::Behave).unwrap();
        let poisoned = caller.chat("m", &format!("a {POISON} b")).await.unwrap();
        assert_eq!(poisoned.status.as_u16(), status);
        let other = caller.chat("m", "poison").await.unwrap();
        assert_eq!(other.status, StatusCode::OK);
    }
    assert_eq!(caller.get("/health").await.unwrap().status, StatusCode::OK);
    let order = Order::Poison {
        status: 500,
        in_stream: true,
    };
    endpoint.order(order).unwrap();
    let streamed = json!({"stream": true, "messages": [{"role": "user", "content": POISON}]});
    let answer = caller
        .post("/v1/chat/completions", &streamed)
        .await
        .unwrap();
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.events()[0]["error"]["code"], 500);
}

#[tokio::test]
async fn the_limited_tenant_is_told_to_wait_and_no_other() {
    let (fleet, caller) = one(instant());
    let order = Order::LimitTenant { retry_after: 60.0 };
    fleet.endpoint(0).order(order).unwrap();
    for (tenant, status, after) in [(LIMITED_TENANT, 429, Some("60")), ("other", 200, None)] {
        let body = json!({"model": "m", "messages": []}).to_string();
        let mut request = json_request("/v1/chat/completions", body);
        let tenant = tenant.parse().unwrap();
        request.headers_mut().insert(TENANT_HEADER, tenant);
        let answer = caller.send(request).await.unwrap();
        assert_eq!(
            (answer.status.as_u16(), answer.header("retry-after")),
            (status, after)
        );
    }
}

#[tokio::test]
async fn requests_beyond_the_slots_are_refused_where_that_is_ordered() {
    let speed = Speed {
        decode_us: 50_000.0,
        slots: 4,
        ..Speed::INSTANT
    };
    let (fleet, caller) = one(EndpointSpec {
        answer_tokens: 2,
        ..EndpointSpec::new("one", speed)
    });
    for (retry_after, header) in [
        (Some(1.0), Some("1")),
        (Some(0.5), Some("0.5")),
        (None, None),
    ] {
        let order = Order::Shed {
            slots: 2,
            status: 529,
            retry_after,
        };
        fleet.endpoint(0).order(order).unwrap();
        let (a, b, c) = tokio::join!(
            caller.chat("m", "hi"),
            caller.chat("m", "hi"),
            caller.chat("m", "hi")
        );
        let (refused, served): (Vec<_>, Vec<_>) = [a, b, c]
            .map(Result::unwrap)
            .into_iter()
            .partition(|answer| answer.status.as_u16() == 529);
        assert_eq!((refused.len(), served.len()), (1, 2));
        assert_eq!(refused[0].header("retry-after"), header);
    }
}

#[tokio::test]
async fn an_error_in_a_stream_comes_first_and_in_the_words_of_its_api() {
    let (fleet, caller) = one(instant());
    let endpoint = fleet.endpoint(0);
    endpoint
        .order(Order::ErrorInStream { status: 500 })
        .unwrap();
    let messages = json!([{"role": "user", "content": "hi"}]);
    for (path, body, beginning) in [
        (
            "/v1/chat/completions",
            json!({"stream": true, "messages": messages}),
            r#"data: {"error":{"#,
        ),
        (
            "/v1/messages",
            json!({"stream": true, "messages": messages}),
            "event: error\ndata: {\"error\":{\"message\":\"failing, as ordered\",\"type\":\"api_error\"}",
        ),
        (
            "/v1/responses",
            json!({"stream": true, "input": "hi"}),
            "event: response.failed\ndata: {",
        ),
    ] {
        let streamed = caller.post(path, &body).await.unwrap();
        let text = String::from_utf8_lossy(&streamed.body);
        assert_eq!(streamed.status, StatusCode::OK);
        assert!(text.starts_with(beginning), "{text}");
        let mut whole = body.clone();
        whole["stream"] = json!(false);
        assert_eq!(
            caller.post(path, &whole).await.unwrap().status.as_u16(),
            500
        );
    }
    assert_eq!(endpoint.stats().failures, 6);
}

#[tokio::test]
async fn a_server_that_thinks_opens_its_stream_as_ordered() {
    let (fleet, caller) = one(instant());
    let body = json!({"stream": true, "messages": [{"role": "user", "content": "hi"}]});
    let long = Duration::from_millis(150);
    for (opening, first, at_once) in [
        (Opening::Nothing, "data: {", false),
        (Opening::Headers, "data: {", true),
        (Opening::Comment, ": still", true),
        (Opening::Ping, "event: ping\n", true),
    ] {
        let order = Order::Think {
            millis: 150,
            opening,
        };
        fleet.endpoint(0).order(order).unwrap();
        let answer = caller.post("/v1/chat/completions", &body).await.unwrap();
        let text = String::from_utf8_lossy(&answer.body);
        assert!(text.starts_with(first), "{opening:?}: {text}");
        assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
        assert_eq!(answer.first_byte < long, at_once, "{opening:?}");
        assert!(answer.whole >= long, "{opening:?}");
    }
}

#[tokio::test]
async fn a_websocket_echoes_and_counts_as_one_request_that_ended_well() {
    let (fleet, _caller): (_, Caller) = one(instant());
    let endpoint = fleet.endpoint(0);
    let mut stream = TcpStream::connect(endpoint.address()).await.unwrap();
    let request = "GET /v1/realtime HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
                   sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let frames = [&b"\x81\x83\0\0\0\0abc"[..], b"\x88\x82\0\0\0\0\x03\xe8"].concat();
    stream.write_all(&frames).await.unwrap();
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    assert!(bytes.starts_with(b"HTTP/1.1 101 "));
    assert!(
        bytes.ends_with(b"\r\n\r\n\x81\x03abc\x88\x02\x03\xe8"),
        "{bytes:?}"
    );
    let stats = endpoint.stats();
    assert_eq!((stats.requests, stats.failures), (1, 0));
}
