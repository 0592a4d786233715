//! The gateway's threads: a main one that accepts, ticks and answers the admin port, and the workers.
//!
//! Connections are dealt to the workers in turn. Envoy lets the kernel choose (`SO_REUSEPORT`), which
//! with few connections leaves workers idle; a turn makes a test with two connections use two workers.

use std::net::TcpListener;
use std::rc::Rc;
use std::sync::{Arc, mpsc as std_mpsc};
use std::thread::JoinHandle;

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::LocalSet;

use super::serve::{Ends, serve};
use super::stall::Stall;
use super::worker::Worker;
use super::{Error, Shared, admin};

/// Bytes of a request's headers, as in Envoy; more is 431.
const HEADER_BYTES: usize = 60 << 10;
/// Header fields of a request, as in Envoy; more is 431.
const HEADER_FIELDS: usize = 100;

/// Running threads; they end, and are waited for, when this is dropped.
pub struct Threads {
    stop: Vec<oneshot::Sender<()>>,
    joins: Vec<JoinHandle<()>>,
}

impl Threads {
    /// Starts the workers first, so that a module that refuses its configuration is heard of before
    /// anything is accepted.
    pub fn start(
        shared: &Arc<Shared>,
        listener: TcpListener,
        admin: TcpListener,
    ) -> Result<Threads, Error> {
        let mut threads = Threads {
            stop: Vec::new(),
            joins: Vec::new(),
        };
        let mut workers = Vec::new();
        for number in 0..shared.options.workers.max(1) {
            let (connections, accepted) = mpsc::unbounded_channel();
            threads.spawn(shared, &format!("worker {number}"), move |worker| {
                connections_of(worker, accepted)
            })?;
            workers.push(connections);
        }
        let page = Arc::clone(shared);
        threads.spawn(shared, "main", move |_| async move {
            let (Ok(listener), Ok(admin)) = (
                tokio::net::TcpListener::from_std(listener),
                tokio::net::TcpListener::from_std(admin),
            ) else {
                return;
            };
            tokio::join!(deal(listener, workers), admin::serve(admin, page));
        })?;
        Ok(threads)
    }

    /// Starts a thread with a VM that runs `work` until it is stopped.
    fn spawn<F, W>(&mut self, shared: &Arc<Shared>, name: &str, work: F) -> Result<(), Error>
    where
        F: FnOnce(Rc<Worker>) -> W + Send + 'static,
        W: Future<Output = ()>,
    {
        let vm = shared
            .host
            .start_vm()
            .map_err(|error| Error::Start(Box::new(error)))?;
        let shared = Arc::clone(shared);
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, started) = std_mpsc::sync_channel(1);
        let run = move || {
            let runtime = match tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
            {
                Ok(runtime) => runtime,
                Err(error) => return drop(ready.send(Err(error))),
            };
            let _ = ready.send(Ok(()));
            LocalSet::new().block_on(&runtime, async {
                let worker = Worker::start(shared, vm);
                tokio::select! {
                    // A dropped gateway closes the channel: both ways it is time to end.
                    _ = stopped => {}
                    () = work(worker) => {}
                }
            });
        };
        let join = std::thread::Builder::new()
            .name(format!("gateway {name}"))
            .spawn(run)
            .map_err(Error::Thread)?;
        self.stop.push(stop);
        self.joins.push(join);
        let started = started
            .recv()
            .unwrap_or_else(|_| Err(std::io::Error::other("it ended at once")));
        started.map_err(Error::Thread)
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.stop.clear();
        for join in self.joins.drain(..) {
            // A panic on the thread was printed there.
            let _ = join.join();
        }
    }
}

/// Deals connections to the workers in turn.
async fn deal(
    listener: tokio::net::TcpListener,
    workers: Vec<mpsc::UnboundedSender<std::net::TcpStream>>,
) {
    for worker in workers.iter().cycle() {
        let stream = loop {
            // Out of descriptors, or a client that left before it was accepted: keep going.
            match listener
                .accept()
                .await
                .and_then(|(stream, _)| stream.into_std())
            {
                Ok(stream) => break stream,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        if worker.send(stream).is_err() {
            return;
        }
    }
}

/// Serves the connections that a worker is dealt.
async fn connections_of(
    worker: Rc<Worker>,
    mut accepted: mpsc::UnboundedReceiver<std::net::TcpStream>,
) {
    while let Some(stream) = accepted.recv().await {
        if let Ok(stream) = TcpStream::from_std(stream) {
            tokio::task::spawn_local(connection(Rc::clone(&worker), stream));
        }
    }
}

async fn connection(worker: Rc<Worker>, stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let (Ok(client), Ok(local)) = (stream.peer_addr(), stream.local_addr()) else {
        return;
    };
    let options = &worker.shared.options;
    let mut http = auto::Builder::new(Local);
    let header_timeout = options.header_timeout;
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(HEADER_BYTES)
        .max_headers(HEADER_FIELDS);
    http.http2()
        .timer(TokioTimer::new())
        .max_header_list_size(HEADER_BYTES as u32);
    let stream = Stall::new(stream, options.idle_timeout);
    let service = {
        let worker = Rc::clone(&worker);
        service_fn(move |request| serve(Rc::clone(&worker), Ends { client, local }, request))
    };
    // How a client ended its connection is its own affair.
    let _ = http
        .serve_connection_with_upgrades(TokioIo::new(stream), service)
        .await;
}

/// Runs hyper's own tasks on the worker's thread.
#[derive(Clone, Copy)]
struct Local;

impl<F: Future + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, task: F) {
        tokio::task::spawn_local(async move { drop(task.await) });
    }
}
