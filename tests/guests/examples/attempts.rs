//! Tells the proxy how to retry, and logs at each later callback how the request fared.
//!
//! What a client says in `x-set-NAME` becomes the request header `NAME`: so the orders are a filter's.
#![cfg(target_arch = "wasm32")]

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Box::new(Root));
}}

struct Root;

struct Attempts;

/// The phase, the details, the status, the attempts and the endpoint, in one line.
fn log(phase: &str) {
    let text = |path: &[&str]| {
        let value = hostcalls::get_property(path.to_vec()).ok().flatten();
        value.map_or_else(|| "-".to_owned(), |value| value.escape_ascii().to_string())
    };
    let number = |path: &[&str]| {
        let value = hostcalls::get_property(path.to_vec()).ok().flatten();
        let value = value.and_then(|value| value.try_into().ok());
        value.map_or_else(
            || "-".to_owned(),
            |value| u64::from_le_bytes(value).to_string(),
        )
    };
    let line = format!(
        "{phase} {} {} {} {}",
        text(&["response", "code_details"]),
        number(&["response", "code"]),
        number(&["upstream", "request_attempt_count"]),
        text(&["upstream", "address"]),
    );
    let _ = hostcalls::log(LogLevel::Info, &line);
}

impl Context for Root {}

impl RootContext for Root {
    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Attempts))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl Context for Attempts {
    fn on_done(&mut self) -> bool {
        log("done");
        true
    }
}

impl HttpContext for Attempts {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        for (name, value) in self.get_http_request_headers() {
            if let Some(name) = name.strip_prefix("x-set-") {
                self.set_http_request_header(name, Some(&value));
            }
        }
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        log("headers");
        Action::Continue
    }

    fn on_log(&mut self) {
        log("log");
    }
}

/// The SDK drops a context in `proxy_on_delete`.
impl Drop for Attempts {
    fn drop(&mut self) {
        log("delete");
    }
}
