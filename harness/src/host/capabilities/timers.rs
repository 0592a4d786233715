//! The clock, and the period of ticks.

use wasmtime::Linker;

use super::hostcalls;
use crate::host::options::Profile;
use crate::host::state::State;

const NANOS_PER_MILLI: u64 = 1_000_000;

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    hostcalls!(linker:
        fn proxy_get_current_time_nanoseconds(guest, time_at: u32) {
            let now = guest.state().wall_nanos();
            guest.write_u64(time_at, now)
        }

        fn proxy_set_tick_period_milliseconds(guest, millis: u32) {
            guest.state().root_mut()?.tick_millis = millis;
            Ok(())
        }
    );
    Ok(())
}

impl State {
    /// The wall clock as the guest sees it: nginx's stands still within a callback and counts milliseconds.
    pub(super) fn wall_nanos(&self) -> u64 {
        match self.shared.options.profile {
            Profile::Envoy => self.shared.options.clock.wall_nanos(),
            Profile::Nginx => self.now / NANOS_PER_MILLI * NANOS_PER_MILLI,
        }
    }
}
