//! A client or an endpoint that is gone before the exchange is over.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use harness::fleet::{EndpointSpec, Fleet, Order, Speed};
use harness::gateway::{Gateway, GatewayOptions};
use http::StatusCode;

use super::{NEVER, PASSING, guest, scene};

#[tokio::test]
async fn a_client_that_leaves_closes_its_stream_at_once() {
    let scene = scene(1, guest(PASSING, NEVER), |_| {});
    scene.fleet.endpoint(0).order(Order::Hang).unwrap();
    let mut stream = TcpStream::connect(scene.gateway.address()).unwrap();
    stream
        .write_all(b"GET /v1/models HTTP/1.1\r\nhost: h\r\n\r\n")
        .unwrap();
    while scene.fleet.endpoint(0).stats().in_flight == 0 {
        tokio::task::yield_now().await;
    }
    drop(stream);
    while !scene.log().contains(&"done 1".to_owned()) {
        tokio::task::yield_now().await;
    }
    while scene.fleet.endpoint(0).stats().in_flight > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn an_answer_before_the_end_of_its_request_leaves_no_connection_half_used() {
    let upstream = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = upstream.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let mut connections = Vec::new();
        for stream in upstream.incoming().take(2) {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]).unwrap();
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                .unwrap();
            connections.push(stream);
        }
        // The first was closed by the gateway, in the middle of a body.
        connections[0].read_to_end(&mut Vec::new()).is_ok()
    });
    let scene = scene(1, guest(PASSING, NEVER), |options| {
        options.clusters.insert("all".into(), vec![address]);
    });
    let mut halfway = TcpStream::connect(scene.gateway.address()).unwrap();
    halfway
        .write_all(b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 10\r\n\r\nabc")
        .unwrap();
    let mut line = [0; 15];
    halfway.read_exact(&mut line).unwrap();
    assert_eq!(&line, b"HTTP/1.1 200 OK");
    assert_eq!(scene.caller.get("/").await.unwrap().status, StatusCode::OK);
    assert!(server.join().unwrap());
}

#[tokio::test]
async fn a_client_that_stops_reading_is_given_up() {
    let specs = [EndpointSpec {
        answer_tokens: 100_000,
        ..EndpointSpec::new("e0", Speed::INSTANT)
    }];
    let fleet = Fleet::start(&specs).unwrap();
    let mut options = GatewayOptions::new(guest(PASSING, NEVER));
    options
        .clusters
        .insert("all".into(), vec![fleet.endpoint(0).address()]);
    options.default_cluster = Some("all".into());
    options.idle_timeout = Duration::from_millis(50);
    let gateway = Gateway::start(options).unwrap();
    let body = r#"{"model": "m", "stream": true, "messages": [{"role": "user", "content": "a"}]}"#;
    let mut stream = TcpStream::connect(gateway.address()).unwrap();
    write!(
        stream,
        "POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    while !gateway
        .host()
        .logs()
        .iter()
        .any(|line| line.text == "done 1")
    {
        tokio::task::yield_now().await;
    }
    while fleet.endpoint(0).stats().in_flight > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        fleet.endpoint(0).stats().failures,
        1,
        "the answer was cut short"
    );
}
