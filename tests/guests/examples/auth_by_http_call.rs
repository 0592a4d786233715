//! Holds a request while a service is asked over HTTP whether it may pass.
#![cfg(target_arch = "wasm32")]

use std::time::Duration;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Box::new(Auth));
}}

struct Auth;

impl RootContext for Auth {
    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Auth))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl HttpContext for Auth {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        let token = self
            .get_http_request_header("authorization")
            .unwrap_or_default();
        let headers = vec![
            (":method", "POST"),
            (":path", "/check"),
            (":authority", "auth"),
            ("x-token", &token),
        ];
        let asked = self.dispatch_http_call(
            "auth",
            headers,
            Some(b"may it?"),
            vec![],
            Duration::from_secs(1),
        );
        if asked.is_err() {
            self.send_http_response(500, vec![], Some(b"nobody to ask"));
        }
        Action::Pause
    }
}

impl Context for Auth {
    fn on_http_call_response(
        &mut self,
        _token: u32,
        _headers: usize,
        size: usize,
        _trailers: usize,
    ) {
        if self.get_http_call_response_header(":status").as_deref() == Some("200") {
            let user = self
                .get_http_call_response_body(0, size)
                .unwrap_or_default();
            self.set_http_request_header("x-user", Some(&String::from_utf8_lossy(&user)));
            self.resume_http_request();
        } else {
            self.send_http_response(403, vec![("x-refused-by", "auth")], Some(b"refused"));
        }
    }
}
