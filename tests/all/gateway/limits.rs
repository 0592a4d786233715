//! What is too large, too late or no HTTP, and the status that says so.

use std::time::Duration;

use harness::fleet::Order;
use http::StatusCode;
use serde_json::json;

use super::{HOLDING, NEVER, PASSING, guest, scene};

#[tokio::test]
async fn a_held_body_beyond_the_limit_is_413_and_one_that_passes_is_not() {
    let body = json!({"model": "m", "input": "a".repeat(300_000)});
    for (answers, status) in [
        (HOLDING, StatusCode::PAYLOAD_TOO_LARGE),
        (PASSING, StatusCode::OK),
    ] {
        let scene = scene(1, guest(answers, NEVER), |options| {
            options.body_limit = 100_000
        });
        let answer = scene.caller.post("/v1/embeddings", &body).await.unwrap();
        assert_eq!(answer.status, status);
        let arrived = scene.fleet.endpoint(0).stats().bytes_in as usize;
        assert_eq!(
            arrived,
            if status == StatusCode::OK {
                body.to_string().len()
            } else {
                0
            }
        );
    }
}

#[tokio::test]
async fn requests_that_no_codec_accepts_get_their_status() {
    let scene = scene(1, guest(PASSING, NEVER), |options| {
        options.header_timeout = Duration::from_millis(300)
    });
    let long = format!(
        "GET / HTTP/1.1\r\nhost: h\r\nx-long: {}\r\n\r\n",
        "a".repeat(70_000)
    );
    let many = format!(
        "GET / HTTP/1.1\r\nhost: h\r\n{}\r\n",
        "x: 1\r\n".repeat(101)
    );
    let cases: [(&[u8], &str); 7] = [
        (
            b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n",
            "HTTP/1.1 400",
        ),
        (
            b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\nconnection: close\r\n\r\n",
            "HTTP/1.1 400",
        ),
        (
            b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\na",
            "HTTP/1.1 400",
        ),
        (b"nonsense\r\n\r\n", "HTTP/1.1 400"),
        (
            b"CONNECT h:1 HTTP/1.1\r\nhost: h:1\r\nconnection: close\r\n\r\n",
            "HTTP/1.1 403",
        ),
        (long.as_bytes(), "HTTP/1.1 431"),
        (many.as_bytes(), "HTTP/1.1 431"),
    ];
    for (request, status) in cases {
        let answer = scene.raw(request);
        let line = String::from_utf8_lossy(&request[..request.len().min(60)]);
        assert!(answer.starts_with(status), "{line:?}: {answer:?}");
    }
    assert!(
        scene.log().is_empty(),
        "no guest saw them: {:?}",
        scene.log()
    );
}

#[tokio::test]
async fn a_body_that_never_ends_is_given_up_with_408() {
    let scene = scene(1, guest(HOLDING, NEVER), |options| {
        options.idle_timeout = Duration::from_millis(20)
    });
    let answer = scene.raw(b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 10\r\n\r\nabc");
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}

#[tokio::test]
async fn an_endpoint_that_never_answers_is_given_up_with_504() {
    let scene = scene(1, guest(PASSING, NEVER), |options| {
        options.idle_timeout = Duration::from_millis(20)
    });
    scene.fleet.endpoint(0).order(Order::Hang).unwrap();
    assert_eq!(
        scene.caller.chat("m", "hi").await.unwrap().status,
        StatusCode::GATEWAY_TIMEOUT
    );
}
