//! What a filter orders of one request's attempts, and what the guest is told of how they went.
//!
//! The lines expected here are those that the same guest wrote in Envoy 1.40.0, before the same endpoints.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use harness::fleet::{Answer, EndpointSpec, Fleet, Order, Speed};
use harness::gateway::{DESTINATION, GatewayOptions};
use http::{Request, StatusCode};
use http_body_util::Full;
use serde_json::json;

use super::{Scene, scene};
use crate::guests;

const RETRY_ON: &str = "x-set-x-envoy-retry-on";
const MAX_RETRIES: &str = "x-set-x-envoy-max-retries";
const STATUS_CODES: &str = "x-set-x-envoy-retriable-status-codes";
const PER_TRY_TIMEOUT: &str = "x-set-x-envoy-upstream-rq-per-try-timeout-ms";

type Orders<'a> = &'a [(&'a str, &'a str)];

fn ordering(endpoints: usize, change: impl FnOnce(&mut GatewayOptions)) -> Scene {
    scene(endpoints, guests::module("attempts"), change)
}

impl Scene {
    /// Posts a chat that is to go to all endpoints, in their order, as `orders` say.
    async fn chat_with(&self, orders: Orders<'_>) -> Answer {
        let endpoints = self.fleet.endpoints().iter();
        let list: Vec<_> = endpoints.map(|e| e.address().to_string()).collect();
        let mut request = Request::post("/v1/chat/completions").header(DESTINATION, list.join(","));
        for (name, value) in orders {
            request = request.header(*name, *value);
        }
        let body =
            json!({"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": true});
        let request = request.body(Full::from(body.to_string())).unwrap();
        self.caller.send(request).await.unwrap()
    }

    fn fail(&self, endpoint: usize, status: u16) {
        let order = Order::Fail { status, ratio: 1.0 };
        self.fleet.endpoint(endpoint).order(order).unwrap();
    }

    /// What the guest said of its stream, the endpoint named by its place.
    async fn said(&self) -> Vec<String> {
        while !self.log().iter().any(|line| line.starts_with("delete")) {
            tokio::task::yield_now().await;
        }
        let name = |mut line: String| {
            for (place, endpoint) in self.fleet.endpoints().iter().enumerate() {
                line = line.replace(&endpoint.address().to_string(), &format!("e{place}"));
            }
            line
        };
        self.log().into_iter().map(name).collect()
    }
}

/// An endpoint that reads a request, writes `answer` and closes.
fn scripted(answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(answer);
        }
    });
    address
}

#[tokio::test]
async fn an_ordered_status_goes_to_the_next_endpoint() {
    let cases: [(u16, Orders, u16); 10] = [
        (503, &[], 503),
        (503, &[(RETRY_ON, "5xx")], 200),
        (503, &[(RETRY_ON, "gateway-error")], 200),
        (500, &[(RETRY_ON, "gateway-error")], 500),
        (409, &[(RETRY_ON, "retriable-4xx")], 200),
        (503, &[(RETRY_ON, "5xx"), (MAX_RETRIES, "0")], 503),
        (
            429,
            &[
                (RETRY_ON, "nonsense,retriable-status-codes"),
                (STATUS_CODES, "429"),
            ],
            200,
        ),
        (
            429,
            &[
                (RETRY_ON, "retriable-status-codes"),
                (STATUS_CODES, "503, 529"),
            ],
            429,
        ),
        (429, &[(STATUS_CODES, "429")], 429),
        (
            503,
            &[(RETRY_ON, "connect-failure,refused-stream,reset")],
            503,
        ),
    ];
    for (failure, orders, status) in cases {
        let scene = ordering(2, |_| {});
        scene.fail(0, failure);
        let answer = scene.chat_with(orders).await;
        assert_eq!(answer.status.as_u16(), status, "{failure} {orders:?}");
        let (attempts, at) = if status == 200 { (2, "e1") } else { (1, "e0") };
        let expected = ["headers", "log", "done", "delete"]
            .map(|phase| format!("{phase} via_upstream {status} {attempts} {at}"));
        assert_eq!(scene.said().await, expected, "{failure} {orders:?}");
    }
}

#[tokio::test]
async fn when_attempts_are_used_up_the_last_response_is_the_answer() {
    let scene = ordering(3, |_| {});
    scene.fail(0, 503);
    scene.fail(1, 500);
    let answer = scene
        .chat_with(&[(RETRY_ON, "5xx"), (MAX_RETRIES, "1")])
        .await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(!answer.body.is_empty(), "with its body");
    assert_eq!(scene.said().await[0], "headers via_upstream 500 2 e1");
}

#[tokio::test]
async fn the_orders_are_not_passed_on() {
    let scene = ordering(1, |_| {});
    let orders = [
        (RETRY_ON, "5xx"),
        (MAX_RETRIES, "1"),
        (STATUS_CODES, "429"),
        (PER_TRY_TIMEOUT, "60000"),
        ("x-set-x-envoy-other", "kept"),
    ];
    scene.chat_with(&orders).await;
    let received = scene.fleet.endpoint(0).stats().recent[0].clone();
    for (name, _) in &orders[..4] {
        assert_eq!(received.header(name.strip_prefix("x-set-").unwrap()), None);
    }
    assert_eq!(received.header("x-envoy-other"), Some("kept"));
}

#[tokio::test]
async fn an_endpoint_that_hangs_is_left_in_time() {
    let cases: [(Orders, &str); 4] = [
        (&[(PER_TRY_TIMEOUT, "30")], "via_upstream 200 2 e1"),
        (
            &[
                (PER_TRY_TIMEOUT, "30"),
                (RETRY_ON, "5xx"),
                (MAX_RETRIES, "1"),
            ],
            "via_upstream 200 2 e1",
        ),
        (
            &[(PER_TRY_TIMEOUT, "30"), (MAX_RETRIES, "0")],
            "upstream_per_try_timeout 504 1 e0",
        ),
        (
            &[(PER_TRY_TIMEOUT, "0"), (MAX_RETRIES, "0")],
            "stream_idle_timeout 504 1 e0",
        ),
    ];
    for (orders, told) in cases {
        let scene = ordering(2, |options| {
            if told.starts_with("stream_idle") {
                options.idle_timeout = std::time::Duration::from_millis(30);
            }
        });
        scene.fleet.endpoint(0).order(Order::Hang).unwrap();
        let answer = scene.chat_with(orders).await;
        assert_eq!(scene.said().await[0], format!("headers {told}"));
        match answer.status {
            StatusCode::OK => assert!(answer.body.ends_with(b"data: [DONE]\n\n")),
            _ => assert!(answer.body.ends_with(b" timeout"), "{answer:?}"),
        }
        // Whoever is left hears of it: a GPU need not go on.
        while scene.fleet.endpoint(0).stats().in_flight > 0 {
            tokio::task::yield_now().await;
        }
    }
}

/// A time-out is no reset to a route that repeats connecting only.
#[tokio::test]
async fn a_slow_attempt_that_no_reason_covers_is_a_504() {
    let scene = ordering(2, |options| {
        options.retry_on = harness::gateway::RetryOn::default();
    });
    scene.fleet.endpoint(0).order(Order::Hang).unwrap();
    let orders = [(PER_TRY_TIMEOUT, "30"), (RETRY_ON, "connect-failure")];
    let answer = scene.chat_with(&orders).await;
    assert_eq!(answer.status, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(answer.body, "upstream request timeout");
}

#[tokio::test]
async fn an_answer_that_began_in_time_may_take_its_time() {
    let slow = Speed {
        decode_us: 25_000.0,
        ..Speed::INSTANT
    };
    let fleet = Fleet::start(&[EndpointSpec::new("slow", slow)]).unwrap();
    let scene = ordering(1, |options| {
        options
            .clusters
            .insert("all".into(), vec![fleet.endpoint(0).address()]);
    });
    let answer = scene
        .chat_with(&[(PER_TRY_TIMEOUT, "250"), (RETRY_ON, "5xx")])
        .await;
    assert!(answer.body.ends_with(b"data: [DONE]\n\n"), "{answer:?}");
    assert_eq!(fleet.endpoint(0).stats().requests, 1);
}

#[tokio::test]
async fn an_endpoint_that_fails_is_told_in_envoys_words() {
    let cases: [(&'static [u8], &str, u16); 4] = [
        (
            b"",
            "upstream_reset_before_response_started{connection_termination}",
            503,
        ),
        (
            b"NONSENSE\r\n\r\n",
            "upstream_reset_before_response_started{protocol_error}",
            502,
        ),
        (
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n",
            "upstream_reset_after_response_started{protocol_error}",
            200,
        ),
        (
            b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nok",
            "upstream_reset_after_response_started{protocol_error}",
            200,
        ),
    ];
    for (answer, details, status) in cases {
        let address = scripted(answer);
        let scene = ordering(1, |options| {
            options.clusters.insert("all".into(), vec![address]);
        });
        let answer = scene.raw(b"GET / HTTP/1.1\r\nhost: h\r\nx-set-x-envoy-max-retries: 0\r\nconnection: close\r\n\r\n");
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{answer}"
        );
        let at_head = if status == 200 {
            "via_upstream"
        } else {
            details
        };
        let expected = [
            format!("headers {at_head} {status} 1 {address}"),
            format!("log {details} {status} 1 {address}"),
            format!("done {details} {status} 1 {address}"),
            format!("delete {details} {status} 1 {address}"),
        ];
        assert_eq!(scene.said().await, expected);
    }
}

#[tokio::test]
async fn nobody_listening_is_told_with_the_number_of_attempts() {
    let scene = ordering(2, |_| {});
    for endpoint in scene.fleet.endpoints() {
        endpoint.order(Order::Kill).unwrap();
    }
    scene.chat_with(&[(MAX_RETRIES, "1")]).await;
    let details = "upstream_reset_before_response_started{remote_connection_failure|delayed_connect_error:_Connection_refused}";
    assert_eq!(scene.said().await[3], format!("delete {details} 503 2 e1"));
}

#[tokio::test]
async fn a_client_that_left_is_told_before_and_after_the_head() {
    let scene = ordering(1, |_| {});
    scene.fleet.endpoint(0).order(Order::Hang).unwrap();
    let mut client = TcpStream::connect(scene.gateway.address()).unwrap();
    client
        .write_all(b"GET /v1/models HTTP/1.1\r\nhost: h\r\n\r\n")
        .unwrap();
    while scene.fleet.endpoint(0).stats().in_flight == 0 {
        tokio::task::yield_now().await;
    }
    drop(client);
    let expected = ["log", "done", "delete"]
        .map(|phase| format!("{phase} downstream_remote_disconnect - 1 e0"));
    assert_eq!(scene.said().await, expected);

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let scene = ordering(1, |options| {
        options.clusters.insert("all".into(), vec![address]);
    });
    let mut client = TcpStream::connect(scene.gateway.address()).unwrap();
    client
        .write_all(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
        .unwrap();
    let (mut upstream, _) = listener.accept().unwrap();
    // An answer before its request would be none.
    let _ = upstream.read(&mut [0; 4096]).unwrap();
    upstream
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nok")
        .unwrap();
    client.read_exact(&mut [0; 15]).unwrap();
    drop(client);
    assert_eq!(
        scene.said().await,
        [
            format!("headers via_upstream 200 1 {address}"),
            format!("log downstream_remote_disconnect 200 1 {address}"),
            format!("done downstream_remote_disconnect 200 1 {address}"),
            format!("delete downstream_remote_disconnect 200 1 {address}"),
        ]
    );
}
