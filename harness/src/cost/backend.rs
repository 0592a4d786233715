//! A backend that costs next to nothing: keep-alive HTTP/1.1 with one canned answer.
//!
//! It shares two cores with Envoy and the load, so it parses no more than it must: where the headers
//! end, and `content-length`. Envoy as a client sends nothing that needs more.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Events of a streamed answer: a token each.
const EVENTS: usize = 32;

/// Starts a backend that listens on `count` free ports of the loopback, for as long as the runtime runs.
pub fn start(count: usize, stream: bool) -> io::Result<Vec<SocketAddr>> {
    let answer = Arc::new(if stream { events() } else { vec![completion()] });
    (0..count).map(|_| listen(Arc::clone(&answer))).collect()
}

fn listen(answer: Arc<Vec<Vec<u8>>>) -> io::Result<SocketAddr> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let listener = TcpListener::from_std(listener)?;
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            let answer = Arc::clone(&answer);
            // A connection ends when Envoy closes it; there is nobody to tell.
            tokio::spawn(async move { serve(connection, &answer).await.ok() });
        }
    });
    Ok(address)
}

async fn serve(mut connection: TcpStream, answer: &[Vec<u8>]) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let mut buffer = vec![0; 64 * 1024];
    let mut held = 0;
    loop {
        // The headers, which arrive in the first read but for the rarest.
        let headers = loop {
            if let Some(headers) = headers_end(buffer.get(..held).unwrap_or_default()) {
                break headers;
            }
            held += read(&mut connection, &mut buffer, held).await?;
        };
        let mut rest = (headers + content_length(buffer.get(..headers).unwrap_or_default()))
            .saturating_sub(held);
        while rest > 0 {
            rest = rest.saturating_sub(read(&mut connection, &mut buffer, 0).await?);
        }
        held = 0;
        for part in answer {
            connection.write_all(part).await?;
        }
    }
}

async fn read(connection: &mut TcpStream, buffer: &mut [u8], from: usize) -> io::Result<usize> {
    match connection
        .read(buffer.get_mut(from..).unwrap_or_default())
        .await?
    {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        count => Ok(count),
    }
}

/// The length of the headers with the empty line after them.
pub(super) fn headers_end(bytes: &[u8]) -> Option<usize> {
    bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .map(|at| at + 4)
}

/// The value of `content-length`, 0 without one.
pub(super) fn content_length(headers: &[u8]) -> usize {
    const NAME: &[u8] = b"\r\ncontent-length:";
    let named = headers
        .windows(NAME.len())
        .position(|window| window.eq_ignore_ascii_case(NAME));
    let value = named
        .and_then(|at| headers.get(at + NAME.len()..))
        .unwrap_or_default();
    let digits = value
        .iter()
        .skip_while(|byte| **byte == b' ')
        .take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + usize::from(digit - b'0'))
}

fn completion() -> Vec<u8> {
    let content =
        "The second half of the manuscript was replaced, but the report does not say by whom. "
            .repeat(4);
    let body = serde_json::json!({
        "id": "chatcmpl-0001", "object": "chat.completion", "created": 1_767_225_600, "model": "qwen2.5-7b",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 220, "completion_tokens": 72, "total_tokens": 292},
    })
    .to_string();
    let length = body.len();
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes()
}

/// The headers, then an event a write, as a model server flushes them.
fn events() -> Vec<Vec<u8>> {
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let event = |choices: serde_json::Value, usage: serde_json::Value| {
        let data = serde_json::json!({
            "id": "chatcmpl-0001", "object": "chat.completion.chunk", "created": 1_767_225_600,
            "model": "qwen2.5-7b", "choices": choices, "usage": usage,
        });
        format!("data: {data}\n\n")
    };
    let token = || {
        event(
            serde_json::json!([{"index": 0, "delta": {"content": " manuscript"}}]),
            serde_json::Value::Null,
        )
    };
    let usage = serde_json::json!({"prompt_tokens": 220, "completion_tokens": EVENTS, "total_tokens": 220 + EVENTS});
    let last = event(serde_json::json!([]), usage) + "data: [DONE]\n\n";
    let chunk = |text: String| format!("{:x}\r\n{text}\r\n", text.len());
    let mut parts = vec![head.as_bytes().to_vec()];
    parts.extend((0..EVENTS).map(|_| chunk(token()).into_bytes()));
    parts.push((chunk(last) + "0\r\n\r\n").into_bytes());
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_is_read_whatever_the_case_of_its_name_and_the_blanks_before_it() {
        assert_eq!(
            content_length(b"POST / HTTP/1.1\r\nContent-Length:   1024\r\n\r\n"),
            1024
        );
        assert_eq!(
            content_length(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length:7\r\n\r\n"),
            7
        );
        assert_eq!(content_length(b"GET / HTTP/1.1\r\n\r\n"), 0);
    }

    #[test]
    fn headers_end_after_the_empty_line() {
        assert_eq!(headers_end(b"GET / HTTP/1.1\r\n\r\nbody"), Some(18));
        assert_eq!(headers_end(b"GET / HTTP/1.1\r\n"), None);
    }
}
