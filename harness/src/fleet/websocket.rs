//! WebSocket sessions (RFC 6455), as the realtime API uses them: an echo that closes as it should.
//!
//! A message comes back as it was sent. After the message `bye` the server starts to close, with
//! status 1000; otherwise it answers the client's close frame with the same status. Either way the
//! session ends with two close frames and the end of the connection, which proxies
//! report as a reset.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::header::{CONNECTION, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, UPGRADE};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use sha1::{Digest, Sha1};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::base64;
use super::generate::Visit;
use super::response::AnyBody;

/// RFC 6455, section 1.3.
const GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PING: u8 = 9;
const PONG: u8 = 10;
const NORMAL: [u8; 2] = 1000_u16.to_be_bytes();

/// Whether `request` is to become a session.
pub fn asked_for<B>(request: &Request<B>) -> bool {
    let upgrade = request.headers().get(UPGRADE);
    upgrade.is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"))
}

/// The response after which the session begins.
pub fn accept(head: &http::request::Parts) -> Response<AnyBody> {
    let key = head.headers.get(http::header::SEC_WEBSOCKET_KEY);
    let key = key.map_or(&b""[..], HeaderValue::as_bytes);
    let accept = base64::encode(&Sha1::digest([key, GUID.as_bytes()].concat()));
    let mut response = Response::new(Empty::new().boxed_unsync());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers: [(HeaderName, &str); 3] = [
        (CONNECTION, "Upgrade"),
        (UPGRADE, "websocket"),
        (SEC_WEBSOCKET_ACCEPT, &accept),
    ];
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// A session that is about to begin.
pub struct Session {
    /// The connection once the response has left.
    pub upgrade: OnUpgrade,
    /// Its stay at the server.
    pub visit: Visit,
}

impl Session {
    /// Echoes to the end; good if both sides closed.
    pub async fn run(mut self) {
        if let Ok(connection) = self.upgrade.await {
            let closed = echo(TokioIo::new(connection)).await;
            self.visit.failed = !matches!(closed, Ok(true));
        }
    }
}

/// Echoes until the end of the session; whether both sides closed.
async fn echo(
    mut io: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
) -> std::io::Result<bool> {
    let mut bytes = BytesMut::new();
    let mut closing = false;
    loop {
        while let Some((opcode, payload)) = read_frame(&mut bytes) {
            match opcode {
                CLOSE if closing => {
                    io.shutdown().await?;
                    return Ok(true);
                }
                CLOSE => {
                    io.write_all(&frame(CLOSE, &payload)).await?;
                    io.shutdown().await?;
                    return Ok(true);
                }
                PING => io.write_all(&frame(PONG, &payload)).await?,
                TEXT if payload == "bye" => {
                    closing = true;
                    io.write_all(&frame(CLOSE, &NORMAL)).await?;
                }
                opcode => io.write_all(&frame(opcode, &payload)).await?,
            }
        }
        if io.read_buf(&mut bytes).await? == 0 {
            return Ok(false);
        }
    }
}

/// Takes one frame off `bytes` if it is whole: its opcode and its payload, unmasked.
fn read_frame(bytes: &mut BytesMut) -> Option<(u8, Bytes)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let extended = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let after = 2 + extended;
    let length = match extended {
        0 => usize::from(second & 0x7f),
        _ => bytes
            .get(2..after)?
            .iter()
            .fold(0_usize, |length, byte| (length << 8) | usize::from(*byte)),
    };
    let masked = second & 0x80 != 0;
    let head = after + if masked { 4 } else { 0 };
    if bytes.len() < head.saturating_add(length) {
        return None;
    }
    let mask: [u8; 4] = if masked {
        bytes[after..head].try_into().ok()?
    } else {
        [0; 4]
    };
    bytes.advance(head);
    let mut payload = bytes.split_to(length);
    for (at, byte) in payload.iter_mut().enumerate() {
        *byte ^= mask[at % 4];
    }
    Some((first & 0x0f, payload.freeze()))
}

/// A whole message, unmasked as servers send them.
fn frame(opcode: u8, payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(payload.len() + 10);
    frame.put_u8(0x80 | opcode);
    match payload.len() {
        length @ ..126 => frame.put_u8(length as u8),
        length @ 126..=0xffff => {
            frame.put_u8(126);
            frame.put_u16(length as u16);
        }
        length => {
            frame.put_u8(127);
            frame.put_u64(length as u64);
        }
    }
    frame.put_slice(payload);
    frame.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_and_the_frames_of_rfc_6455_are_read() {
        let (head, ()) = Request::get("/v1/realtime")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .body(())
            .unwrap()
            .into_parts();
        let response = accept(&head);
        let accept = &response.headers()[SEC_WEBSOCKET_ACCEPT];
        assert_eq!(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        let masked = [
            0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58,
        ];
        let mut bytes = BytesMut::from(&masked[..]);
        assert_eq!(read_frame(&mut bytes), Some((TEXT, Bytes::from("Hello"))));
        assert!(bytes.is_empty());
        assert_eq!(read_frame(&mut BytesMut::from(&masked[..7])), None);
        assert_eq!(&frame(TEXT, b"Hello")[..], b"\x81\x05Hello");
    }

    #[tokio::test]
    async fn messages_come_back_and_either_side_may_close() {
        let bye = [0x81, 0x83, 0, 0, 0, 0, b'b', b'y', b'e'];
        let close = [0x88, 0x82, 0, 0, 0, 0, 0x03, 0xe8];
        for (sent, expected) in [
            ([&bye[..], &close[..]].concat(), &b"\x88\x02\x03\xe8"[..]),
            (close.to_vec(), &b"\x88\x02\x03\xe8"[..]),
        ] {
            let (mut client, server) = tokio::io::duplex(256);
            let session = tokio::spawn(echo(server));
            client.write_all(&sent).await.unwrap();
            let mut received = Vec::new();
            client.read_to_end(&mut received).await.unwrap();
            assert_eq!(received, expected);
            assert!(session.await.unwrap().unwrap());
        }
    }
}
