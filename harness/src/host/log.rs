//! What guests write: kept in order over all VMs of a host, bounded.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use super::abi::Level;
use super::limits;

/// One line that a guest wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// How loud.
    pub level: Level,
    /// What, as UTF-8 with replacement characters where it was not.
    pub text: String,
    /// Which VM of the host, the first being 0.
    pub vm: u64,
}

#[derive(Debug, Default)]
pub(super) struct Log(Mutex<VecDeque<LogLine>>);

impl Log {
    pub(super) fn push(&self, line: LogLine) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == limits::LOG_LINES {
            lines.pop_front();
        }
        lines.push_back(line);
    }

    pub(super) fn lines(&self) -> Vec<LogLine> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .cloned()
            .collect()
    }
}
