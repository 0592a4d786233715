//! Which callbacks a guest gets, in which order and shape, as bodies and trailers pass.

use std::io::{Read, Write};
use std::net::TcpStream;

use bytes::Bytes;
use harness::fleet::{Caller, EndpointSpec, Fleet, Speed};
use harness::gateway::{Gateway, GatewayOptions};
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;

use super::{HOLDING, NEVER, PASSING, guest, scene};

#[tokio::test]
async fn callbacks_come_in_envoys_order_and_shapes() {
    for answers in [PASSING, HOLDING] {
        let scene = scene(1, guest(answers, NEVER), |_| {});
        let answer = scene.caller.chat("m", "hi").await.unwrap();
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(
            answer.json()["usage"]["completion_tokens"],
            24,
            "the body came through whole"
        );
        let expected = [
            "request_headers 0",
            "request_body 0",
            "request_body 1",
            "response_headers 0",
            "response_body 0",
            "response_body 1",
            "done 1",
        ];
        assert_eq!(scene.log(), expected, "{answers:?}");
    }
}

#[tokio::test]
async fn a_request_without_a_body_ends_at_its_headers() {
    let scene = scene(1, guest(HOLDING, NEVER), |_| {});
    let answer = scene.caller.get("/v1/models").await.unwrap();
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(scene.log()[0], "request_headers 1");
    assert!(
        !scene
            .log()
            .iter()
            .any(|line| line.starts_with("request_body"))
    );
}

#[tokio::test]
async fn trailers_end_a_body_without_its_end_being_told() {
    let scene = scene(1, guest(HOLDING, NEVER), |_| {});
    let answer = scene.raw(
        b"POST /v1/embeddings HTTP/1.1\r\nhost: h\r\nconnection: close\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
          1c\r\n{\"model\": \"m\", \"input\": \"a\"}\r\n0\r\nx-sum: 1\r\n\r\n",
    );
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(
        scene.log()[..3],
        ["request_headers 0", "request_body 0", "request_trailers 1"]
    );
}

#[tokio::test]
async fn http2_may_join_the_end_to_the_last_frame() {
    let scene = scene(1, guest(HOLDING, NEVER), |_| {});
    let stream = tokio::net::TcpStream::connect(scene.gateway.address())
        .await
        .unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let uri = format!("http://{}/v1/embeddings", scene.gateway.address());
    let request = Request::post(uri)
        .body(Full::new(Bytes::from_static(
            br#"{"model": "m", "input": "a"}"#,
        )))
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let body = response.collect().await.unwrap().to_bytes();
    assert!(body.starts_with(b"{"), "{body:?}");
    assert_eq!(scene.log()[..2], ["request_headers 0", "request_body 1"]);
}

#[tokio::test]
async fn a_client_that_expects_a_hundred_is_told_to_continue() {
    let scene = scene(1, guest(HOLDING, NEVER), |_| {});
    let answer = scene.raw(
        b"POST /v1/embeddings HTTP/1.1\r\nhost: h\r\nconnection: close\r\nexpect: 100-continue\r\ncontent-length: 28\r\n\r\n{\"model\": \"m\", \"input\": \"a\"}",
    );
    assert!(
        answer.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK"),
        "{answer}"
    );
    assert_eq!(
        scene.fleet.endpoint(0).stats().recent[0].header("expect"),
        None
    );
}

#[tokio::test]
async fn a_stream_passes_as_it_comes() {
    let specs = [EndpointSpec::new(
        "slow",
        Speed {
            decode_us: 2_000.0,
            ..Speed::INSTANT
        },
    )];
    let fleet = Fleet::start(&specs).unwrap();
    let mut options = GatewayOptions::new(guest(PASSING, NEVER));
    options
        .clusters
        .insert("all".into(), vec![fleet.endpoint(0).address()]);
    options.default_cluster = Some("all".into());
    let gateway = Gateway::start(options).unwrap();
    let body =
        json!({"model": "m", "stream": true, "messages": [{"role": "user", "content": "hi"}]});
    let answer = Caller::new(gateway.address())
        .post("/v1/chat/completions", &body)
        .await
        .unwrap();
    assert!(answer.body.ends_with(b"data: [DONE]\n\n"));
    assert!(
        answer.first_byte < answer.whole,
        "the head came before the end"
    );
    let chunks = gateway
        .host()
        .logs()
        .iter()
        .filter(|line| line.text == "response_body 0")
        .count();
    assert!(chunks > 10, "{chunks} chunks for 24 tokens");
}

#[tokio::test]
async fn an_upgraded_connection_is_passed_through_both_ways() {
    let upstream = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = upstream.local_addr().unwrap();
    let echo = std::thread::spawn(move || {
        let (mut stream, _) = upstream.accept().unwrap();
        let mut head = [0; 4096];
        let read = stream.read(&mut head).unwrap();
        stream
            .write_all(
                b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n",
            )
            .unwrap();
        let mut word = [0; 4];
        stream.read_exact(&mut word).unwrap();
        stream.write_all(&word).unwrap();
        String::from_utf8_lossy(&head[..read]).to_lowercase()
    });
    let scene = scene(1, guest(PASSING, NEVER), |options| {
        options.clusters.insert("all".into(), vec![address]);
    });
    let mut client = TcpStream::connect(scene.gateway.address()).unwrap();
    client
        .write_all(b"GET /chat HTTP/1.1\r\nhost: h\r\nconnection: Upgrade\r\nupgrade: echo\r\n\r\n")
        .unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert!(
        head.starts_with(b"HTTP/1.1 101"),
        "{}",
        String::from_utf8_lossy(&head)
    );
    client.write_all(b"ping").unwrap();
    let mut word = [0; 4];
    client.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"ping");
    assert!(echo.join().unwrap().contains("upgrade: echo"));
    assert_eq!(
        scene.log()[..2],
        ["request_headers 0", "response_headers 1"]
    );
}
