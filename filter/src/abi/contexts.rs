//! The contexts that the host has made: roots, one a configuration, and streams, one a request.
//!
//! A context is taken out of its table while it is at work. A host that calls back into it meanwhile
//! finds nothing and gets the harmless answer, where a borrow held over the call would trap the VM.

use std::cell::RefCell;

use super::root::Root;
use super::stream::HttpStream;

thread_local! {
    static ROOTS: RefCell<Table<Root>> = const { RefCell::new(Table(Vec::new())) };
    static STREAMS: RefCell<Table<HttpStream>> = const { RefCell::new(Table(Vec::new())) };
}

/// Makes the context `id`: a root if it has no parent, else a stream under that root's configuration.
pub fn create(id: u32, parent: u32) {
    if parent == 0 {
        ROOTS.with_borrow_mut(|roots| roots.put(id, Box::default()));
        return;
    }
    let worker = with_root(parent, |root| root.worker()).flatten();
    if let Some((worker, plugin)) = worker {
        let stream = HttpStream::new(id, parent, worker, plugin);
        STREAMS.with_borrow_mut(|streams| streams.put(id, Box::new(stream)));
    }
}

/// Lets `work` run on the root `id`; `None` if there is none, or it is at work.
pub fn with_root<T>(id: u32, work: impl FnOnce(&mut Root) -> T) -> Option<T> {
    let mut root = ROOTS.with_borrow_mut(|roots| roots.take(id))?;
    let outcome = work(&mut root);
    ROOTS.with_borrow_mut(|roots| roots.put(id, root));
    Some(outcome)
}

/// Shows `visit` all roots that are not at work, the oldest first.
pub fn each_root(visit: impl FnMut(&Root)) {
    ROOTS.with_borrow(|roots| {
        let idle = roots.0.iter().filter_map(|(_, root)| root.as_deref());
        idle.for_each(visit);
    });
}

/// Lets `work` run on the stream `id`; `None` if there is none, or it is at work.
pub fn with_stream<T>(id: u32, work: impl FnOnce(&mut HttpStream) -> T) -> Option<T> {
    let mut stream = STREAMS.with_borrow_mut(|streams| streams.take(id))?;
    let outcome = work(&mut stream);
    STREAMS.with_borrow_mut(|streams| streams.put(id, stream));
    Some(outcome)
}

/// Forgets the context `id`.
pub fn delete(id: u32) {
    STREAMS.with_borrow_mut(|streams| streams.remove(id));
    ROOTS.with_borrow_mut(|roots| roots.remove(id));
}

/// Contexts by their ids, which a host hands out in ascending order: a new one goes to the end, and a
/// look-up is a binary search in one block of memory.
struct Table<T>(Vec<(u32, Option<Box<T>>)>);

impl<T> Table<T> {
    fn place(&self, id: u32) -> Result<usize, usize> {
        self.0.binary_search_by_key(&id, |(known, _)| *known)
    }

    fn take(&mut self, id: u32) -> Option<Box<T>> {
        let place = self.place(id).ok()?;
        self.0.get_mut(place)?.1.take()
    }

    fn put(&mut self, id: u32, context: Box<T>) {
        match self.place(id) {
            Err(place) => self.0.insert(place, (id, Some(context))),
            Ok(place) => {
                if let Some((_, slot)) = self.0.get_mut(place) {
                    *slot = Some(context);
                }
            }
        }
    }

    fn remove(&mut self, id: u32) {
        if let Ok(place) = self.place(id) {
            self.0.remove(place);
        }
    }
}
