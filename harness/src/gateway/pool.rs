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
}

impl AttemptError {
    /// Envoy's name for the reason.
    pub fn reason(self) -> &'static str {
        match self {
            AttemptError::Refused => {
                "remote connection failure, transport failure reason: delayed connect error: Connection refused"
            }
            AttemptError::ConnectTimeout => "connection timeout",
            AttemptError::Reset => "connection termination",
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

    /// Sends one request to `address` and waits for the response's headers.
    ///
    /// A kept connection that turns out to be closed says nothing about the endpoint: servers close
    /// idle connections whenever they like (RFC 9112 §9.3.1). The request then goes once more, to
    /// the same endpoint, over a new connection.
    pub async fn send(
        self: &Rc<Self>,
        address: SocketAddr,
        head: &request::Parts,
        feed: &Rc<Feed>,
    ) -> Result<(Response<Incoming>, Lease), AttemptError> {
        if let Some(sender) = self.kept(address).await {
            match self.send_over(sender, address, head, feed).await {
                Err(AttemptError::Reset) if feed.replayable() => {}
                outcome => return outcome,
            }
        }
        let sender = self.connect(address).await?;
        self.send_over(sender, address, head, feed).await
    }

    async fn send_over(
        self: &Rc<Self>,
        mut sender: SendRequest<Reading>,
        address: SocketAddr,
        head: &request::Parts,
        feed: &Rc<Feed>,
    ) -> Result<(Response<Incoming>, Lease), AttemptError> {
        let request = Request::from_parts(head.clone(), feed.read());
        let response = sender
            .send_request(request)
            .await
            .map_err(|_| AttemptError::Reset)?;
        Ok((
            response,
            Lease {
                pool: Rc::clone(self),
                address,
                sender,
            },
        ))
    }

    async fn kept(&self, address: SocketAddr) -> Option<SendRequest<Reading>> {
        loop {
            let mut sender = self.idle.borrow_mut().get_mut(&address)?.pop()?;
            // Only connections whose answer was read to its end are here: this waits for nothing but
            // the connection's task to notice, or to notice that it was closed.
            if sender.ready().await.is_ok() {
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
    /// Gives the connection back for the next request.
    pub fn give_back(self) {
        if self.sender.is_closed() {
            return;
        }
        let mut idle = self.pool.idle.borrow_mut();
        let kept = idle.entry(self.address).or_default();
        if kept.len() < IDLE_PER_ENDPOINT {
            kept.push(self.sender);
        }
    }
}
