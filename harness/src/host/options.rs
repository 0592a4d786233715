//! What a host is told before its first VM starts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::abi::{Level, Status};
use super::clock::Clock;
use super::faults::Faults;
use super::limits;
use super::log::LogLine;

/// Whose behaviour the host reproduces where proxies differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// Envoy 1.40 with proxy-wasm-cpp-host.
    #[default]
    Envoy,
    /// nginx 1.27 with ngx_wasm_module.
    Nginx,
}

/// Called with each log line as it is written, besides the host's own memory of it.
pub type LogSink = Arc<dyn Fn(&LogLine) + Send + Sync>;

/// A function that a guest calls by name: its argument's bytes in, its result's bytes or a status out.
pub type ForeignFunction = Arc<dyn Fn(&[u8]) -> Result<Vec<u8>, Status> + Send + Sync>;

/// Everything about a host that is not the module.
#[derive(Clone)]
pub struct Options {
    /// Whose manners.
    pub profile: Profile,
    /// Which of the module's root contexts this plugin is; the property `plugin_root_id`.
    pub root_id: String,
    /// Whose shared data the VMs use; the property `plugin_vm_id`.
    pub vm_id: String,
    /// The property `plugin_name`.
    pub plugin_name: String,
    /// What `on_vm_start` reads.
    pub vm_configuration: Vec<u8>,
    /// What `on_configure` reads.
    pub plugin_configuration: Vec<u8>,
    /// The clocks that guests read.
    pub clock: Clock,
    /// Units of work that one callback may do; more traps. None is no bound, as in Envoy.
    pub fuel: Option<u64>,
    /// Bytes of memory that one VM may have.
    pub memory_bytes: usize,
    /// Hostcalls that fail on order.
    pub faults: Faults,
    /// Where the guest's random bytes come from.
    pub seed: u64,
    /// Lines below it are dropped, as a proxy's logger does.
    pub log_level: Level,
    /// Sees each line that is kept.
    pub log_sink: Option<LogSink>,
    /// Names that `http_call` and `grpc_call` know; to another the call fails at once. None is all names.
    pub clusters: Option<BTreeSet<String>>,
    /// `allow_on_headers_stop_iteration`: whether a pause at the headers still delivers the body.
    pub stop_iteration: bool,
    /// Variables that the guest finds in its environment.
    pub environment: BTreeMap<String, String>,
    /// Properties of the proxy itself, by their path (`["node", "id"]`).
    pub properties: BTreeMap<Vec<String>, Vec<u8>>,
    /// Variables that nginx's configuration declares at server level: `["ngx", name]` can be set.
    pub nginx_variables: BTreeSet<String>,
    /// Foreign functions beside those that the proxy has.
    pub foreign_functions: BTreeMap<String, ForeignFunction>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            profile: Profile::Envoy,
            root_id: String::new(),
            vm_id: String::new(),
            plugin_name: String::new(),
            vm_configuration: Vec::new(),
            plugin_configuration: Vec::new(),
            clock: Clock::real(),
            fuel: None,
            memory_bytes: limits::MEMORY_BYTES,
            faults: Faults::none(),
            seed: 0,
            log_level: Level::Info,
            log_sink: None,
            clusters: None,
            stop_iteration: true,
            environment: BTreeMap::new(),
            properties: BTreeMap::new(),
            nginx_variables: BTreeSet::new(),
            foreign_functions: BTreeMap::new(),
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("profile", &self.profile)
            .field("root_id", &self.root_id)
            .field("vm_id", &self.vm_id)
            .field("fuel", &self.fuel)
            .field("memory_bytes", &self.memory_bytes)
            .field("seed", &self.seed)
            .finish_non_exhaustive()
    }
}
