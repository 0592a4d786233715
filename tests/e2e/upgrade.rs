//! WebSockets, as the realtime API uses them: through Envoy and the module, bytes untouched, and
//! good whichever side closes them.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::world::{envoy, eventually, moves, read_until};

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_reaches_an_endpoint_and_then_carries_bytes_both_ways() {
    let echo = server(echo).await;
    let envoy = envoy(|bootstrap| {
        bootstrap.move_endpoints(&moves(&[echo; 3]));
        one_endpoint(bootstrap, echo);
    })
    .await;
    let mut stream = open(envoy.listener_address()).await;
    for word in ["first", "second"] {
        stream.write_all(word.as_bytes()).await.unwrap();
        read_until(&mut stream, word).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_end_normally_are_good_whichever_side_closes_them() {
    let server = server(websocket).await;
    let envoy = envoy(|bootstrap| {
        bootstrap.move_endpoints(&moves(&[server; 3]));
        one_endpoint(bootstrap, server);
    })
    .await;
    let endpoint = server.to_string();
    for session in 0..20 {
        let mut stream = open(envoy.listener_address()).await;
        stream
            .write_all(&frame(Side::Client, TEXT, b"hello"))
            .await
            .unwrap();
        assert_eq!(
            read_frame(&mut stream).await.unwrap(),
            (TEXT, b"hello".to_vec())
        );
        match session % 2 {
            0 => stream
                .write_all(&frame(Side::Client, CLOSE, &NORMAL))
                .await
                .unwrap(),
            _ => stream
                .write_all(&frame(Side::Client, TEXT, b"close"))
                .await
                .unwrap(),
        }
        assert_eq!(
            read_frame(&mut stream).await.unwrap(),
            (CLOSE, NORMAL.to_vec())
        );
        if session % 2 == 1 {
            stream
                .write_all(&frame(Side::Client, CLOSE, &NORMAL))
                .await
                .unwrap();
        }
        // The server closes the connection, as RFC 6455 has it.
        assert_eq!(read_frame(&mut stream).await, None);
    }
    let seen = eventually(
        "20 sessions ended",
        async || {
            let metrics = envoy.metrics().await.expect("metrics");
            let requests = |status| metrics.sum("junheng_pool_requests", &[("status", status)]);
            let trips = metrics.sum("junheng_endpoint_trips", &[("endpoint", &endpoint)]);
            (requests("ok"), requests("cut"), trips)
        },
        |(ok, cut, _)| ok + cut == 20.0,
    )
    .await;
    assert_eq!(seen, (20.0, 0.0, 0.0));
}

/// A session that has begun.
async fn open(envoy: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(envoy).await.unwrap();
    let request = "GET /v1/realtime?model=qwen2.5-7b HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
                   sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let answer = read_until(&mut stream, "\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    stream
}

/// The pool of short prompts and no other, with one endpoint: a duplicate address is a config mistake.
fn one_endpoint(bootstrap: &mut harness::envoy::Bootstrap, address: SocketAddr) {
    let plugin = format!(
        r#"{{"pools": [{{"name": "small", "models": ["qwen2.5-7b"], "context_window": 32768,
            "health": {{"check": {{"enabled": false}}}},
            "endpoints": [{{"address": "{address}"}}]}}], "routes": [{{"pools": ["small"]}}]}}"#
    );
    bootstrap.set_plugin_configuration(&plugin);
    bootstrap
        .set_clusters(&[("small".into(), vec![address.to_string()])])
        .unwrap();
}

/// Accepts every upgrade, and gives the connection to `serve`.
async fn server<F: Future<Output = io::Result<()>> + Send + 'static>(
    serve: fn(TcpStream) -> F,
) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                read_until(&mut stream, "\r\n\r\n").await;
                let switched = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n";
                stream.write_all(switched.as_bytes()).await?;
                serve(stream).await
            });
        }
    });
    address
}

/// Sends back what comes.
async fn echo(mut stream: TcpStream) -> io::Result<()> {
    let mut buffer = [0; 1024];
    loop {
        match stream.read(&mut buffer).await? {
            0 => return Ok(()),
            count => stream.write_all(&buffer[..count]).await?,
        }
    }
}

/// Sends back each message, and closes the session after `close`.
async fn websocket(mut stream: TcpStream) -> io::Result<()> {
    let mut closing = false;
    while let Some((opcode, payload)) = read_frame(&mut stream).await {
        let closes = opcode == CLOSE || payload == b"close";
        if !closing {
            let answer = match closes {
                true => frame(Side::Server, CLOSE, &NORMAL),
                false => frame(Side::Server, opcode, &payload),
            };
            stream.write_all(&answer).await?;
        }
        closing |= closes;
        if opcode == CLOSE {
            break;
        }
    }
    stream.shutdown().await
}

const TEXT: u8 = 1;
const CLOSE: u8 = 8;
/// The status of a session that has done its work: 1000.
const NORMAL: [u8; 2] = 1000u16.to_be_bytes();
const MASK: [u8; 4] = *b"mask";

/// Who writes a frame: a client's are masked.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Client,
    Server,
}

/// A short message in one frame (RFC 6455 section 5.2).
fn frame(side: Side, opcode: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("a short payload");
    match side {
        Side::Server => [&[0x80 | opcode, length], payload].concat(),
        Side::Client => {
            let head = [0x80 | opcode, 0x80 | length];
            [&head, &MASK[..], &masked(payload, MASK)].concat()
        }
    }
}

/// The next frame's opcode and payload; `None` if the connection has ended.
async fn read_frame(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).await.ok()?;
    let mut mask = [0; 4];
    if head[1] & 0x80 != 0 {
        stream.read_exact(&mut mask).await.ok()?;
    }
    let mut payload = vec![0; usize::from(head[1] & 0x7f)];
    stream.read_exact(&mut payload).await.ok()?;
    Some((head[0] & 0xf, masked(&payload, mask)))
}

fn masked(payload: &[u8], mask: [u8; 4]) -> Vec<u8> {
    let bytes = payload.iter().zip(mask.iter().cycle());
    bytes.map(|(byte, mask)| byte ^ mask).collect()
}
