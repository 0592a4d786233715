//! Shared queues: process-wide, found by VM id and name, each telling one VM that it has something.
//!
//! As in proxy-wasm-cpp-host, the last VM that registered a queue is the only one told (`shared_queue.cc`).
//! A notice lies in that VM's mailbox until its owner delivers it, as the real ones travel to the
//! thread of the VM.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::abi::Status;

#[derive(Debug, Default)]
pub(super) struct Queues(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    tokens: HashMap<(String, Vec<u8>), u32>,
    queues: HashMap<u32, Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    items: VecDeque<Vec<u8>>,
    root: u32,
    listener: Weak<Mailbox>,
}

impl Queues {
    /// Makes the queue if there is none, keeps what is in it, and moves its notices to this listener.
    pub(super) fn register(
        &self,
        vm_id: &str,
        name: &[u8],
        root: u32,
        mailbox: &Arc<Mailbox>,
    ) -> u32 {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = u32::try_from(inner.tokens.len())
            .unwrap_or(u32::MAX)
            .saturating_add(1);
        let token = *inner
            .tokens
            .entry((vm_id.to_owned(), name.to_vec()))
            .or_insert(fresh);
        let queue = inner.queues.entry(token).or_default();
        queue.root = root;
        queue.listener = Arc::downgrade(mailbox);
        token
    }

    pub(super) fn resolve(&self, vm_id: &str, name: &[u8]) -> Option<u32> {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner
            .tokens
            .get(&(vm_id.to_owned(), name.to_vec()))
            .copied()
    }

    pub(super) fn enqueue(&self, token: u32, item: Vec<u8>) -> Result<(), Status> {
        let (listener, root) = {
            let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let queue = inner.queues.get_mut(&token).ok_or(Status::NotFound)?;
            queue.items.push_back(item);
            (queue.listener.clone(), queue.root)
        };
        if let Some(mailbox) = listener.upgrade() {
            mailbox.post(root, token);
        }
        Ok(())
    }

    pub(super) fn dequeue(&self, token: u32) -> Result<Vec<u8>, Status> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner
            .queues
            .get_mut(&token)
            .ok_or(Status::NotFound)?
            .items
            .pop_front()
            .ok_or(Status::Empty)
    }
}

/// Where notices for one VM wait.
#[derive(Default)]
pub(super) struct Mailbox(Mutex<Post>);

#[derive(Default)]
struct Post {
    notices: VecDeque<(u32, u32)>,
    bell: Option<Arc<dyn Fn() + Send + Sync>>,
}

impl Mailbox {
    /// Rings `bell` for each notice that comes in from now on.
    pub(super) fn hang(&self, bell: Arc<dyn Fn() + Send + Sync>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).bell = Some(bell);
    }

    /// The oldest notice: root context and queue.
    pub(super) fn take(&self) -> Option<(u32, u32)> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .notices
            .pop_front()
    }

    fn post(&self, root: u32, token: u32) {
        let bell = {
            let mut post = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            post.notices.push_back((root, token));
            post.bell.clone()
        };
        if let Some(bell) = bell {
            bell();
        }
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mailbox")
    }
}
