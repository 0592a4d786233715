//! The load: a closed loop over keep-alive connections, each sending the same bytes again and again.
//!
//! Closed, because the question is what a request costs and how many fit, not how a queue grows: the
//! connections keep the one worker of Envoy busy at all times, and no more than that.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::backend::{content_length, headers_end};

/// Enough to keep one worker busy while load and backend take their turns on the other core.
const CONNECTIONS: usize = 16;
/// A module that holds a request and never lets it go is told from a slow start by this.
const PATIENCE: Duration = Duration::from_secs(10);
/// What ends a chunked answer; no event contains it.
const LAST_CHUNK: &[u8] = b"\r\n0\r\n\r\n";

/// What was counted between the warm-up and the end.
#[derive(Debug)]
pub struct Counted {
    /// Time from sending a request to the last byte of its answer.
    pub latencies: Vec<Duration>,
    /// The length of the counted time.
    pub wall: Duration,
    /// CPU time spent by the measured process meanwhile.
    pub cpu: Duration,
}

/// What clients show in each request, as OpenAI's do; only where callers are known it is looked at.
pub const API_KEY: &str = "sk-harness-9a8b7c6d5e4f3a2b1c0d9e8f7a6b5c4d3e2f1a0b";

/// The bytes of a chat request over HTTP/1.1.
pub fn request(body: &str) -> Vec<u8> {
    let length = body.len();
    format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: models.example\r\nuser-agent: harness\r\nauthorization: Bearer {API_KEY}\r\n\
         accept: application/json\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

/// Sends one request; an error unless it is answered with 200, and soon.
pub async fn probe(listener: SocketAddr, request: &[u8]) -> io::Result<()> {
    let answered = async { Connection::open(listener).await?.exchange(request).await };
    tokio::time::timeout(PATIENCE, answered).await?
}

/// Sends `count` requests one after the other, over all connections in turn.
pub async fn send(listener: SocketAddr, request: &[u8], count: usize) -> io::Result<()> {
    let mut connections = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        connections.push(Connection::open(listener).await?);
    }
    for number in 0..count {
        if let Some(connection) = connections.get_mut(number % CONNECTIONS) {
            connection.exchange(request).await?;
        }
    }
    Ok(())
}

/// Loads `listener` for `warm_up` and then for `time`; only what happens in the latter counts.
pub async fn run(
    listener: SocketAddr,
    request: &[u8],
    warm_up: Duration,
    time: Duration,
    cpu: impl Fn() -> io::Result<Duration>,
) -> io::Result<Counted> {
    let request: Arc<[u8]> = request.into();
    let stop = Arc::new(AtomicBool::new(false));
    let mut loops = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        let connection = Connection::open(listener).await?;
        loops.push(tokio::spawn(keep_asking(
            connection,
            Arc::clone(&request),
            Arc::clone(&stop),
        )));
    }
    tokio::time::sleep(warm_up).await;
    let (begin, cpu_before) = (Instant::now(), cpu()?);
    tokio::time::sleep(time).await;
    let (end, cpu_after) = (Instant::now(), cpu()?);
    stop.store(true, Ordering::Relaxed);

    let mut latencies = Vec::new();
    for each in loops {
        let exchanges = each.await.map_err(io::Error::other)??;
        let counted = exchanges
            .into_iter()
            .filter(|(_, ended)| *ended > begin && *ended <= end);
        latencies.extend(counted.map(|(began, ended)| ended - began));
    }
    Ok(Counted {
        latencies,
        wall: end - begin,
        cpu: cpu_after.saturating_sub(cpu_before),
    })
}

async fn keep_asking(
    mut connection: Connection,
    request: Arc<[u8]>,
    stop: Arc<AtomicBool>,
) -> io::Result<Vec<(Instant, Instant)>> {
    let mut exchanges = Vec::with_capacity(4096);
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        connection.exchange(&request).await?;
        exchanges.push((began, Instant::now()));
    }
    Ok(exchanges)
}

struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Connection {
    async fn open(listener: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(listener).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: vec![0; 64 * 1024],
        })
    }

    async fn exchange(&mut self, request: &[u8]) -> io::Result<()> {
        self.stream.write_all(request).await?;
        let mut held = 0;
        loop {
            match self
                .stream
                .read(self.buffer.get_mut(held..).unwrap_or_default())
                .await?
            {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                count => held += count,
            }
            let answer = self.buffer.get(..held).unwrap_or_default();
            if is_complete(answer) {
                return if answer.starts_with(b"HTTP/1.1 200") {
                    Ok(())
                } else {
                    Err(unexpected(answer))
                };
            }
        }
    }
}

fn is_complete(answer: &[u8]) -> bool {
    let Some(headers) = headers_end(answer) else {
        return false;
    };
    match content_length(answer.get(..headers).unwrap_or_default()) {
        0 => answer.ends_with(LAST_CHUNK),
        length => answer.len() >= headers + length,
    }
}

fn unexpected(answer: &[u8]) -> io::Error {
    io::Error::other(format!(
        "an answer other than 200: {}",
        String::from_utf8_lossy(answer)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_complete_with_its_last_byte_or_its_last_chunk() {
        assert!(!is_complete(
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{"
        ));
        assert!(is_complete(
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
        ));
        assert!(!is_complete(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n"
        ));
        assert!(is_complete(
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
        ));
    }
}
