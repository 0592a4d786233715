//! Does what only nginx's host objects to, by path.
#![cfg(target_arch = "wasm32")]

use std::time::{Duration, UNIX_EPOCH};

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, BufferType, ContextType, MetricType};

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Box::new(Nginx));
}}

struct Nginx;

impl Context for Nginx {}

impl RootContext for Nginx {
    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Nginx))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl Nginx {
    fn tell(&self, name: &str, value: impl ToString) {
        self.set_http_request_header(name, Some(&value.to_string()));
    }

    fn call(&self, upstream: &str) -> bool {
        let headers = vec![(":method", "GET"), (":path", "/"), (":authority", "a")];
        self.dispatch_http_call(upstream, headers, None, vec![], Duration::from_secs(1))
            .is_ok()
    }
}

impl HttpContext for Nginx {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        match self
            .get_http_request_header(":path")
            .unwrap_or_default()
            .as_str()
        {
            "/known-variable" => {
                let set = hostcalls::set_property(vec!["ngx", "pool"], Some(b"small"));
                let read = hostcalls::get_property(vec!["ngx", "pool"]).ok().flatten();
                self.tell("x-set", set.is_ok() && read.as_deref() == Some(b"small"));
            }
            "/unknown-variable" => drop(hostcalls::set_property(vec!["ngx", "none"], Some(b""))),
            "/peer" => drop(hostcalls::get_property(vec!["upstream", "address"])),
            "/histogram" => {
                if let Ok(id) = hostcalls::define_metric(MetricType::Histogram, "h") {
                    let _ = hostcalls::record_metric(id, 1);
                    let _ = hostcalls::get_metric(id);
                }
            }
            "/bad-host" => drop(self.call("not a host")),
            "/clock" => {
                let now = hostcalls::get_current_time().map(|time| time.duration_since(UNIX_EPOCH));
                self.tell(
                    "x-now",
                    now.ok().and_then(Result::ok).unwrap_or_default().as_nanos(),
                );
            }
            _ => {}
        }
        Action::Continue
    }

    fn on_http_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        self.tell("x-body", format!("{size} {end_of_stream}"));
        let _ = hostcalls::get_buffer(BufferType::HttpRequestBody, 0, 4);
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        let called = self.call("127.0.0.1:1");
        self.set_http_response_header("x-called", Some(&called.to_string()));
        Action::Continue
    }
}
