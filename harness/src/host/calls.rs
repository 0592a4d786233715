//! The table of hostcalls, and how often each was made.
//!
//! A call that returns data re-enters the guest's allocator and costs several times one that does not,
//! so the two are counted apart: a budget of such calls can be held by a test.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

/// Every call that answers a status, by the name that modules import it under.
pub(super) const NAMES: [&str; 48] = [
    "proxy_log",
    "proxy_get_log_level",
    "proxy_get_current_time_nanoseconds",
    "proxy_set_tick_period_milliseconds",
    "proxy_get_property",
    "proxy_set_property",
    "proxy_get_configuration",
    "proxy_get_status",
    "proxy_get_header_map_pairs",
    "proxy_set_header_map_pairs",
    "proxy_get_header_map_value",
    "proxy_add_header_map_value",
    "proxy_replace_header_map_value",
    "proxy_remove_header_map_value",
    "proxy_get_header_map_size",
    "proxy_get_buffer_bytes",
    "proxy_get_buffer_status",
    "proxy_set_buffer_bytes",
    "proxy_send_local_response",
    "proxy_continue_stream",
    "proxy_close_stream",
    "proxy_continue_request",
    "proxy_continue_response",
    "proxy_clear_route_cache",
    "proxy_get_shared_data",
    "proxy_set_shared_data",
    "proxy_register_shared_queue",
    "proxy_resolve_shared_queue",
    "proxy_enqueue_shared_queue",
    "proxy_dequeue_shared_queue",
    "proxy_define_metric",
    "proxy_increment_metric",
    "proxy_record_metric",
    "proxy_get_metric",
    "proxy_http_call",
    "proxy_grpc_call",
    "proxy_grpc_stream",
    "proxy_grpc_send",
    "proxy_grpc_cancel",
    "proxy_grpc_close",
    "proxy_set_effective_context",
    "proxy_done",
    "proxy_call_foreign_function",
    "fd_write",
    "clock_time_get",
    "random_get",
    "environ_get",
    "environ_sizes_get",
];

/// How often hostcalls were made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    /// By name; calls never made are left out.
    pub by_name: BTreeMap<&'static str, u64>,
    /// How many calls returned data, re-entering the guest's allocator.
    pub returning_data: u64,
}

impl Calls {
    /// All calls.
    pub fn total(&self) -> u64 {
        self.by_name.values().sum()
    }

    /// Calls of one name.
    pub fn of(&self, name: &str) -> u64 {
        self.by_name.get(name).copied().unwrap_or(0)
    }

    /// What was called since an `earlier` count.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let by_name = self
            .by_name
            .iter()
            .map(|(name, count)| (*name, count - earlier.of(name)));
        Self {
            by_name: by_name.filter(|(_, count)| *count > 0).collect(),
            returning_data: self.returning_data - earlier.returning_data,
        }
    }
}

#[derive(Debug)]
pub(super) struct Counters {
    calls: [AtomicU64; NAMES.len()],
    returning_data: AtomicU64,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            calls: std::array::from_fn(|_| AtomicU64::new(0)),
            returning_data: AtomicU64::new(0),
        }
    }
}

impl Counters {
    pub(super) fn called(&self, index: usize) {
        if let Some(counter) = self.calls.get(index) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn returned_data(&self) {
        self.returning_data.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> Calls {
        let counts = NAMES
            .iter()
            .zip(&self.calls)
            .map(|(name, count)| (*name, count.load(Ordering::Relaxed)));
        Calls {
            by_name: counts.filter(|(_, count)| *count > 0).collect(),
            returning_data: self.returning_data.load(Ordering::Relaxed),
        }
    }
}

/// A call's place in the table.
pub(super) fn index(name: &str) -> usize {
    NAMES
        .iter()
        .position(|known| *known == name)
        .unwrap_or(NAMES.len())
}
