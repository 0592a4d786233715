//! Two plugins in one module, told apart by their root id.
#![cfg(target_arch = "wasm32")]

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Box::new(Root { refuses: false }));
}}

struct Root {
    refuses: bool,
}

struct Tagging;
struct Refusing;

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        let id = hostcalls::get_property(vec!["plugin_root_id"])
            .ok()
            .flatten()
            .unwrap_or_default();
        self.refuses = id == b"refusing";
        self.refuses || id == b"tagging"
    }

    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(if self.refuses {
            Box::new(Refusing)
        } else {
            Box::new(Tagging)
        })
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl Context for Tagging {}

impl HttpContext for Tagging {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        self.set_http_request_header("x-tag", Some("seen"));
        Action::Continue
    }
}

impl Context for Refusing {}

impl HttpContext for Refusing {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        self.send_http_response(418, vec![("x-by", "refusing")], Some(b"short and stout"));
        Action::Pause
    }

    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        // A proxy shows a filter its own answers too.
        self.set_http_response_header("x-passed", Some("response callbacks"));
        Action::Continue
    }
}
