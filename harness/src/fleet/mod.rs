//! A fleet of simulated model servers on real loopback sockets.
//!
//! Each endpoint speaks the OpenAI and Anthropic APIs (JSON and SSE), `/health`, `/metrics` with
//! vLLM's names and the ORCA header, at a speed that follows from prompt length, answer length and
//! what else is running ([`Speed`]). It takes orders at run time ([`Order`]): slow down, fail,
//! hang, reset, refuse what is beyond its slots, die and come back on the same port. A WebSocket on
//! any path under `/v1/` is an echo.
//!
//! Simulated rather than mocked per test: a balancer is judged by what a queue does under load,
//! and a stub that answers at once has no queue. Every endpoint lives on one thread of the calling
//! process, so a test sees what it received without asking over the network.

mod answer;
mod base64;
mod caller;
mod conduct;
mod control;
mod generate;
mod meters;
mod orca;
mod order;
mod response;
mod serve;
mod server;
mod slots;
mod socket;
mod spec;
mod speed;
mod stats;
mod websocket;

use std::net::SocketAddr;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::sync::oneshot;

pub use caller::{Answer, CallError, Caller, json_request};
pub use orca::Format as OrcaFormat;
pub use order::{LIMITED_TENANT, Opening, Order, POISON, TENANT_HEADER};
pub use spec::EndpointSpec;
pub use speed::Speed;
pub use stats::{Received, Stats};

use server::Server;

/// Running endpoints; they end when it is dropped.
pub struct Fleet {
    endpoints: Vec<Endpoint>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// One running endpoint: where it is, what it saw, and a way to give it orders.
pub struct Endpoint {
    server: Arc<Server>,
    runtime: tokio::runtime::Handle,
}

impl Fleet {
    /// Starts one endpoint a spec, each on a loopback port of the system's choice.
    ///
    /// Errors when a socket or the fleet's thread cannot be had.
    pub fn start(specs: &[EndpointSpec]) -> std::io::Result<Fleet> {
        Fleet::scaled(specs, 1.0)
    }

    /// As [`Fleet::start`], with every service time multiplied by `scale` (0 answers at once).
    pub fn scaled(specs: &[EndpointSpec], scale: f64) -> std::io::Result<Fleet> {
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, started) = mpsc::sync_channel(1);
        let specs = specs.to_vec();
        let thread = std::thread::Builder::new()
            .name("fleet".into())
            .spawn(move || {
                let runtime = match tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                {
                    Ok(runtime) => runtime,
                    Err(error) => return drop(ready.send(Err(error))),
                };
                runtime.block_on(async {
                    let servers = socket::start_all(&specs, scale).await;
                    let handle = tokio::runtime::Handle::current();
                    if ready.send(servers.map(|servers| (servers, handle))).is_ok() {
                        // A dropped fleet closes the channel: both ways it is time to end.
                        let _ = stopped.await;
                    }
                });
            })?;
        let (servers, runtime) = started.recv().unwrap_or_else(|_| {
            Err(std::io::Error::other(
                "the fleet's thread ended before it was up",
            ))
        })?;
        let endpoints = servers
            .into_iter()
            .map(|server| Endpoint {
                server,
                runtime: runtime.clone(),
            })
            .collect();
        Ok(Fleet {
            endpoints,
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// The endpoint of the `index`th spec.
    ///
    /// # Panics
    /// If there were not so many.
    pub fn endpoint(&self, index: usize) -> &Endpoint {
        &self.endpoints[index]
    }

    /// All endpoints in the order of their specs.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic on the fleet's thread was printed there.
            let _ = thread.join();
        }
    }
}

impl Endpoint {
    /// Where it listens; the same before [`Order::Kill`] and after [`Order::Revive`].
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Its name, as specified.
    pub fn name(&self) -> &str {
        &self.server.spec().name
    }

    /// Carries out `order`; in effect for every request that arrives after it returns.
    ///
    /// Errors only when [`Order::Revive`] finds the port taken meanwhile.
    pub fn order(&self, order: Order) -> std::io::Result<()> {
        let (done, result) = mpsc::sync_channel(1);
        let server = Arc::clone(&self.server);
        self.runtime.spawn(async move {
            let _ = done.send(server.obey(order).await);
        });
        result.recv().unwrap_or(Ok(()))
    }

    /// The moments at which API requests arrive from now on; only the latest receiver is told.
    pub fn arrivals(&self) -> mpsc::Receiver<Instant> {
        self.server.arrivals()
    }

    /// What it has seen so far.
    pub fn stats(&self) -> Stats {
        self.server.stats()
    }
}
