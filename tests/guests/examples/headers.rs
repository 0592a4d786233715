//! Adds, replaces and removes header fields, of requests and of responses.
#![cfg(target_arch = "wasm32")]

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Box::new(Headers));
}}

struct Headers;

impl Context for Headers {}

impl RootContext for Headers {
    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Headers))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl HttpContext for Headers {
    fn on_http_request_headers(&mut self, count: usize, end_of_stream: bool) -> Action {
        self.add_http_request_header("x-added", "one");
        self.add_http_request_header("x-added", "two");
        self.set_http_request_header("user-agent", Some("replaced"));
        self.set_http_request_header("cookie", None);
        self.set_http_request_header("x-count", Some(&count.to_string()));
        self.set_http_request_header("x-end", Some(&end_of_stream.to_string()));
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        let status = self.get_http_response_header(":status").unwrap_or_default();
        self.set_http_response_header("x-seen-status", Some(&status));
        Action::Continue
    }
}
