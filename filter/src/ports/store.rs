//! What all workers of a proxy share: values by key, changed by compare-and-swap.
//!
//! Hosts never free a key, so keys come from the configuration or from a table of fixed size. They differ
//! on a swap of what is not there: Envoy writes, whatever version was named; nginx writes only if it is
//! still not there. So a key that several workers step is made before they do ([`Store::create`], while a
//! configuration is taken and no request is served under it), and a value that is made twice is made alike.

/// Which of a key's values a swap is meant for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version(pub u32);

/// A value and its version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The value.
    pub bytes: Vec<u8>,
    /// For [`Store::swap`].
    pub version: Version,
}

/// Values that all workers see.
pub trait Store {
    /// The value of `key`; `None` if there is none, or the host cannot tell.
    fn load(&mut self, key: &str) -> Option<Stored>;

    /// Writes `bytes` if `key` still has `version`; whether it did.
    fn swap(&mut self, key: &str, bytes: &[u8], version: Version) -> bool;

    /// Writes `bytes`, whatever is there: for keys that one worker alone writes.
    fn put(&mut self, key: &str, bytes: &[u8]);

    /// Writes `bytes` if `key` is not there yet.
    fn create(&mut self, key: &str, bytes: &[u8]) {
        if self.load(key).is_none() {
            // Where two find nothing, nginx keeps the first one's; and no value is written over another's steps.
            self.swap(key, bytes, Version(0));
        }
    }
}

/// How often a step is tried against other workers' before it is given up. Eight in a row are lost only if
/// eight others win in the microseconds of each try.
const TRIES: usize = 8;

/// Takes the value of `key` one step further; returns the step's outcome.
///
/// The step sees what is there now, and the store for what it has to read after that; it returns what shall
/// be there and its outcome, or `None` to leave things as they are. It runs again if another worker was
/// faster, so it must change nothing itself. `None` if there is nothing to do, no such key, or the host or
/// the others never let it through.
pub fn update<S: Store + ?Sized, T>(
    store: &mut S,
    key: &str,
    mut step: impl FnMut(&mut S, &[u8]) -> Option<(Vec<u8>, T)>,
) -> Option<T> {
    for _ in 0..TRIES {
        let stored = store.load(key)?;
        let (bytes, outcome) = step(store, &stored.bytes)?;
        if store.swap(key, &bytes, stored.version) {
            return Some(outcome);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One key, and a rival who writes before each of the first swaps.
    struct Contended {
        value: u8,
        version: u32,
        rivals: usize,
    }

    impl Store for Contended {
        fn load(&mut self, key: &str) -> Option<Stored> {
            (key == "there").then(|| Stored {
                bytes: vec![self.value],
                version: Version(self.version),
            })
        }

        fn swap(&mut self, _: &str, bytes: &[u8], version: Version) -> bool {
            if self.rivals > 0 {
                self.rivals -= 1;
                self.value += 10;
                self.version += 1;
            }
            let wins = version == Version(self.version);
            if wins {
                self.value = bytes[0];
                self.version += 1;
            }
            wins
        }

        fn put(&mut self, _: &str, bytes: &[u8]) {
            self.value = bytes[0];
        }
    }

    fn contended(rivals: usize) -> Contended {
        Contended {
            value: 0,
            version: 1,
            rivals,
        }
    }

    fn add_one(_: &mut Contended, bytes: &[u8]) -> Option<(Vec<u8>, u8)> {
        Some((vec![bytes[0] + 1], bytes[0]))
    }

    #[test]
    fn a_step_that_loses_runs_again_on_what_the_winner_left() {
        let mut store = contended(3);
        assert_eq!(update(&mut store, "there", add_one), Some(30));
        assert_eq!(store.value, 31);
    }

    #[test]
    fn a_step_is_given_up_after_eight_losses() {
        let mut store = contended(usize::MAX);
        store.value = 0;
        assert_eq!(
            update(&mut store, "there", |_, _| Some((vec![1], ()))),
            None::<()>
        );
        assert_eq!(usize::MAX - store.rivals, TRIES);
    }

    #[test]
    fn nothing_is_written_where_nothing_is_to_do_or_nothing_is_there() {
        let mut store = contended(0);
        assert_eq!(
            update(&mut store, "there", |_, _| None::<(Vec<u8>, ())>),
            None
        );
        assert_eq!(update(&mut store, "elsewhere", add_one), None);
        assert_eq!((store.value, store.version), (0, 1));
    }
}
