//! A caller of model APIs over plain HTTP/1.1: what tours and tests send their requests with.
//!
//! It never retries and never hides a failure, as its whole purpose is to see them.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpStream;

/// Sends requests to one address over kept-alive connections, any number at once.
pub struct Caller {
    address: SocketAddr,
    idle: Mutex<Vec<SendRequest<Full<Bytes>>>>,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, to its end.
    pub body: Bytes,
    /// From sending to the response headers.
    pub first_byte: Duration,
    /// From sending to the end of the body.
    pub whole: Duration,
}

/// Why nothing, or only a part, came back.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// No connection.
    #[error("cannot connect to {0}: {1}")]
    Connect(SocketAddr, std::io::Error),
    /// The connection broke before an answer began.
    #[error("{0} broke the connection: {1}")]
    Broken(SocketAddr, hyper::Error),
    /// The connection broke in the middle of the answer.
    #[error("{0} broke off in the middle of its answer: {1}")]
    Truncated(SocketAddr, hyper::Error),
}

impl Caller {
    /// A caller of `address`; connects when first used.
    pub fn new(address: SocketAddr) -> Caller {
        Caller {
            address,
            idle: Mutex::default(),
        }
    }

    /// Posts a chat of one message from the user.
    pub async fn chat(&self, model: &str, prompt: &str) -> Result<Answer, CallError> {
        self.post(
            "/v1/chat/completions",
            &json!({"model": model, "messages": [{"role": "user", "content": prompt}]}),
        )
        .await
    }

    /// Posts `body` to `path`.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Answer, CallError> {
        self.send(json_request(path, body.to_string())).await
    }

    /// Gets `path`.
    pub async fn get(&self, path: &str) -> Result<Answer, CallError> {
        let request = Request::builder()
            .method(Method::GET)
            .uri(path)
            .body(Full::default());
        self.send(request.expect("a path")).await
    }

    /// Sends `request` and reads the answer to its end. The `host` header is filled in if missing.
    pub async fn send(&self, mut request: Request<Full<Bytes>>) -> Result<Answer, CallError> {
        let authority = self
            .address
            .to_string()
            .parse()
            .expect("an address is a header's value");
        request
            .headers_mut()
            .entry(http::header::HOST)
            .or_insert(authority);
        let broken = |error| CallError::Broken(self.address, error);
        let mut connection = self.connection().await?;
        let sent = Instant::now();
        let response = connection.send_request(request).await.map_err(broken)?;
        let first_byte = sent.elapsed();
        let (head, mut incoming) = response.into_parts();
        let mut body = BytesMut::new();
        while let Some(frame) = incoming.frame().await {
            let frame = frame.map_err(|error| CallError::Truncated(self.address, error))?;
            if let Ok(data) = frame.into_data() {
                body.extend_from_slice(&data);
            }
        }
        if connection.is_ready() {
            self.idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(connection);
        }
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body: body.freeze(),
            first_byte,
            whole: sent.elapsed(),
        })
    }

    async fn connection(&self) -> Result<SendRequest<Full<Bytes>>, CallError> {
        while let Some(idle) = self.kept() {
            if idle.is_ready() {
                return Ok(idle);
            }
        }
        let stream = TcpStream::connect(self.address)
            .await
            .map_err(|error| CallError::Connect(self.address, error))?;
        let _ = stream.set_nodelay(true);
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| CallError::Broken(self.address, error))?;
        // Its error reaches whoever waits for the answer.
        tokio::spawn(connection);
        Ok(sender)
    }

    fn kept(&self) -> Option<SendRequest<Full<Bytes>>> {
        self.idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop()
    }
}

/// A POST of the JSON text `body`, which need not be valid.
pub fn json_request(path: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::post(path)
        .header(http::header::CONTENT_TYPE, "application/json")
        .body(Full::new(body.into()))
        .expect("a path")
}

impl Answer {
    /// The first value of the header `name`, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The name of the endpoint that answered; empty if none did.
    pub fn served_by(&self) -> &str {
        self.header("x-served-by").unwrap_or_default()
    }

    /// The body as JSON; null if it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The JSON of each `data:` line of an event stream but the last `[DONE]`.
    pub fn events(&self) -> Vec<Value> {
        let text = String::from_utf8_lossy(&self.body);
        text.lines()
            .filter_map(|line| serde_json::from_str(line.strip_prefix("data: ")?).ok())
            .collect()
    }
}
