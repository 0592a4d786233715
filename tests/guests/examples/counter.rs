//! Counts requests over all VMs in shared data, by compare-and-swap.
#![cfg(target_arch = "wasm32")]

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, Status};

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Box::new(Counter));
}}

struct Counter;

const KEY: &str = "hits";

impl RootContext for Counter {
    fn on_configure(&mut self, _size: usize) -> bool {
        // A missing key takes any write, so it is made before anybody counts; losing this race is as good as winning it.
        if self.get_shared_data(KEY).0.is_none() {
            let _ = self.set_shared_data(KEY, Some(&0_u64.to_le_bytes()), None);
        }
        true
    }

    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Counter))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl Context for Counter {}

impl HttpContext for Counter {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        loop {
            let (Some(bytes), cas) = self.get_shared_data(KEY) else {
                return Action::Continue;
            };
            let hits = u64::from_le_bytes(bytes.try_into().unwrap_or_default()) + 1;
            match self.set_shared_data(KEY, Some(&hits.to_le_bytes()), cas) {
                Err(Status::CasMismatch) => {}
                _ => return Action::Continue,
            }
        }
    }
}
