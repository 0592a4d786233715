//! Logs what properties hold, byte by byte, when a request comes and when it is over.
#![cfg(target_arch = "wasm32")]

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Box::new(Properties));
}}

struct Properties;

const PATHS: [&str; 24] = [
    "plugin_name",
    "plugin_root_id",
    "plugin_vm_id",
    "request.path",
    "request.url_path",
    "request.query",
    "request.host",
    "request.scheme",
    "request.method",
    "request.protocol",
    "request.useragent",
    "request.referer",
    "request.headers.x-many",
    "request.total_size",
    "request.size",
    "response.code",
    "response.headers.x-one",
    "source.address",
    "connection.mtls",
    "upstream.address",
    "upstream.request_attempt_count",
    "own",
    "own.part",
    "request",
];

fn log(phase: &str) {
    for path in PATHS {
        let value = hostcalls::get_property(path.split('.').collect())
            .ok()
            .flatten();
        let value = value.map_or_else(|| "-".to_owned(), |value| value.escape_ascii().to_string());
        let _ = hostcalls::log(LogLevel::Info, &format!("{phase} {path}={value}"));
    }
}

impl Context for Properties {}

impl RootContext for Properties {
    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Properties))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl HttpContext for Properties {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        let _ = hostcalls::set_property(vec!["own"], Some(b"kept"));
        let _ = hostcalls::set_property(vec!["own", "part"], Some(b"lost"));
        log("request");
        Action::Continue
    }

    fn on_log(&mut self) {
        log("log");
    }
}
