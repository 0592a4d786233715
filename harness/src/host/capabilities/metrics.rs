//! Metrics, for guests.

use wasmtime::Linker;

use super::hostcalls;
use crate::host::abi::MetricType;
use crate::host::state::State;
use crate::host::trap::HostEnd;

pub(super) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    hostcalls!(linker:
        fn proxy_define_metric(guest, kind: u32, name: u32, name_len: u32, id_at: u32) {
            let name = guest.text(name, name_len)?;
            let kind = MetricType::try_from(kind)?;
            let state = guest.state();
            let id = state.metrics.define(&state.shared.process.metrics, kind, name);
            guest.write_u32(id_at, id)
        }

        fn proxy_increment_metric(guest, id: u32, by: i64) {
            Ok(guest.state().metrics.increment(id, by)?)
        }

        fn proxy_record_metric(guest, id: u32, value: u64) {
            Ok(guest.state().metrics.record(id, value)?)
        }

        fn proxy_get_metric(guest, id: u32, value_at: u32) {
            let state = guest.state();
            let profile = state.shared.options.profile;
            match state.metrics.read(profile, id)? {
                Some(value) => guest.write_u64(value_at, value),
                None => Err(HostEnd::EndsHost("nginx ends the VM at get_metric of a histogram").into()),
            }
        }
    );
    Ok(())
}
