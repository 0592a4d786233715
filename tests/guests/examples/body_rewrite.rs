//! Holds a request until its body is whole, changes the body and lets the request go.
#![cfg(target_arch = "wasm32")]

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Box::new(BodyRewrite));
}}

struct BodyRewrite;

impl Context for BodyRewrite {}

impl RootContext for BodyRewrite {
    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(BodyRewrite))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl HttpContext for BodyRewrite {
    fn on_http_request_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        if end_of_stream {
            return Action::Continue;
        }
        // The new body has another length.
        self.set_http_request_header("content-length", None);
        Action::Pause
    }

    fn on_http_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        if !end_of_stream {
            return Action::Pause;
        }
        let body = self.get_http_request_body(0, size).unwrap_or_default();
        let text = String::from_utf8_lossy(&body).replace("cat", "tiger");
        self.set_http_request_body(0, size, text.as_bytes());
        self.set_http_request_header("x-told-size", Some(&size.to_string()));
        Action::Continue
    }
}
