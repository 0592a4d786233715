//! One endpoint's socket: accept, die, come back.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, Weak};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::conduct::{Conduct, Fate, Order};
use super::meters::Meters;
use super::orca;
use super::slots::Slots;
use super::stats::Stats;
use super::{EndpointSpec, serve};

/// An endpoint: its specification, its socket and everything it keeps.
pub struct Server {
    spec: EndpointSpec,
    scale: f64,
    address: SocketAddr,
    pub slots: Slots,
    conduct: Mutex<Conduct>,
    stats: Mutex<Stats>,
    meters: Mutex<Meters>,
    accepting: Mutex<Option<Accepting>>,
    fleet: OnceLock<Vec<Weak<Server>>>,
}

/// The task that accepts connections and serves them to their end.
struct Accepting {
    phase: watch::Sender<Phase>,
    task: JoinHandle<()>,
}

/// How far a listener's life has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Open,
    /// Asked to close.
    Leaving,
    /// Closed; what runs is finished.
    Left,
    /// Closed; connections are reset.
    Killed,
}

/// How long connections are still served after the listener closed. A request may be on its way on
/// one that looks idle from here; a server that closes it then loses that request.
const LINGER: Duration = Duration::from_millis(250);

impl Server {
    /// Binds and starts one server a spec, each knowing the others for `/control`.
    pub async fn start_all(specs: &[EndpointSpec], scale: f64) -> io::Result<Vec<Arc<Server>>> {
        let mut servers = Vec::new();
        for spec in specs {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            let server = Arc::new(Server {
                spec: spec.clone(),
                scale,
                address: listener.local_addr()?,
                slots: Slots::new(spec.speed.slots),
                conduct: Mutex::default(),
                stats: Mutex::default(),
                meters: Mutex::default(),
                accepting: Mutex::default(),
                fleet: OnceLock::new(),
            });
            server.listen(listener);
            servers.push(server);
        }
        let all: Vec<Weak<Server>> = servers.iter().map(Arc::downgrade).collect();
        for server in &servers {
            let _ = server.fleet.set(all.clone());
        }
        Ok(servers)
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

    pub fn fate(&self) -> Fate {
        self.conduct().fate()
    }

    /// `time` on this fleet's clock, under an order to be `slow` times slower.
    pub fn scaled(&self, time: Duration, slow: f64) -> Duration {
        time.mul_f64(self.scale * slow)
    }

    /// What the server says of its load.
    pub fn report(&self) -> orca::Report {
        let busy = self.slots.running() as f64 / self.spec.speed.slots.max(1) as f64;
        orca::Report {
            gpu: self.conduct().gpu.unwrap_or(busy),
            kv_cache: (self.slots.kv_tokens() as f64 / self.spec.speed.kv_tokens.max(1) as f64)
                .min(1.0),
            waiting: self.slots.waiting() as f64,
        }
    }

    /// Carries out `order`.
    pub async fn obey(self: &Arc<Self>, order: Order) -> io::Result<()> {
        match order {
            Order::Kill => {
                let accepting = self.accepting().take();
                if let Some(Accepting { phase, task }) = accepting {
                    phase.send_replace(Phase::Killed);
                    let _ = task.await;
                }
            }
            Order::Leave => {
                let phase = self
                    .accepting()
                    .as_ref()
                    .map(|accepting| accepting.phase.clone());
                if let Some(phase) = phase.filter(|phase| *phase.borrow() == Phase::Open) {
                    phase.send_replace(Phase::Leaving);
                    let _ = phase
                        .subscribe()
                        .wait_for(|phase| *phase > Phase::Leaving)
                        .await;
                }
            }
            Order::Revive if !self.listens() => self.listen(TcpListener::bind(self.address).await?),
            _ => {}
        }
        self.conduct().take(order);
        Ok(())
    }

    /// Whether the answers to come should end their connections.
    pub fn leaves(&self) -> bool {
        !self.listens()
    }

    fn listens(&self) -> bool {
        self.accepting()
            .as_ref()
            .is_some_and(|accepting| *accepting.phase.borrow() == Phase::Open)
    }

    fn listen(self: &Arc<Self>, listener: TcpListener) {
        let phase = watch::Sender::new(Phase::Open);
        let task = tokio::spawn(accept(Arc::downgrade(self), listener, phase.clone()));
        // What a server that left still has to finish, it finishes by itself.
        *self.accepting() = Some(Accepting { phase, task });
    }

    fn conduct(&self) -> MutexGuard<'_, Conduct> {
        self.conduct
            .lock()
            .expect("nothing panics while giving orders")
    }

    fn accepting(&self) -> MutexGuard<'_, Option<Accepting>> {
        self.accepting
            .lock()
            .expect("nothing panics while giving orders")
    }
}

/// Accepts until told otherwise, then closes the listener first and the connections after, so that
/// nobody whose connection was reset finds the port still open.
async fn accept(server: Weak<Server>, listener: TcpListener, phase: watch::Sender<Phase>) {
    let mut changed = phase.subscribe();
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                // Out of descriptors, or a client that left before it was accepted: keep going.
                let Ok((stream, peer)) = accepted else {
                    tokio::task::yield_now().await;
                    continue;
                };
                let Some(server) = server.upgrade() else { return };
                server.seen().connections += 1;
                connections.spawn(connection(server, stream, peer, phase.subscribe()));
            }
            _ = changed.changed() => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
    drop(listener);
    phase.send_if_modified(|phase| {
        let leaving = *phase == Phase::Leaving;
        if leaving {
            *phase = Phase::Left;
        }
        leaving
    });
    while connections.join_next().await.is_some() {}
}

/// Serves one connection, HTTP/1.1 or HTTP/2 with prior knowledge, until it ends or is to be reset.
async fn connection(
    server: Arc<Server>,
    stream: TcpStream,
    peer: SocketAddr,
    mut phase: watch::Receiver<Phase>,
) {
    let _ = stream.set_nodelay(true);
    // The connection owns the stream; a second descriptor of the same socket is what lets a reset be
    // asked for from outside: SO_LINGER of zero belongs to the socket, not to the descriptor.
    let Ok(socket) = stream.as_fd().try_clone_to_owned() else {
        return;
    };
    let reset = Arc::new(Notify::new());
    let http = auto::Builder::new(TokioExecutor::new());
    let serving = http.serve_connection(TokioIo::new(stream), {
        let reset = Arc::clone(&reset);
        service_fn(move |request| {
            serve::answer(Arc::clone(&server), peer, Arc::clone(&reset), request)
        })
    });
    let mut leaving = phase.clone();
    let lingered = async {
        let _ = leaving.wait_for(|phase| *phase == Phase::Left).await;
        tokio::time::sleep(LINGER).await;
    };
    let mut serving = pin!(serving);
    let mut lingered = pin!(lingered);
    let mut lingers = true;
    let to_reset = loop {
        tokio::select! {
            // How a client ended its connection is no concern of a server.
            _ = serving.as_mut() => break false,
            () = reset.notified() => break true,
            _ = phase.wait_for(|phase| *phase == Phase::Killed) => break true,
            () = lingered.as_mut(), if lingers => {
                lingers = false;
                serving.as_mut().graceful_shutdown();
            }
        }
    };
    if to_reset && let Ok(socket) = TcpStream::from_std(socket.into()) {
        let _ = socket.set_zero_linger();
    }
}
