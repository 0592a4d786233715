//! Answers, closes or resumes in the phase that the path names.
#![cfg(target_arch = "wasm32")]

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Box::new(Answers { path: String::new() }));
}}

struct Answers {
    path: String,
}

impl Context for Answers {}

impl RootContext for Answers {
    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Answers {
            path: String::new(),
        }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl Answers {
    fn answer(&self, body: &str) {
        self.send_http_response(420, vec![("x-phase", body)], Some(body.as_bytes()));
    }
}

impl HttpContext for Answers {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        self.path = self.get_http_request_header(":path").unwrap_or_default();
        match self.path.as_str() {
            "/request" => self.answer("request"),
            "/twice" => {
                self.answer("first");
                self.answer("second");
            }
            "/again" => self.answer("first"),
            "/held" => self.answer("held"),
            "/close" => self.reset_http_request(),
            "/resume-and-pause" => {
                self.resume_http_request();
                return Action::Pause;
            }
            _ => {}
        }
        // What is answered here does not matter once an answer was given.
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        self.set_http_response_header("x-seen", Some("head"));
        match self.path.as_str() {
            "/response" => self.answer("response"),
            "/again" => self.answer("again"),
            "/response-close" => self.reset_http_response(),
            "/response-held" | "/held" => {
                self.set_http_response_header("content-length", None);
                return Action::Pause;
            }
            _ => {}
        }
        Action::Continue
    }

    fn on_http_response_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        match self.path.as_str() {
            "/response-body" | "/response-held" => self.answer("response body"),
            "/held" if !end_of_stream => return Action::Pause,
            "/held" => self.set_http_response_body(size, 0, b" and more"),
            _ => {}
        }
        Action::Continue
    }
}
