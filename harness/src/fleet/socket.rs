//! One endpoint's socket: accept, die, come back.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

use super::order::Order;
use super::serve;
use super::server::{Errand, Server};
use super::spec::EndpointSpec;
use super::websocket::Session;

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

/// Binds and starts one server a spec, each on a loopback port of the system's choice.
pub async fn start_all(specs: &[EndpointSpec], scale: f64) -> io::Result<Vec<Arc<Server>>> {
    let mut servers = Vec::new();
    for spec in specs {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (server, errands) = Server::new(spec.clone(), scale, listener.local_addr()?);
        let accepting = Accepting::start(&server, listener);
        tokio::spawn(run_errands(Arc::clone(&server), accepting, errands));
        servers.push(server);
    }
    Server::introduce(&servers);
    Ok(servers)
}

/// Opens and closes the socket of `server` as it is told.
async fn run_errands(
    server: Arc<Server>,
    mut accepting: Accepting,
    mut errands: mpsc::UnboundedReceiver<Errand>,
) {
    while let Some(Errand { order, done }) = errands.recv().await {
        let result = match order {
            Order::Kill => accepting.kill(&server).await,
            Order::Leave => accepting.leave(&server).await,
            Order::Revive if server.leaves() => {
                let bound = TcpListener::bind(server.address()).await;
                // What a server that left still has to finish, it finishes by itself.
                bound.map(|listener| accepting = Accepting::start(&server, listener))
            }
            _ => Ok(()),
        };
        let _ = done.send(result);
    }
}

/// The task that accepts connections and serves them to their end.
struct Accepting {
    phase: watch::Sender<Phase>,
    task: Option<JoinHandle<()>>,
}

impl Accepting {
    fn start(server: &Arc<Server>, listener: TcpListener) -> Accepting {
        server.listening(true);
        let phase = watch::Sender::new(Phase::Open);
        let task = tokio::spawn(accept(Arc::clone(server), listener, phase.clone()));
        Accepting {
            phase,
            task: Some(task),
        }
    }

    async fn kill(&mut self, server: &Server) -> io::Result<()> {
        server.listening(false);
        self.phase.send_replace(Phase::Killed);
        if let Some(task) = self.task.take() {
            // A panic on the fleet's thread was printed there.
            let _ = task.await;
        }
        Ok(())
    }

    async fn leave(&mut self, server: &Server) -> io::Result<()> {
        if *self.phase.borrow() == Phase::Open {
            server.listening(false);
            self.phase.send_replace(Phase::Leaving);
            let mut changes = self.phase.subscribe();
            let _ = changes.wait_for(|phase| *phase > Phase::Leaving).await;
        }
        Ok(())
    }
}

/// Accepts until told otherwise, then closes the listener first and the connections after, so that
/// nobody whose connection was reset finds the port still open.
async fn accept(server: Arc<Server>, listener: TcpListener, phase: watch::Sender<Phase>) {
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
                server.seen().connections += 1;
                connections.spawn(connection(Arc::clone(&server), stream, peer, phase.subscribe()));
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

/// One connection, as its requests see it.
pub struct Connection {
    /// The other end.
    pub peer: SocketAddr,
    /// Breaks it.
    pub reset: Notify,
    session: Mutex<Option<Session>>,
}

impl Connection {
    /// Hands it to `session` once the response that is being written has left.
    pub fn go_on_as(&self, session: Session) {
        *self.session.lock().unwrap_or_else(PoisonError::into_inner) = Some(session);
    }

    fn session(&self) -> Option<Session> {
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        session.take()
    }
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
    let connection = Arc::new(Connection {
        peer,
        reset: Notify::new(),
        session: Mutex::default(),
    });
    let http = auto::Builder::new(TokioExecutor::new());
    let serving = http.serve_connection_with_upgrades(TokioIo::new(stream), {
        let connection = Arc::clone(&connection);
        service_fn(move |request| {
            serve::answer(Arc::clone(&server), Arc::clone(&connection), request)
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
            () = connection.reset.notified() => break true,
            _ = phase.wait_for(|phase| *phase == Phase::Killed) => break true,
            () = lingered.as_mut(), if lingers => {
                lingers = false;
                serving.as_mut().graceful_shutdown();
            }
        }
    };
    let to_reset = match connection.session() {
        Some(session) if !to_reset => tokio::select! {
            () = session.run() => false,
            _ = phase.wait_for(|phase| *phase == Phase::Killed) => true,
        },
        _ => to_reset,
    };
    if to_reset && let Ok(socket) = TcpStream::from_std(socket.into()) {
        let _ = socket.set_zero_linger();
    }
}
