//! One worker: a VM on one thread, and everything that waits for it.
//!
//! Callbacks are short and never wait, so a worker is a thread with a single-threaded runtime, as an
//! Envoy worker is, and its VM needs no lock. All that happens inside the VM besides the answer to a
//! callback (a stream resumed from a call's reply, a call to make, another tick period) is picked up
//! after every callback, in [`Worker::settle`].

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::Shared;
use super::callout;
use super::pool::Pool;
use super::stream::{End, Signals};
use crate::host::{Event, StreamId, Trap, Vm};

/// A worker's VM, streams and connections.
pub struct Worker {
    pub shared: Arc<Shared>,
    pub pool: Rc<Pool>,
    /// Round robin over a cluster's endpoints where a request names none.
    pub turn: Cell<usize>,
    /// None while a VM that trapped awaits its successor.
    vm: RefCell<Option<Vm>>,
    /// How many VMs there were: a stream belongs to one of them.
    generation: Cell<u64>,
    streams: RefCell<HashMap<StreamId, Rc<Signals>>>,
    ticker: Notify,
    /// Rung from other threads, when a queue that the VM registered got an item.
    queues: Arc<Notify>,
}

/// The VM is not there, or just went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

impl Worker {
    /// A worker around `vm`, whose ticks and queues are seen to from now on.
    pub fn start(shared: Arc<Shared>, vm: Vm) -> Rc<Worker> {
        let worker = Rc::new(Worker {
            pool: Pool::new(shared.options.connect_timeout),
            shared,
            turn: Cell::new(0),
            vm: RefCell::new(None),
            generation: Cell::new(0),
            streams: RefCell::default(),
            ticker: Notify::new(),
            queues: Arc::new(Notify::new()),
        });
        worker.install(vm);
        tokio::task::spawn_local(Rc::clone(&worker).tick());
        tokio::task::spawn_local(Rc::clone(&worker).deliver());
        worker
    }

    /// Opens a stream with `open` and connects it to `signals`.
    pub fn open(
        self: &Rc<Self>,
        open: impl FnOnce(&mut Vm) -> StreamId,
        signals: &Rc<Signals>,
    ) -> Result<(StreamId, u64), Gone> {
        let id = open(self.vm.borrow_mut().as_mut().ok_or(Gone)?);
        self.streams.borrow_mut().insert(id, Rc::clone(signals));
        Ok((id, self.generation.get()))
    }

    /// Ends the stream `id` of the VM `generation`; nothing happens if that VM is gone.
    pub fn close(self: &Rc<Self>, id: StreamId, generation: u64) {
        if generation == self.generation.get() && self.streams.borrow_mut().remove(&id).is_some() {
            let _ = self.call(|vm| vm.close(id));
        }
    }

    /// Calls into the VM, and then sees to what the call left to do.
    pub fn call<T>(
        self: &Rc<Self>,
        callback: impl FnOnce(&mut Vm) -> Result<T, Trap>,
    ) -> Result<T, Gone> {
        let outcome = callback(self.vm.borrow_mut().as_mut().ok_or(Gone)?);
        match outcome {
            Ok(value) => {
                self.settle();
                Ok(value)
            }
            Err(trap) => {
                self.trapped(&trap);
                Err(Gone)
            }
        }
    }

    /// Reads from the VM what needs no callback.
    pub fn peek<T>(&self, read: impl FnOnce(&mut Vm) -> T) -> Result<T, Gone> {
        Ok(read(self.vm.borrow_mut().as_mut().ok_or(Gone)?))
    }

    /// Whether the VM `generation` still runs.
    pub fn runs(&self, generation: u64) -> bool {
        generation == self.generation.get() && self.vm.borrow().is_some()
    }

    /// Ticks the VM as often as it asks; never returns.
    async fn tick(self: Rc<Self>) {
        let mut last = Instant::now();
        loop {
            let period = self.vm.borrow().as_ref().and_then(Vm::tick_period);
            let Some(period) = period else {
                self.ticker.notified().await;
                last = Instant::now();
                continue;
            };
            tokio::select! {
                () = tokio::time::sleep_until(last + period) => {
                    last = Instant::now();
                    let _ = self.call(Vm::tick);
                }
                () = self.ticker.notified() => {}
            }
        }
    }

    /// Tells the VM of its queues' items; never returns.
    async fn deliver(self: Rc<Self>) {
        loop {
            self.queues.notified().await;
            let _ = self.call(Vm::deliver_queue_ready);
        }
    }

    fn install(self: &Rc<Self>, vm: Vm) {
        let queues = Arc::clone(&self.queues);
        vm.on_queue_notice(move || queues.notify_one());
        *self.vm.borrow_mut() = Some(vm);
        self.queues.notify_one();
        self.settle();
    }

    /// Picks up what the last callback left: streams to wake, calls to make, another tick period.
    fn settle(self: &Rc<Self>) {
        let (events, calls, grpc) = {
            let mut vm = self.vm.borrow_mut();
            let Some(vm) = vm.as_mut() else { return };
            (
                vm.take_events(),
                vm.take_http_calls(),
                vm.take_grpc_requests(),
            )
        };
        for event in events {
            let streams = self.streams.borrow();
            match event {
                Event::Resumed(id, side) => {
                    streams.get(&id).inspect(|signals| signals.resume(side))
                }
                Event::LocalReply(id, reply) => streams
                    .get(&id)
                    .inspect(|signals| signals.end(End::Reply(reply))),
                Event::Closed(id) => streams.get(&id).inspect(|signals| signals.end(End::Reset)),
            };
        }
        for call in calls {
            tokio::task::spawn_local(callout::perform(
                Rc::clone(self),
                self.generation.get(),
                call,
            ));
        }
        for request in grpc {
            tokio::task::spawn_local(callout::decline(
                Rc::clone(self),
                self.generation.get(),
                request,
            ));
        }
        self.ticker.notify_one();
    }

    /// `FAIL_RELOAD`: every stream of the VM fails, and a new VM starts after the back-off.
    fn trapped(self: &Rc<Self>, trap: &Trap) {
        self.shared.counters.traps.fetch_add(1, Relaxed);
        (self.shared.options.on_trap)(trap);
        *self.vm.borrow_mut() = None;
        self.generation.set(self.generation.get() + 1);
        for signals in self
            .streams
            .borrow_mut()
            .drain()
            .map(|(_, signals)| signals)
        {
            signals.end(End::Gone);
        }
        let worker = Rc::clone(self);
        tokio::task::spawn_local(async move {
            loop {
                tokio::time::sleep(worker.shared.options.reload_backoff).await;
                if let Ok(vm) = worker.shared.host.start_vm() {
                    return worker.install(vm);
                }
            }
        });
    }
}
