//! What a VM has learned, kept from one configuration to the next.
//!
//! Corrections of token estimates, times to first byte and penalties are learned under a
//! configuration, and are true of the models and servers that it names. A new configuration would
//! begin without them: blind for some hundred requests after each update of anything. So each
//! configuration puts down here what it knows when the next one begins or it ends itself, by the
//! model's name and by the endpoint's pool and address, and the next one takes up what it has a use
//! for.

use crate::balance::Experience;
use crate::text::Correction;

use super::member::EndpointKey;

/// What is known of models and of endpoints.
#[derive(Debug, Default)]
pub(super) struct Learned {
    models: Shelf<Correction>,
    endpoints: Shelf<Experience>,
}

/// What is known by name, in the order of the names' hashes.
#[derive(Debug)]
struct Shelf<T> {
    entries: Vec<Entry<T>>,
    /// Counts what was ever put down.
    puts: u64,
}

#[derive(Debug)]
struct Entry<T> {
    key: EndpointKey,
    what: T,
    put: u64,
}

/// So many models, and so many endpoints: as many as the largest pool has. Then what was put down
/// first is forgotten.
const MOST: usize = 4096;

impl Learned {
    /// Keeps what is known of a model.
    pub fn put_model(&mut self, name: &str, correction: Correction) {
        self.models.put(EndpointKey::of(name), correction);
    }

    /// What was known of a model.
    pub fn model(&self, name: &str) -> Option<Correction> {
        self.models.find(EndpointKey::of(name))
    }

    /// Keeps what is known of a pool's endpoint.
    pub fn put_endpoint(&mut self, pool: &str, address: &str, experience: Experience) {
        self.endpoints.put(key(pool, address), experience);
    }

    /// What was known of a pool's endpoint.
    pub fn endpoint(&self, pool: &str, address: &str) -> Option<Experience> {
        self.endpoints.find(key(pool, address))
    }
}

fn key(pool: &str, address: &str) -> EndpointKey {
    EndpointKey::of(&[pool, " ", address].concat())
}

impl<T> Default for Shelf<T> {
    fn default() -> Shelf<T> {
        Shelf {
            entries: Vec::new(),
            puts: 0,
        }
    }
}

impl<T: Copy> Shelf<T> {
    fn put(&mut self, key: EndpointKey, what: T) {
        self.puts = self.puts.saturating_add(1);
        let put = self.puts;
        let entry = Entry { key, what, put };
        match self.entries.binary_search_by_key(&key, |entry| entry.key) {
            Ok(at) => {
                if let Some(known) = self.entries.get_mut(at) {
                    *known = entry;
                }
            }
            Err(_) => {
                if self.entries.len() >= MOST {
                    let oldest = self.entries.iter().map(|entry| entry.put).min();
                    self.entries.retain(|entry| Some(entry.put) != oldest);
                }
                let at = self.entries.partition_point(|entry| entry.key < key);
                self.entries.insert(at, entry);
            }
        }
    }

    fn find(&self, key: EndpointKey) -> Option<T> {
        let place = self.entries.binary_search_by_key(&key, |entry| entry.key);
        self.entries.get(place.ok()?).map(|entry| entry.what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shelf_keeps_what_was_put_last_and_has_an_end() {
        let mut shelf = Shelf::default();
        let key = |n: usize| EndpointKey::of(&n.to_string());
        for n in 0..=MOST {
            shelf.put(key(n), n);
            shelf.put(key(1), 1);
        }
        assert_eq!(shelf.entries.len(), MOST);
        assert_eq!(shelf.find(key(0)), None, "it was put down first");
        for n in 1..=MOST {
            assert_eq!(shelf.find(key(n)), Some(n));
        }
        shelf.put(key(7), 8);
        assert_eq!(shelf.find(key(7)), Some(8));
    }
}
