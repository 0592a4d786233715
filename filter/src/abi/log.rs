//! The `log` facade over the host's log: what any floor logs is one line of the proxy's log.

use log::{Level, LevelFilter, Log, Metadata, Record};

use super::hostcalls;

/// The host's log.
struct ProxyLog;

impl Log for ProxyLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        let level = match record.level() {
            Level::Error => hostcalls::LogLevel::Error,
            Level::Warn => hostcalls::LogLevel::Warn,
            Level::Info | Level::Debug | Level::Trace => hostcalls::LogLevel::Info,
        };
        hostcalls::log(level, &format!("junheng: {}", record.args()));
    }

    fn flush(&self) {}
}

/// Sends log lines to the host from now on. A second call changes nothing.
pub fn install() {
    if log::set_logger(&ProxyLog).is_ok() {
        log::set_max_level(LevelFilter::Info);
    }
}
