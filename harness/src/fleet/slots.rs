//! Bounded concurrency with a queue in front: a server runs so many requests, the others wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The slots of one server.
pub struct Slots {
    permits: Arc<Semaphore>,
    running: Arc<AtomicUsize>,
    waiting: AtomicUsize,
    kv_tokens: Arc<AtomicU64>,
}

/// A slot held by one request; free again when dropped, however the request ended.
pub struct Slot {
    _permit: OwnedSemaphorePermit,
    running: Arc<AtomicUsize>,
    kv_tokens: Arc<AtomicU64>,
    tokens: u64,
}

impl Slots {
    pub fn new(slots: usize) -> Slots {
        Slots {
            permits: Arc::new(Semaphore::new(slots)),
            running: Arc::default(),
            waiting: AtomicUsize::new(0),
            kv_tokens: Arc::default(),
        }
    }

    /// Waits, in order of arrival, for a slot in which `tokens` will occupy the KV cache.
    pub async fn take(&self, tokens: u64) -> Slot {
        let waiting = Waiting::new(&self.waiting);
        let permit = Arc::clone(&self.permits)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        drop(waiting);
        self.slot(permit, tokens)
    }

    /// A slot as [`Slots::take`] gives it, if there is one and fewer than `bound` requests run.
    pub fn take_below(&self, bound: usize, tokens: u64) -> Option<Slot> {
        if self.running() >= bound {
            return None;
        }
        let permit = Arc::clone(&self.permits).try_acquire_owned().ok()?;
        Some(self.slot(permit, tokens))
    }

    /// Requests that have a slot.
    pub fn running(&self) -> usize {
        self.running.load(Relaxed)
    }

    /// Requests that wait for one.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Relaxed)
    }

    /// Tokens in the KV cache.
    pub fn kv_tokens(&self) -> u64 {
        self.kv_tokens.load(Relaxed)
    }

    fn slot(&self, permit: OwnedSemaphorePermit, tokens: u64) -> Slot {
        self.running.fetch_add(1, Relaxed);
        self.kv_tokens.fetch_add(tokens, Relaxed);
        Slot {
            _permit: permit,
            running: Arc::clone(&self.running),
            kv_tokens: Arc::clone(&self.kv_tokens),
            tokens,
        }
    }
}

impl Slot {
    /// Requests that run beside this one.
    pub fn others(&self) -> usize {
        self.running.load(Relaxed).saturating_sub(1)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.running.fetch_sub(1, Relaxed);
        self.kv_tokens.fetch_sub(self.tokens, Relaxed);
    }
}

/// Counts a waiter, also one that gives up: its future is dropped in the queue.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Relaxed);
        Waiting(count)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
