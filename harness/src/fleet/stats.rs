//! What an endpoint saw, for tests and tours to look at.

use std::collections::VecDeque;
use std::net::SocketAddr;

/// How many requests an endpoint remembers in full.
const REMEMBERED: usize = 256;

/// Counters of one endpoint since it started. API requests only: `/health` and `/metrics` are
/// counted apart, `/control` not at all.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// API requests read to their end.
    pub requests: u64,
    /// Of them, those answered with a status of 400 or more, or not at all.
    pub failures: u64,
    /// Requests of `/health` and `/metrics`, those that are never answered included.
    pub probes: u64,
    /// Of them, those of `/health`.
    pub health_checks: u64,
    /// API requests being served or waiting for a slot.
    pub in_flight: u64,
    /// The most there ever were of those.
    pub peak_in_flight: u64,
    /// Of those in flight, the ones without a slot yet.
    pub waiting: u64,
    /// Bytes of request bodies.
    pub bytes_in: u64,
    /// Bytes of answers' bodies.
    pub bytes_out: u64,
    /// Connections accepted.
    pub connections: u64,
    /// The last requests, oldest first, at most 256.
    pub recent: VecDeque<Received>,
}

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Received {
    /// The other end of the connection.
    pub peer: SocketAddr,
    /// The path with its query.
    pub path: String,
    /// Headers in order, lower-case names; bytes that are not UTF-8 replaced.
    pub headers: Vec<(String, String)>,
    /// The body's `model`, after whatever a proxy did to it; empty where there is none.
    pub model: String,
    /// The body's length.
    pub body_bytes: usize,
    /// SHA-256 of the body in hex.
    pub body_sha256: String,
}

impl Received {
    /// The first value of the header `name`.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, v)| v.as_str())
    }
}

impl Stats {
    pub(super) fn remember(&mut self, received: Received) {
        if self.recent.len() == REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back(received);
    }

    pub(super) fn health_checked(&mut self) {
        self.probes += 1;
        self.health_checks += 1;
    }

    pub(super) fn entered(&mut self) {
        self.in_flight += 1;
        self.peak_in_flight = self.peak_in_flight.max(self.in_flight);
    }
}
