//! How much memory the headers take that a VM keeps for requests which wait for their bodies, or for somebody's answer.
//!
//! A client may hold as many requests open as the proxy lets it, each on a few hundred bytes of the network, and a VM that runs
//! out of its 1 GiB traps: with it, all requests of the worker would end.

use std::cell::Cell;
use std::rc::Rc;

/// As many as 8,000 requests with all the headers that are kept of one, or 100,000 with few.
const MOST_BYTES: usize = 64 * 1024 * 1024;

/// The bytes that are held, of all configurations of a VM.
#[derive(Clone, Debug, Default)]
pub(super) struct Held(Rc<Cell<usize>>);

/// Those that one request holds, until it is dropped.
#[derive(Debug)]
pub(super) struct HeldBytes {
    bytes: usize,
    all: Held,
}

impl Held {
    /// So many more, if there is room for them.
    pub fn take(&self, bytes: usize) -> Option<HeldBytes> {
        let held = self.0.get().saturating_add(bytes);
        (held <= MOST_BYTES).then(|| {
            self.0.set(held);
            HeldBytes {
                bytes,
                all: self.clone(),
            }
        })
    }
}

impl Drop for HeldBytes {
    fn drop(&mut self) {
        let held = &self.all.0;
        held.set(held.get().saturating_sub(self.bytes));
    }
}
