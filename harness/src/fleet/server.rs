//! One endpoint: its specification, the orders in force, and everything it counts. Its sockets are
//! [`super::socket`]'s.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::conduct::{Conduct, Fate, Traits};
use super::meters::{self, Meters};
use super::orca;
use super::order::Order;
use super::slots::Slots;
use super::spec::EndpointSpec;
use super::stats::Stats;

/// An endpoint as its requests see it.
pub struct Server {
    spec: EndpointSpec,
    scale: f64,
    address: SocketAddr,
    pub slots: Slots,
    conduct: Mutex<Conduct>,
    stats: Mutex<Stats>,
    meters: Mutex<Meters>,
    listens: AtomicBool,
    listener: mpsc::UnboundedSender<Errand>,
    arrivals: Mutex<Option<std::sync::mpsc::Sender<Instant>>>,
    fleet: OnceLock<Vec<Weak<Server>>>,
}

/// An order that concerns the socket, and where to report that it is done.
pub struct Errand {
    pub order: Order,
    pub done: oneshot::Sender<io::Result<()>>,
}

impl Server {
    /// A server at `address`, and the errands that its socket gets. Times are multiplied by `scale`.
    pub fn new(
        spec: EndpointSpec,
        scale: f64,
        address: SocketAddr,
    ) -> (Arc<Server>, mpsc::UnboundedReceiver<Errand>) {
        let (listener, errands) = mpsc::unbounded_channel();
        let server = Server {
            slots: Slots::new(spec.speed.slots),
            spec,
            scale,
            address,
            conduct: Mutex::default(),
            stats: Mutex::default(),
            meters: Mutex::default(),
            listens: AtomicBool::new(false),
            listener,
            arrivals: Mutex::default(),
            fleet: OnceLock::new(),
        };
        (Arc::new(server), errands)
    }

    /// Makes the servers of one fleet known to each other, for `/control`.
    pub fn introduce(servers: &[Arc<Server>]) {
        let all: Vec<Weak<Server>> = servers.iter().map(Arc::downgrade).collect();
        for server in servers {
            let _ = server.fleet.set(all.clone());
        }
    }

    pub fn spec(&self) -> &EndpointSpec {
        &self.spec
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn stats(&self) -> Stats {
        Stats {
            waiting: self.slots.waiting() as u64,
            ..self.seen().clone()
        }
    }

    /// The server of the same fleet called `name`.
    pub fn sibling(&self, name: &str) -> Option<Arc<Server>> {
        self.fleet
            .get()?
            .iter()
            .filter_map(Weak::upgrade)
            .find(|server| server.spec.name == name)
    }

    pub fn seen(&self) -> MutexGuard<'_, Stats> {
        self.stats.lock().expect("nothing panics while counting")
    }

    pub fn meters(&self) -> MutexGuard<'_, Meters> {
        self.meters.lock().expect("nothing panics while counting")
    }

    /// The fate of the next request.
    pub fn fate(&self, traits: Traits) -> Fate {
        self.conduct().fate(traits)
    }

    /// The fate of a `GET /health`.
    pub fn fate_of_health(&self) -> Fate {
        self.conduct().fate_of_health()
    }

    /// The fate of a `GET /metrics`.
    pub fn fate_of_metrics(&self) -> Fate {
        self.conduct().fate_of_metrics()
    }

    /// `time` on this fleet's clock, under an order to be `slow` times slower.
    pub fn scaled(&self, time: Duration, slow: f64) -> Duration {
        time.mul_f64(self.scale * slow)
    }

    /// What the server says of its load.
    pub fn report(&self) -> orca::Report {
        let busy = self.slots.running() as f64 / self.spec.speed.slots.max(1) as f64;
        orca::Report {
            gpu: self.conduct().gpu().unwrap_or(busy),
            kv_cache: (self.slots.kv_tokens() as f64 / self.spec.speed.kv_tokens.max(1) as f64)
                .min(1.0),
            waiting: self.slots.waiting() as f64,
        }
    }

    /// The text of `GET /metrics`.
    pub fn metrics_page(&self) -> String {
        let model = self.spec.models.first().map_or("any", String::as_str);
        let report = self.report();
        meters::page(model, self.slots.running(), report, &self.meters())
    }

    /// Carries out `order`.
    pub async fn obey(&self, order: Order) -> io::Result<()> {
        if matches!(order, Order::Kill | Order::Leave | Order::Revive) {
            let (done, result) = oneshot::channel();
            // Both fail only when the fleet ends, and then there is nothing left to order.
            let _ = self.listener.send(Errand { order, done });
            result.await.unwrap_or(Ok(()))?;
        }
        self.conduct().take(order);
        Ok(())
    }

    /// Whether the answers to come should end their connections.
    pub fn leaves(&self) -> bool {
        !self.listens.load(SeqCst)
    }

    /// The socket says whether it listens.
    pub fn listening(&self, listens: bool) {
        self.listens.store(listens, SeqCst);
    }

    /// From now on, when each API request arrives.
    pub fn arrivals(&self) -> std::sync::mpsc::Receiver<Instant> {
        let (teller, arrivals) = std::sync::mpsc::channel();
        *self.listeners() = Some(teller);
        arrivals
    }

    /// Tells whoever wants to know that an API request arrived.
    pub fn tell_of(&self, arrival: Instant) {
        let mut teller = self.listeners();
        if teller
            .as_ref()
            .is_some_and(|teller| teller.send(arrival).is_err())
        {
            *teller = None;
        }
    }

    fn listeners(&self) -> MutexGuard<'_, Option<std::sync::mpsc::Sender<Instant>>> {
        self.arrivals.lock().expect("nothing panics while telling")
    }

    fn conduct(&self) -> MutexGuard<'_, Conduct> {
        self.conduct
            .lock()
            .expect("nothing panics while giving orders")
    }
}
