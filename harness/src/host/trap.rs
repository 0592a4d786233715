//! Why a VM ended, told so that one can act on it.

use std::fmt;
use std::ops::Deref;

use super::abi::Level;
use super::faults::Fault;
use super::log::LogLine;

/// A VM's end: every later call of the same VM answers the same. Its fields are those of [`Ending`].
#[derive(Clone, Debug)]
pub struct Trap(Box<Ending>);

/// What is known of a VM's end.
#[derive(Clone, Debug)]
pub struct Ending {
    /// What ended it.
    pub reason: TrapReason,
    /// The callback that was running, such as `proxy_on_request_body`.
    pub callback: &'static str,
    /// The guest's functions, innermost first, as far as the module names them.
    pub backtrace: Vec<String>,
    /// What the guest wrote as errors in this callback: a panic's message, if it was one.
    pub message: Option<String>,
    /// The last fault that was injected into the VM, in this callback or before: what it may not have survived.
    pub fault: Option<Fault>,
}

/// The kinds of end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrapReason {
    /// The callback did more work than [`Options::fuel`](super::Options::fuel) allows.
    #[error("ran out of fuel")]
    OutOfFuel,
    /// The guest gave up after more memory than [`Options::memory_bytes`](super::Options::memory_bytes) was refused.
    #[error("gave up after memory beyond {0} bytes was refused")]
    OutOfMemory(usize),
    /// The guest executed `unreachable`, which is how Rust's panics and C++'s aborts end.
    #[error("executed unreachable code")]
    Unreachable,
    /// The guest called `proc_exit`.
    #[error("called proc_exit({0})")]
    Exit(u32),
    /// The guest did what would have ended the proxy, or its worker.
    #[error("{0}")]
    EndsHost(String),
    /// Any other trap of WebAssembly, in wasmtime's words.
    #[error("{0}")]
    Wasm(String),
}

impl Deref for Trap {
    type Target = Ending;

    fn deref(&self) -> &Ending {
        &self.0
    }
}

impl std::error::Error for Trap {}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.reason, self.callback)?;
        if let Some(message) = &self.message {
            write!(f, ": {message}")?;
        }
        if let Some(fault) = &self.fault {
            write!(
                f,
                " (after the ordered fault {:?} of {} #{})",
                fault.status, fault.call, fault.nth
            )?;
        }
        for function in &self.backtrace {
            write!(f, "\n    at {function}")?;
        }
        Ok(())
    }
}

/// Ends that hostcalls bring about themselves.
#[derive(Debug, thiserror::Error)]
pub(super) enum HostEnd {
    #[error("exit {0}")]
    Exit(u32),
    #[error("{0} may not be called before the module has started")]
    TooEarly(&'static str),
    #[error("{0}")]
    EndsHost(&'static str),
    #[error("{0}")]
    EndsWorker(String),
}

/// What is known at the moment of a trap besides wasmtime's error.
pub(super) struct Scene<'a> {
    pub(super) callback: &'static str,
    pub(super) lines: &'a [LogLine],
    pub(super) fault: Option<Fault>,
    pub(super) memory_refused: Option<usize>,
}

impl Trap {
    pub(super) fn of(error: &wasmtime::Error, scene: Scene<'_>) -> Self {
        let reason = match (
            error.downcast_ref::<HostEnd>(),
            error.downcast_ref::<wasmtime::Trap>(),
        ) {
            (Some(HostEnd::Exit(code)), _) => TrapReason::Exit(*code),
            (Some(end), _) => TrapReason::EndsHost(end.to_string()),
            (None, Some(wasmtime::Trap::OutOfFuel)) => TrapReason::OutOfFuel,
            (None, Some(wasmtime::Trap::UnreachableCodeReached)) => match scene.memory_refused {
                Some(bytes) => TrapReason::OutOfMemory(bytes),
                None => TrapReason::Unreachable,
            },
            (None, Some(trap)) => TrapReason::Wasm(trap.to_string()),
            (None, None) => TrapReason::Wasm(error.root_cause().to_string()),
        };
        let backtrace = error
            .downcast_ref::<wasmtime::WasmBacktrace>()
            .map(|trace| {
                let name = |frame: &wasmtime::FrameInfo| {
                    frame
                        .func_name()
                        .map_or_else(|| format!("function {}", frame.func_index()), str::to_owned)
                };
                trace.frames().iter().map(name).collect()
            });
        let errors = scene.lines.iter().filter(|line| line.level >= Level::Error);
        let message = errors
            .map(|line| line.text.trim())
            .collect::<Vec<_>>()
            .join("\n");
        Self(Box::new(Ending {
            reason,
            callback: scene.callback,
            backtrace: backtrace.unwrap_or_default(),
            message: (!message.is_empty()).then_some(message),
            fault: scene.fault,
        }))
    }
}

/// Why a VM did not start.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{reason}")]
pub struct StartError {
    /// What went wrong.
    pub reason: StartFailure,
    /// What the guest wrote while it started: of a refused configuration, why.
    pub logs: Vec<LogLine>,
}

/// The ways of not starting.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StartFailure {
    /// The module could not be instantiated.
    #[error("the module could not be instantiated: {0}")]
    Instantiate(String),
    /// An export has not the type that the ABI gives it.
    #[error("the export `{0}` has not the type that the ABI gives it")]
    Signature(&'static str),
    /// `on_vm_start` answered false.
    #[error("the module refused its VM configuration")]
    RefusedVmConfiguration,
    /// `on_configure` answered false.
    #[error("the module refused its plugin configuration")]
    RefusedConfiguration,
    /// The guest trapped.
    #[error("{0}")]
    Trap(Trap),
}
