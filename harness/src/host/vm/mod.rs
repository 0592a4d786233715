//! One VM: its start, its roots, its timer, and the way every callback is made.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use wasmtime::{Store, TypedFunc, WasmParams, WasmResults};

use super::Shared;
use super::calls;
use super::limits::Allowance;
use super::options::Profile;
use super::queues::Mailbox;
use super::rng::Rng;
use super::state::{Action, Phase, Root, State};
use super::stream::Event;
use super::trap::{Scene, StartError, StartFailure, Trap};

mod actions;
mod again;
mod exports;
mod http;
mod replies;

use exports::{Callback, Exports, typed};

/// One worker's instance of a module. It can be moved to another thread, and not be shared.
///
/// After a [`Trap`] every call answers the same trap, as the guest's memory can no longer be trusted: start
/// another VM.
pub struct Vm {
    store: Store<State>,
    exports: Exports,
    next_context: u32,
    /// The root that new streams belong to.
    default_root: RootId,
    events: VecDeque<Event>,
    fuel_used: u64,
    dead: Option<Trap>,
}

/// Names a root context of one VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RootId(u32);

impl Vm {
    pub(super) fn start(shared: Arc<Shared>, number: u64) -> Result<Self, StartError> {
        let options = &shared.options;
        let state = State {
            vm: number,
            abi: shared.module.abi_version(),
            memory: None,
            allocate: None,
            allowance: Allowance {
                bytes: options.memory_bytes,
                exceeded: false,
            },
            faults: options.faults.arm(number, calls::NAMES.len()),
            rng: Rng::new(options.seed ^ number.wrapping_mul(0xd6e8_feb8_6659_fd93)),
            mailbox: Arc::new(Mailbox::default()),
            starting: true,
            current: 0,
            effective: 0,
            phase: Phase::Root,
            now: options.clock.wall_nanos(),
            roots: BTreeMap::new(),
            streams: BTreeMap::new(),
            metrics: Default::default(),
            http: Default::default(),
            grpc: Default::default(),
            actions: VecDeque::new(),
            stop_iteration: false,
            lines: Vec::new(),
            last_fault: None,
            shared: Arc::clone(&shared),
        };
        let pre = shared.module.pre();
        let mut store = Store::new(pre.module().engine(), state);
        store.limiter(|state| &mut state.allowance);
        let early = |reason| StartError {
            reason,
            logs: Vec::new(),
        };
        // The start function of the module itself may need fuel.
        let _ = store.set_fuel(options.fuel.unwrap_or(u64::MAX));
        let instance = pre
            .instantiate(&mut store)
            .map_err(|error| early(StartFailure::Instantiate(format!("{error:#}"))))?;
        let exports = Exports::find(&instance, &mut store).map_err(early)?;
        let allocate = match typed(&instance, &mut store, "malloc").map_err(early)? {
            Some(malloc) => Some(malloc),
            None => typed(&instance, &mut store, "proxy_on_memory_allocate").map_err(early)?,
        };
        let memory = instance.get_memory(&mut store, "memory");
        store.data_mut().memory = memory;
        store.data_mut().allocate = allocate;
        let initialize = typed::<(), ()>(&instance, &mut store, "_initialize").map_err(early)?;
        let main = typed::<(u32, u32), u32>(&instance, &mut store, "main").map_err(early)?;
        let start = typed::<(), ()>(&instance, &mut store, "_start").map_err(early)?;
        let mut vm = Self {
            store,
            exports,
            next_context: 1,
            default_root: RootId(0),
            events: VecDeque::new(),
            fuel_used: 0,
            dead: None,
        };
        if let Err(trap) = vm.run_start(initialize, main, start) {
            let logs = vm.store.data().lines.clone();
            return Err(StartError {
                reason: StartFailure::Trap(trap),
                logs,
            });
        }
        let (root_id, plugin_name) = (options.root_id.clone(), options.plugin_name.clone());
        vm.default_root = vm.start_root(root_id, plugin_name, shared.configuration())?;
        Ok(vm)
    }

    /// A reactor's `_initialize` and `main`, or else a command's `_start`.
    fn run_start(
        &mut self,
        initialize: Option<TypedFunc<(), ()>>,
        main: Option<TypedFunc<(u32, u32), u32>>,
        start: Option<TypedFunc<(), ()>>,
    ) -> Result<(), Trap> {
        if initialize.is_some() {
            self.call(&("_initialize", initialize), (0, Phase::Root), ())?;
            self.call(&("main", main), (0, Phase::Root), (0, 0))?;
        } else {
            self.call(&("_start", start), (0, Phase::Root), ())?;
        }
        self.store.data_mut().starting = false;
        Ok(())
    }

    /// Starts one more root context: another plugin of the same module, or the same under a new configuration.
    pub fn start_root(
        &mut self,
        root_id: String,
        plugin_name: String,
        configuration: Vec<u8>,
    ) -> Result<RootId, StartError> {
        let id = self.allocate_context();
        let vm_size = size(&self.store.data().shared.options.vm_configuration);
        let plugin_size = size(&configuration);
        let root = Root {
            root_id,
            plugin_name,
            configuration,
            ..Root::default()
        };
        self.store.data_mut().roots.insert(id, root);
        let mut logs = Vec::new();
        let mut step = |vm: &mut Self, callback: Callback<(u32, u32), u32>, size, refusal| {
            let accepted = vm.call(&callback, (id, Phase::Root), (id, size));
            logs.extend(vm.store.data().lines.iter().cloned());
            match accepted {
                Ok(Some(0)) => Err(StartError {
                    reason: refusal,
                    logs: logs.clone(),
                }),
                Ok(_) => Ok(()),
                Err(trap) => Err(StartError {
                    reason: StartFailure::Trap(trap),
                    logs: logs.clone(),
                }),
            }
        };
        let result = (|| {
            let create = self.exports.on_context_create.clone();
            if let Err(trap) = self.call(&create, (id, Phase::Root), (id, 0)) {
                let logs = self.store.data().lines.clone();
                return Err(StartError {
                    reason: StartFailure::Trap(trap),
                    logs,
                });
            }
            let on_vm_start = self.exports.on_vm_start.clone();
            step(
                self,
                on_vm_start,
                vm_size,
                StartFailure::RefusedVmConfiguration,
            )?;
            self.set_configuring(id, true);
            let on_configure = self.exports.on_configure.clone();
            step(
                self,
                on_configure,
                plugin_size,
                StartFailure::RefusedConfiguration,
            )
        })();
        self.set_configuring(id, false);
        match result {
            Ok(()) => Ok(RootId(id)),
            Err(error) => {
                self.store.data_mut().roots.remove(&id);
                Err(error)
            }
        }
    }

    /// Puts a new configuration in force as Envoy's listener updates do: a new root context takes the new streams, the
    /// old one keeps its own and goes on ticking until it is [retired](Self::retire). A refused one changes nothing.
    pub fn reconfigure(&mut self, configuration: Vec<u8>) -> Result<RootId, StartError> {
        let root = self.store.data().roots.get(&self.default_root.0);
        let (root_id, plugin_name) = root
            .map(|root| (root.root_id.clone(), root.plugin_name.clone()))
            .unwrap_or_default();
        self.default_root = self.start_root(root_id, plugin_name, configuration)?;
        Ok(self.default_root)
    }

    /// The root context that new streams belong to.
    pub fn root(&self) -> RootId {
        self.default_root
    }

    /// Ends a root context: `on_done`, and `on_delete` now or once the guest calls `proxy_done`.
    pub fn retire(&mut self, root: RootId) -> Result<(), Trap> {
        self.begin()?;
        let id = root.0;
        if !self.store.data().roots.contains_key(&id) {
            return Ok(());
        }
        let on_done = self.exports.on_done.clone();
        if self.call(&on_done, (id, Phase::Done), id)? == Some(0) {
            if let Some(root) = self.store.data_mut().roots.get_mut(&id) {
                root.done_pending = true;
            }
            return Ok(());
        }
        self.store.data_mut().actions.push_back(Action::Delete(id));
        self.settle(None)
    }

    /// Ticks every root context that asked for ticks. When is the embedder's business: see [`Self::tick_period`].
    pub fn tick(&mut self) -> Result<(), Trap> {
        self.begin()?;
        for (root, _) in self.tick_periods() {
            self.tick_root(root)?;
        }
        Ok(())
    }

    /// Ticks one root context, where several want different periods: see [`Self::tick_periods`].
    pub fn tick_root(&mut self, root: RootId) -> Result<(), Trap> {
        if !self.store.data().roots.contains_key(&root.0) {
            return Ok(());
        }
        let on_tick = self.exports.on_tick.clone();
        self.call(&on_tick, (root.0, Phase::Root), root.0)?;
        self.settle(None)
    }

    /// Which root contexts asked for ticks, and how often.
    pub fn tick_periods(&self) -> Vec<(RootId, Duration)> {
        let roots = self.store.data().roots.iter();
        roots
            .filter(|(_, root)| root.tick_millis > 0)
            .map(|(id, root)| (RootId(*id), Duration::from_millis(root.tick_millis.into())))
            .collect()
    }

    /// How often to tick: the shortest period that a root context asked for. None is never.
    pub fn tick_period(&self) -> Option<Duration> {
        self.tick_periods()
            .into_iter()
            .map(|(_, period)| period)
            .min()
    }

    /// Delivers the notices of shared queues that wait for this VM; returns how many.
    pub fn deliver_queue_ready(&mut self) -> Result<usize, Trap> {
        self.begin()?;
        let mut delivered = 0;
        let mailbox = Arc::clone(&self.store.data().mailbox);
        let nginx = self.store.data().shared.options.profile == Profile::Nginx;
        while let Some((root, token)) = mailbox.take() {
            if nginx || !self.store.data().roots.contains_key(&root) {
                continue;
            }
            let on_queue_ready = self.exports.on_queue_ready.clone();
            self.call(&on_queue_ready, (root, Phase::Root), (root, token))?;
            self.settle(None)?;
            delivered += 1;
        }
        Ok(delivered)
    }

    /// Calls `bell`, on whatever thread, each time a notice comes in: wake the worker then.
    pub fn on_queue_notice(&self, bell: impl Fn() + Send + Sync + 'static) {
        self.store.data().mailbox.hang(Arc::new(bell));
    }

    /// What happened to streams outside of their own callbacks, oldest first.
    pub fn take_events(&mut self) -> Vec<Event> {
        self.events.drain(..).collect()
    }

    /// Units of fuel that the last call of this VM used, over all callbacks it made. Exact: the same work in the
    /// same state costs the same.
    pub fn fuel_used(&self) -> u64 {
        self.fuel_used
    }

    /// Bytes of memory that the guest has; they never shrink.
    pub fn memory_bytes(&self) -> usize {
        self.store
            .data()
            .memory
            .map_or(0, |memory| memory.data_size(&self.store))
    }

    /// How the VM ended, if it has.
    pub fn trap(&self) -> Option<&Trap> {
        self.dead.as_ref()
    }

    /// Begins a call from outside: a dead VM answers its trap, and the fuel is counted anew.
    fn begin(&mut self) -> Result<(), Trap> {
        self.fuel_used = 0;
        match &self.dead {
            Some(trap) => Err(trap.clone()),
            None => Ok(()),
        }
    }

    fn allocate_context(&mut self) -> u32 {
        let id = self.next_context;
        self.next_context = self.next_context.wrapping_add(1).max(1);
        id
    }

    fn set_configuring(&mut self, root: u32, configuring: bool) {
        if let Some(root) = self.store.data_mut().roots.get_mut(&root) {
            root.configuring = configuring;
        }
    }

    /// Makes one callback in a context. A module without it answers None.
    fn call<P: WasmParams, R: WasmResults>(
        &mut self,
        callback: &Callback<P, R>,
        (context, phase): (u32, Phase),
        arguments: P,
    ) -> Result<Option<R>, Trap> {
        if let Some(trap) = &self.dead {
            return Err(trap.clone());
        }
        let (name, Some(function)) = callback else {
            return Ok(None);
        };
        let now = self.store.data().shared.options.clock.wall_nanos();
        let state = self.store.data_mut();
        (state.current, state.effective, state.phase, state.now) = (context, 0, phase, now);
        state.stop_iteration = false;
        state.allowance.exceeded = false;
        state.lines.clear();
        let fuel = state.shared.options.fuel.unwrap_or(u64::MAX);
        let result = self
            .store
            .set_fuel(fuel)
            .and_then(|()| function.call(&mut self.store, arguments));
        self.fuel_used += fuel - self.store.get_fuel().unwrap_or(fuel);
        let error = match result {
            Ok(result) => return Ok(Some(result)),
            Err(error) => error,
        };
        let state = self.store.data();
        let trap = Trap::of(
            &error,
            Scene {
                callback: name,
                lines: &state.lines,
                fault: state.last_fault.clone(),
                memory_refused: state.allowance.exceeded.then_some(state.allowance.bytes),
            },
        );
        self.dead = Some(trap.clone());
        Err(trap)
    }
}

impl std::fmt::Debug for Vm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vm")
            .field("number", &self.store.data().vm)
            .field("dead", &self.dead)
            .finish_non_exhaustive()
    }
}

fn size(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}
