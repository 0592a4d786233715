//! A gateway on real sockets that runs a proxy-wasm module the way Envoy does.
//!
//! It is the harness's own proxy: no installation, the same artifact, the same order and shape of
//! callbacks, the same headers deciding where a request goes. HTTP/1.1 and HTTP/2 with prior
//! knowledge downstream, HTTP/1.1 upstream. Each worker is a thread with a VM, as in Envoy, and one
//! more VM lives on the main thread, serving no request but ticking.
//!
//! It is no production proxy: no TLS, no HTTP/2 upstream, one plugin, and the limits below.

mod admin;
mod callout;
mod clusters;
mod feed;
mod fields;
mod flow;
mod pool;
mod relay;
mod retry;
mod serve;
mod stall;
mod stream;
mod threads;
mod upstream;
mod worker;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

pub use clusters::Clusters;
pub use retry::RetryOn;
pub use upstream::DESTINATION;

use crate::host::{self, Host, Module, StartError, Trap};
use threads::Threads;

/// Everything about a gateway.
#[derive(Clone)]
pub struct GatewayOptions {
    /// Where clients connect; port 0 is any free one.
    pub listen: SocketAddr,
    /// Where `/stats/prometheus`, `/stats` and `/ready` are; port 0 is any free one.
    pub admin: SocketAddr,
    /// Threads that serve, each with its own VM.
    pub workers: usize,
    /// The module.
    pub module: Module,
    /// What its host is told. Where it names no clusters, it is told the gateway's.
    pub host: host::Options,
    /// The clusters that requests and calls can go to.
    pub clusters: Clusters,
    /// The request header that names the cluster.
    pub cluster_header: String,
    /// Where requests without that header go; none answers them 503.
    pub default_cluster: Option<String>,
    /// Bytes of a body that may be held back, or kept for a retry; a longer request is 413.
    pub body_limit: usize,
    /// Attempts after the first, unless a request's `x-envoy-max-retries` says how many.
    pub retries: u32,
    /// What is repeated, beside what a request's `x-envoy-retry-on` adds.
    pub retry_on: RetryOn,
    /// How long connecting to an endpoint may take.
    pub connect_timeout: Duration,
    /// How long a stream may go without a byte moving.
    pub idle_timeout: Duration,
    /// How long a client may take over the headers of a request, or keep a connection unused.
    pub header_timeout: Duration,
    /// How long a worker answers 503 after its VM trapped.
    pub reload_backoff: Duration,
    /// Hears of every trap.
    pub on_trap: Arc<dyn Fn(&Trap) + Send + Sync>,
}

impl GatewayOptions {
    /// Two workers of `module` on a free loopback port, with Envoy's defaults for the rest and traps
    /// written to the standard error.
    pub fn new(module: Module) -> GatewayOptions {
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        GatewayOptions {
            listen: anywhere,
            admin: anywhere,
            workers: 2,
            module,
            host: host::Options::default(),
            clusters: Clusters::new(),
            cluster_header: "x-junheng-cluster".to_owned(),
            default_cluster: None,
            body_limit: 1 << 20,
            retries: 2,
            retry_on: RetryOn::UNANSWERED,
            connect_timeout: Duration::from_secs(5),
            idle_timeout: Duration::from_secs(300),
            header_timeout: Duration::from_secs(60),
            reload_backoff: Duration::from_secs(1),
            on_trap: Arc::new(|trap| eprintln!("the VM trapped: {trap}")),
        }
    }
}

/// Why a gateway did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody else listens there.
    #[error("port {port} of {ip} is taken; choose another with --port, or 0 for any free one", port = .0.port(), ip = .0.ip())]
    PortTaken(SocketAddr),
    /// The address cannot be listened on.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, #[source] std::io::Error),
    /// A thread or its runtime could not be had.
    #[error("cannot start a worker: {0}")]
    Thread(#[source] std::io::Error),
    /// The module refused to start; what it logged says why.
    #[error("{0}")]
    Start(Box<StartError>),
}

/// A running gateway; it ends when dropped.
pub struct Gateway {
    address: SocketAddr,
    admin: SocketAddr,
    shared: Arc<Shared>,
    _threads: Threads,
}

/// What all workers share.
struct Shared {
    options: GatewayOptions,
    host: Host,
    counters: Counters,
}

/// What the gateway itself counts, beside the module's metrics.
#[derive(Default)]
struct Counters {
    requests: AtomicU64,
    upstream_requests: AtomicU64,
    upstream_retries: AtomicU64,
    upstream_failures: AtomicU64,
    traps: AtomicU64,
}

impl Gateway {
    /// Starts the module on every worker and listens.
    pub fn start(mut options: GatewayOptions) -> Result<Gateway, Error> {
        let known = options
            .clusters
            .iter()
            .filter(|(_, endpoints)| !endpoints.is_empty());
        let known = known.map(|(name, _)| name.clone()).collect();
        options.host.clusters.get_or_insert(known);
        let host = Host::new(&options.module, options.host.clone());
        let listener = bind(options.listen)?;
        let admin = bind(options.admin)?;
        let address = listener
            .local_addr()
            .map_err(|error| Error::Listen(options.listen, error))?;
        let admin_address = admin
            .local_addr()
            .map_err(|error| Error::Listen(options.admin, error))?;
        let shared = Arc::new(Shared {
            options,
            host,
            counters: Counters::default(),
        });
        let threads = Threads::start(&shared, listener, admin)?;
        Ok(Gateway {
            address,
            admin: admin_address,
            shared,
            _threads: threads,
        })
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where the statistics are.
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The host of the module: its metrics, logs and counted calls.
    pub fn host(&self) -> &Host {
        &self.shared.host
    }

    /// How many attempts followed a first one.
    pub fn retries(&self) -> u64 {
        self.shared
            .counters
            .upstream_retries
            .load(std::sync::atomic::Ordering::Relaxed)
    }
}

/// Listens without `SO_REUSEPORT`: with it, two gateways would share a port in silence.
fn bind(address: SocketAddr) -> Result<std::net::TcpListener, Error> {
    let listener = std::net::TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    listener.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => Error::PortTaken(address),
        _ => Error::Listen(address, error),
    })
}
