//! Kept-alive HTTP/1.1 connections to endpoints, one pool a worker.
//!
//! hyper-util's pooled client would do, but for two things that a balancer needs: to know which
//! endpoint failed and how, and to tell a stale connection from a broken endpoint.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use http::{Request, Response, request};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::feed::{Feed, Reading};

/// Connections kept for one endpoint; the others close when their answer is over.
const IDLE_PER_ENDPOINT: usize = 128;

/// Connections that wait for their next request.
pub struct Pool {
    idle: RefCell<HashMap<SocketAddr, Vec<SendRequest<Reading>>>>,
    connect_timeout: Duration,
}

/// A connection that carries an answer; give it back when the answer's end was read.
pub struct Lease {
    pool: Rc<Pool>,
    address: SocketAddr,
    sender: SendRequest<Reading>,
}

/// Why an attempt brought no response, in the words of Envoy's local replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptError {
    /// Refused, unreachable.
    Refused,
    /// No answer to the connect within the timeout.
    ConnectTimeout,
    /// The connection broke before the response's headers.
    Reset,
    /// What came is no HTTP.
    Protocol,
    /// No headers within the time that the request allows an attempt.
    PerTryTimeout,
}

impl AttemptError {
    /// The reason as Envoy tells the client.
    pub fn reason(self) -> &'static str {
        match self {
            AttemptError::Refused => {
                "remote connection failure, transport failure reason: delayed connect error: Connection refused"
            }
            AttemptError::ConnectTimeout => "connection timeout",
            AttemptError::Reset => "connection termination",
            AttemptError::Protocol => "protocol error",
            AttemptError::PerTryTimeout => "upstream request timeout",
        }
    }

    /// The reason in Envoy's response code details.
    pub fn details(self) -> &'static str {
        match self {
            AttemptError::Refused => {
                "remote_connection_failure|delayed_connect_error:_Connection_refused"
            }
            AttemptError::ConnectTimeout => "connection_timeout",
            AttemptError::Reset => "connection_termination",
            AttemptError::Protocol => "protocol_error",
            AttemptError::PerTryTimeout => "upstream_per_try_timeout",
        }
    }
}

impl Pool {
    pub fn new(connect_timeout: Duration) -> Rc<Pool> {
        Rc::new(Pool {
            idle: RefCell::default(),
            connect_timeout,
        })
    }

    /// Sends one request to `address` and waits for the response's headers, no longer than `patience`
    /// once it is connected and all of the request is there, which is from when Envoy counts too.
    ///
    /// A kept connection that turns out to be closed says nothing about the endpoint: servers close
    /// idle connections whenever they like (RFC 9112 §9.3.1). The request then goes once more, to
    /// the same endpoint, over a new connection.
    pub async fn send(
        self: &Rc<Self>,
        address: SocketAddr,
        head: &request::Parts,
        feed: &Rc<Feed>,
        patience: Option<Duration>,
    ) -> Result<(Response<Incoming>, Lease), AttemptError> {
        if let Some(sender) = self.kept(address) {
            match self.send_over(sender, address, head, feed, patience).await {
                Err(AttemptError::Reset) if feed.replayable() => {}
                outcome => return outcome,
            }
        }
        let sender = self.connect(address).await?;
        self.send_over(sender, address, head, feed, patience).await
    }

    async fn send_over(
        self: &Rc<Self>,
        mut sender: SendRequest<Reading>,
        address: SocketAddr,
        head: &request::Parts,
        feed: &Rc<Feed>,
        patience: Option<Duration>,
    ) -> Result<(Response<Incoming>, Lease), AttemptError> {
        let request = Request::from_parts(head.clone(), feed.read());
        let response = tokio::select! {
            biased;
            response = sender.send_request(request) => response,
            // To stop waiting closes the connection.
            () = feed.outwaited(patience) => return Err(AttemptError::PerTryTimeout),
        };
        let response = response.map_err(|error| match error.is_parse() {
            true => AttemptError::Protocol,
            false => AttemptError::Reset,
        })?;
        Ok((
            response,
            Lease {
                pool: Rc::clone(self),
                address,
                sender,
            },
        ))
    }

    fn kept(&self, address: SocketAddr) -> Option<SendRequest<Reading>> {
        loop {
            let sender = self.idle.borrow_mut().get_mut(&address)?.pop()?;
            if sender.is_ready() {
                return Some(sender);
            }
        }
    }

    async fn connect(&self, address: SocketAddr) -> Result<SendRequest<Reading>, AttemptError> {
        let connecting =
            tokio::time::timeout(self.connect_timeout, TcpStream::connect(address)).await;
        let stream = connecting
            .map_err(|_| AttemptError::ConnectTimeout)?
            .map_err(|_| AttemptError::Refused)?;
        let _ = stream.set_nodelay(true);
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|_| AttemptError::Reset)?;
        // What goes wrong on it reaches whoever waits for the response.
        tokio::task::spawn_local(connection.with_upgrades());
        Ok(sender)
    }
}

impl Lease {
    /// Gives the connection back for the next request: at once, or when the last bytes of this one's
    /// request are written, which an answer may come before.
    pub fn give_back(mut self) {
        if self.sender.is_ready() {
            return self.keep();
        }
        tokio::task::spawn_local(async move {
            if self.sender.ready().await.is_ok() {
                self.keep();
            }
        });
    }

    fn keep(self) {
        let mut idle = self.pool.idle.borrow_mut();
        let kept = idle.entry(self.address).or_default();
        if kept.len() < IDLE_PER_ENDPOINT {
            kept.push(self.sender);
        }
    }
}
