//! Every way a body can arrive: in one piece, in chunks, byte by byte, with trailers, over HTTP/2.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use hyper::body::{Body, Frame};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::world::{World, read_to_end, read_until};

const BODY: &str =
    r#"{"model":"qwen2.5-7b","messages":[{"role":"user","content":"Name three rivers."}]}"#;

fn head(extra: &str) -> String {
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: models.example\r\nconnection: close\r\n\
         content-type: application/json\r\n{extra}\r\n"
    )
}

fn chunk(data: &str) -> String {
    format!("{:x}\r\n{data}\r\n", data.len())
}

fn assert_served(answer: &str, world: &World) {
    assert!(answer.contains("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("x-served-by: small-"), "{answer}");
    assert_received_whole(world);
}

fn assert_received_whole(world: &World) {
    let received: Vec<_> = world.stats().flat_map(|stats| stats.recent).collect();
    assert_eq!(received.len(), 1);
    assert_eq!(
        (received[0].body_bytes, received[0].model.as_str()),
        (BODY.len(), "qwen2.5-7b")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunked_body_is_routed_and_arrives_whole() {
    let world = World::start().await;
    let (first, second) = BODY.split_at(20);
    let request =
        head("transfer-encoding: chunked\r\n") + &chunk(first) + &chunk(second) + "0\r\n\r\n";
    assert_served(&world.raw(request.as_bytes()).await, &world);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunked_body_with_trailers_is_routed_and_arrives_whole() {
    let world = World::start().await;
    let request = head("transfer-encoding: chunked\r\ntrailer: x-checksum\r\n")
        + &chunk(BODY)
        + "0\r\nx-checksum: 1\r\n\r\n";
    assert_served(&world.raw(request.as_bytes()).await, &world);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_comes_one_byte_at_a_time_is_routed_and_arrives_whole() {
    let world = World::start().await;
    let request = head(&format!("content-length: {}\r\n", BODY.len())) + BODY;
    let mut stream = world.connect().await;
    for byte in request.as_bytes() {
        stream.write_all(std::slice::from_ref(byte)).await.unwrap();
        // Lets the socket take this byte as a segment of its own.
        tokio::task::yield_now().await;
    }
    assert_served(&read_to_end(&mut stream).await, &world);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_waits_for_100_continue_gets_it_before_it_sends_the_body() {
    let world = World::start().await;
    let mut stream = world.connect().await;
    let request = head(&format!(
        "expect: 100-continue\r\ncontent-length: {}\r\n",
        BODY.len()
    ));
    stream.write_all(request.as_bytes()).await.unwrap();
    read_until(&mut stream, "HTTP/1.1 100 Continue\r\n\r\n").await;
    stream.write_all(BODY.as_bytes()).await.unwrap();
    assert_served(&read_to_end(&mut stream).await, &world);
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_with_trailers_is_routed_and_arrives_whole() {
    let world = World::start().await;
    let mut trailers = HeaderMap::new();
    trailers.insert("x-checksum", "1".parse().unwrap());
    assert_http2(
        &world,
        vec![Frame::data(Bytes::from(BODY)), Frame::trailers(trailers)],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn http2_in_several_frames_is_routed_and_arrives_whole() {
    let world = World::start().await;
    let (first, second) = BODY.split_at(30);
    assert_http2(
        &world,
        vec![
            Frame::data(Bytes::from(first)),
            Frame::data(Bytes::from(second)),
        ],
    )
    .await;
}

async fn assert_http2(world: &World, frames: Vec<Frame<Bytes>>) {
    let stream = TcpStream::connect(world.envoy.listener_address())
        .await
        .unwrap();
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let request = Request::post("http://models.example/v1/chat/completions")
        .body(Frames(frames.into()))
        .unwrap();
    let response = client.send_request(request).await.unwrap();
    let (head, answer) = response.into_parts();
    let answer = answer.collect().await.unwrap().to_bytes();
    assert_eq!(head.status, StatusCode::OK, "{answer:?}");
    assert!(
        head.headers["x-served-by"]
            .to_str()
            .unwrap()
            .starts_with("small-")
    );
    assert_received_whole(world);
}

/// A body whose frames are all there at once.
struct Frames(VecDeque<Frame<Bytes>>);

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(Ok))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_a_body_is_answered_and_does_not_hang() {
    let world = World::start().await;
    let answer = world
        .raw(b"GET /v1/models HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .await;
    assert!(answer.starts_with("HTTP/1.1 "), "{answer}");
    let status: u16 = answer
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or_default();
    assert!(status < 500, "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_requests_on_one_connection_are_decided_apart() {
    let world = World::start().await;
    let mut stream = world.connect().await;
    let keep =
        head(&format!("content-length: {}\r\n", BODY.len())).replace("connection: close\r\n", "");
    stream.write_all((keep + BODY).as_bytes()).await.unwrap();
    read_until(&mut stream, "\"usage\"").await;
    let embedding = r#"{"model":"bge-m3","input":"a river"}"#;
    let close = head(&format!("content-length: {}\r\n", embedding.len()))
        .replace("chat/completions", "embeddings");
    stream
        .write_all((close + embedding).as_bytes())
        .await
        .unwrap();
    let answer = read_to_end(&mut stream).await;
    assert!(
        answer.contains("HTTP/1.1 200") && answer.contains("embedding"),
        "{answer}"
    );
    assert_eq!(world.forwarded(), 2);
}
