//! A complete proxy-wasm host, versions 0.1.0 to 0.2.1 of the ABI, on wasmtime.
//!
//! It runs any proxy-wasm module and knows none. A [`Module`] is compiled and linked once; a [`Host`] is one
//! plugin in one proxy process, with all that its VMs share; a [`Vm`] is one worker's instance, moved into
//! that worker's thread. The embedder drives a VM with what comes in from the wire and acts on the [`Verdict`]
//! and the [`Event`]s that come out: the host itself opens no socket, starts no thread and keeps no timer, which
//! is why the same code serves a gateway, a simulator in virtual time and a test.
//!
//! Where proxies differ, the [`Profile`] says whose behaviour is reproduced, mistakes included: what would end
//! the real proxy ends the VM with [`TrapReason::EndsHost`]. Sources: proxy-wasm/spec v0.2.1; `exports.cc`,
//! `context.cc`, `wasm.cc`, `shared_data.cc`, `shared_queue.cc` of proxy-wasm-cpp-host; Envoy's
//! `source/extensions/common/wasm/context.cc`; measurements on Envoy 1.40 and nginx 1.27.
//!
//! It hosts HTTP filters. Raw TCP streams (`on_new_connection` and its like) have no driver here: their callbacks are
//! never made, and the hostcalls about them answer as they do in Envoy's HTTP filter.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

mod abi;
mod calls;
mod capabilities;
mod clock;
mod faults;
mod grpc;
mod headers;
mod http_call;
pub mod limits;
mod log;
mod marshal;
mod metrics;
mod module;
mod options;
mod queues;
pub(crate) mod rng;
mod shared_data;
mod state;
mod stream;
mod trap;
mod vm;

pub use abi::{AbiVersion, Level, Side, Status};
pub use calls::Calls;
pub use clock::{Clock, Hands, Machine};
pub use faults::{Fault, Faults, When};
pub use grpc::{GrpcRequest, GrpcTarget};
pub use headers::Headers;
pub use http_call::HttpCall;
pub use log::LogLine;
pub use metrics::{Metric, Summary};
pub use module::{Error, Module, imports_of};
pub use options::{ForeignFunction, LogSink, Options, Profile};
pub use stream::{Event, LocalResponse, StreamId, StreamInfo, Verdict};
pub use trap::{Ending, StartError, StartFailure, Trap, TrapReason};
pub use vm::{RootId, Vm};

/// One plugin in one proxy process: a module, its options, and what its VMs share. Clones are the same host.
#[derive(Clone, Debug)]
pub struct Host(Arc<Shared>);

/// What the VMs of a host share.
#[derive(Debug)]
struct Shared {
    module: Module,
    options: Options,
    process: Arc<Process>,
    log: log::Log,
    calls: calls::Counters,
    snare: faults::Snare,
    started: AtomicU64,
    configuration: Mutex<Vec<u8>>,
}

/// What all hosts of one proxy process share; shared data and queues are told apart by VM id.
#[derive(Debug, Default)]
struct Process {
    data: shared_data::SharedData,
    queues: queues::Queues,
    metrics: metrics::Metrics,
}

impl Host {
    /// A host in a process of its own.
    pub fn new(module: &Module, options: Options) -> Self {
        Self::within(Arc::default(), module, options)
    }

    /// Another host in the same process: metrics are common, and shared data and queues where the VM ids agree.
    pub fn beside(&self, module: &Module, options: Options) -> Self {
        Self::within(Arc::clone(&self.0.process), module, options)
    }

    fn within(process: Arc<Process>, module: &Module, options: Options) -> Self {
        Self(Arc::new(Shared {
            module: module.clone(),
            configuration: Mutex::new(options.plugin_configuration.clone()),
            options,
            process,
            log: log::Log::default(),
            calls: calls::Counters::default(),
            snare: faults::Snare::default(),
            started: AtomicU64::new(0),
        }))
    }

    /// Starts a VM: the module's own start, a root context, `on_vm_start`, `on_configure`.
    pub fn start_vm(&self) -> Result<Vm, StartError> {
        let number = self.0.started.fetch_add(1, Ordering::SeqCst);
        Vm::start(Arc::clone(&self.0), number)
    }

    /// The plugin configuration that VMs started from now on get; running ones need [`Vm::reconfigure`].
    pub fn set_plugin_configuration(&self, configuration: Vec<u8>) {
        *self
            .0
            .configuration
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = configuration;
    }

    /// The options it was made with.
    pub fn options(&self) -> &Options {
        &self.0.options
    }

    /// The module it runs.
    pub fn module(&self) -> &Module {
        &self.0.module
    }

    /// The value of a metric of this process.
    pub fn metric(&self, name: &str) -> Option<Metric> {
        self.0.process.metrics.read(name)
    }

    /// All metrics of this process.
    pub fn metrics(&self) -> BTreeMap<String, Metric> {
        self.0.process.metrics.all()
    }

    /// The last lines that VMs of this host wrote, oldest first, at most [`limits::LOG_LINES`].
    pub fn logs(&self) -> Vec<LogLine> {
        self.0.log.lines()
    }

    /// The hostcalls that VMs of this host made so far.
    pub fn calls(&self) -> Calls {
        self.0.calls.read()
    }

    /// Lays a snare: the next call of the hostcall `call` by any VM of this host ends that VM, and only that
    /// one. A snare that was not sprung yet is replaced; a `call` that there is none of catches nothing.
    pub fn trap_next(&self, call: &str) {
        self.0.snare.lay(calls::index(call));
    }

    /// A value of shared data and its CAS number, as guests of this VM id see it.
    pub fn shared_data(&self, key: impl AsRef<[u8]>) -> Option<(Vec<u8>, u32)> {
        self.0
            .process
            .data
            .read(&self.0.options.vm_id, key.as_ref())
    }
}

impl Shared {
    fn configuration(&self) -> Vec<u8> {
        self.configuration
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// A host is shared between the threads of its workers; a VM moves into one.
const _: () = {
    const fn shared<T: Send + Sync>() {}
    const fn moved<T: Send>() {}
    shared::<Host>();
    moved::<Vm>();
};
