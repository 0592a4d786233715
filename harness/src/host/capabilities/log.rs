//! Writing to the log.

use wasmtime::Linker;

use super::hostcalls;
use crate::host::abi::Level;
use crate::host::log::LogLine;
use crate::host::state::State;

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    hostcalls!(linker:
        fn proxy_log(guest, level: u32, text: u32, len: u32) {
            let level = Level::try_from(level)?;
            let text = guest.text(text, len)?;
            guest.state().write_log(level, text);
            Ok(())
        }

        fn proxy_get_log_level(guest, level_at: u32) {
            let level = guest.state().shared.options.log_level;
            guest.write_u32(level_at, level as u32)
        }
    );
    Ok(())
}

impl State {
    /// Keeps a line unless it is below the host's level.
    pub(super) fn write_log(&mut self, level: Level, text: String) {
        if level < self.shared.options.log_level {
            return;
        }
        let line = LogLine {
            level,
            text,
            vm: self.vm,
        };
        if let Some(sink) = &self.shared.options.log_sink {
            sink(&line);
        }
        self.lines.push(line.clone());
        self.shared.log.push(line);
    }
}
