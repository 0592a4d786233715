//! WebSockets, as the realtime API uses them: through Envoy and the module, bytes untouched.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::world::{envoy, moves, read_until};

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_reaches_an_endpoint_and_then_carries_bytes_both_ways() {
    let echo = echo_server().await;
    let envoy = envoy(|bootstrap| {
        bootstrap.move_endpoints(&moves(&[echo; 3]));
        one_endpoint(bootstrap, echo);
    })
    .await;
    let mut stream = TcpStream::connect(envoy.listener_address()).await.unwrap();
    let request = "GET /v1/realtime?model=qwen2.5-7b HTTP/1.1\r\nhost: x\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
                   sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let answer = read_until(&mut stream, "\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    for word in ["first", "second"] {
        stream.write_all(word.as_bytes()).await.unwrap();
        read_until(&mut stream, word).await;
    }
}

/// The pool of short prompts and no other, with one endpoint: a duplicate address is a config mistake.
fn one_endpoint(bootstrap: &mut harness::envoy::Bootstrap, address: SocketAddr) {
    let plugin = format!(
        r#"{{"pools": [{{"name": "small", "models": ["qwen2.5-7b"], "context_window": 32768,
            "endpoints": [{{"address": "{address}"}}]}}], "routes": [{{"pools": ["small"]}}]}}"#
    );
    bootstrap.set_plugin_configuration(&plugin);
    bootstrap
        .set_clusters(&[("small".into(), vec![address.to_string()])])
        .unwrap();
}

/// Accepts every upgrade and sends back what it gets.
async fn echo_server() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                read_until(&mut stream, "\r\n\r\n").await;
                let switched = "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n";
                stream.write_all(switched.as_bytes()).await?;
                let mut buffer = [0; 1024];
                loop {
                    match stream.read(&mut buffer).await? {
                        0 => return Ok::<_, std::io::Error>(()),
                        count => stream.write_all(&buffer[..count]).await?,
                    }
                }
            });
        }
    });
    address
}
