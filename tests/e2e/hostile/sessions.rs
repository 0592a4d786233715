//! WebSocket sessions that end as they should.

use harness::fleet::{Speed, TENANT_HEADER};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::{HOSTILE, INNOCENT, assert_untouched, chats, trips_and_states, world};
use crate::world::{World, eventually, read_until};

const BYE: &[u8] = b"\x81\x83\0\0\0\0bye";
const CLOSE: &[u8] = b"\x88\x82\0\0\0\0\x03\xe8";
const CLOSED: &[u8] = b"\x88\x02\x03\xe8";
const SESSIONS: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_clients_close_are_good() {
    sessions(async |world| session(world, CLOSE, false).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_servers_close_are_good() {
    sessions(async |world| session(world, BYE, true).await).await;
}

async fn sessions(run: impl AsyncFn(&World)) {
    let world = world(3, Speed::INSTANT, |_| ()).await;
    for _ in 0..SESSIONS {
        run(&world).await;
    }
    let ok = async || {
        let metrics = world.envoy.metrics().await.unwrap();
        metrics.sum("junheng_pool_requests", &[("status", "ok")])
    };
    eventually("all good", ok, |ok| *ok == SESSIONS as f64).await;
    let seen = trips_and_states(&world).await;
    assert_untouched(&seen);
    let failures: u64 = world.stats().map(|stats| stats.failures).sum();
    assert_eq!((world.forwarded(), failures), (SESSIONS as u64, 0));
    let good = chats(&world, INNOCENT, 30).await;
    assert!(good.iter().all(|status| *status == 200), "{good:?}");
}

/// Opens a session, says one thing and closes with `last`; a server that was told `bye` closes
/// first.
async fn session(world: &World, last: &[u8], answers_close: bool) {
    let mut stream = world.connect().await;
    let request = format!(
        "GET /v1/realtime?model=qwen2.5-7b HTTP/1.1\r\nhost: x\r\n{TENANT_HEADER}: {HOSTILE}\r\n\
         connection: Upgrade\r\nupgrade: websocket\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let head = read_until(&mut stream, "\r\n\r\n").await;
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    stream.write_all(b"\x81\x82\0\0\0\0hi").await.unwrap();
    read_until(&mut stream, "hi").await;
    stream.write_all(last).await.unwrap();
    let mut bytes = Vec::new();
    while !bytes.ends_with(CLOSED) {
        assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0, "{bytes:?}");
    }
    if answers_close {
        stream.write_all(CLOSE).await.unwrap();
    }
    stream.read_to_end(&mut bytes).await.unwrap();
}
