//! Requests that are held until an answer comes: the flow never waits, it returns, and is told when it may go on.

use std::time::Duration;

use super::errand::About;

/// The requests of a worker that wait for answers of one kind.
pub(super) struct Room<T> {
    held: Vec<Held<T>>,
    woken: Vec<u32>,
}

struct Held<T> {
    stream: u32,
    about: About,
    answer: Option<T>,
}

/// A room holds no more requests than this. A VM has 1 GiB, and a held request some KB of it.
const PLACES: usize = 1024;
/// An answer that is as late as this beyond its time will not come: who asked has died, or the proxy forgot.
pub(super) const GRACE: Duration = Duration::from_secs(1);

impl<T> Default for Room<T> {
    fn default() -> Room<T> {
        Room {
            held: Vec::new(),
            woken: Vec::new(),
        }
    }
}

impl<T: Clone> Room<T> {
    /// Whether nobody can be held any more.
    pub fn is_full(&self) -> bool {
        self.held.len() >= PLACES
    }

    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Holds `stream` until there is an answer about that.
    pub fn hold(&mut self, stream: u32, about: About) {
        self.held.push(Held {
            stream,
            about,
            answer: None,
        });
    }

    /// Whether anybody waits for an answer about that.
    pub fn awaits(&self, about: About) -> bool {
        self.held.iter().any(|held| held.about == about)
    }

    /// An answer has come: whoever waits for it is to go on.
    pub fn wake(&mut self, about: About, answer: &T) {
        self.wake_those(&|held| held.about == about, answer);
    }

    /// No other answer will come any more.
    pub fn wake_all(&mut self, answer: &T) {
        self.wake_those(&|_| true, answer);
    }

    /// The streams that are to go on, since the last time.
    pub fn woken(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.woken)
    }

    /// The answer that `stream` was held for, which then leaves; `None` if it still waits.
    pub fn answer(&mut self, stream: u32) -> Option<T> {
        let place = self.held.iter().position(|held| held.stream == stream)?;
        let answer = self.held.get(place)?.answer.clone()?;
        self.held.swap_remove(place);
        Some(answer)
    }

    /// A stream has ended, held or not.
    pub fn leave(&mut self, stream: u32) {
        self.held.retain(|held| held.stream != stream);
    }

    fn wake_those(&mut self, which: &dyn Fn(&Held<T>) -> bool, answer: &T) {
        for held in self.held.iter_mut().filter(|held| which(held)) {
            if held.answer.is_none() {
                held.answer = Some(answer.clone());
                self.woken.push(held.stream);
            }
        }
    }
}
