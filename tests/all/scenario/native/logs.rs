//! The `log` facade of native scenarios: each thread, and so each test, has lines of its own.

use std::cell::RefCell;
use std::sync::Once;

use log::{LevelFilter, Log, Metadata, Record};

thread_local! {
    static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

struct ThreadLog;

impl Log for ThreadLog {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let line = format!("junheng: {}", record.args());
        LINES.with_borrow_mut(|lines| lines.push(line));
    }

    fn flush(&self) {}
}

/// Keeps what this thread logs from now on.
pub fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&ThreadLog).expect("no other logger");
        log::set_max_level(LevelFilter::Info);
    });
}

/// What this thread has logged.
pub fn lines() -> Vec<String> {
    LINES.with_borrow(Clone::clone)
}
