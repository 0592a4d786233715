//! Counts requests, keeps a gauge of those in flight and a histogram of their sizes.
#![cfg(target_arch = "wasm32")]

use proxy_wasm::hostcalls::{define_metric, increment_metric, record_metric};
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, MetricType};

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Box::new(Metrics::default()));
}}

#[derive(Clone, Copy, Default)]
struct Metrics {
    requests: u32,
    in_flight: u32,
    sizes: u32,
}

impl RootContext for Metrics {
    fn on_configure(&mut self, _size: usize) -> bool {
        let define = |kind, name| define_metric(kind, name).unwrap_or_default();
        self.requests = define(MetricType::Counter, "requests");
        self.in_flight = define(MetricType::Gauge, "in_flight");
        self.sizes = define(MetricType::Histogram, "sizes");
        true
    }

    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(*self))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl Context for Metrics {}

impl HttpContext for Metrics {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        let _ = increment_metric(self.requests, 1);
        let _ = increment_metric(self.in_flight, 1);
        Action::Continue
    }

    fn on_http_request_body(&mut self, size: usize, _end_of_stream: bool) -> Action {
        let _ = record_metric(self.sizes, size as u64);
        Action::Continue
    }

    fn on_log(&mut self) {
        let _ = increment_metric(self.in_flight, -1);
    }
}
