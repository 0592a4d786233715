//! Exports every HTTP callback and does nothing in any of them: what merely having a module costs.

#![allow(missing_docs, reason = "a wasm module has no readers of its API")]

#[cfg(target_arch = "wasm32")]
mod guest {
    use proxy_wasm::traits::{Context, HttpContext, RootContext};
    use proxy_wasm::types::{ContextType, LogLevel};

    proxy_wasm::main! {{
        proxy_wasm::set_log_level(LogLevel::Warn);
        proxy_wasm::set_root_context(|_| Box::new(Root));
    }}

    struct Root;

    impl Context for Root {}

    impl RootContext for Root {
        fn create_http_context(&self, _context_id: u32) -> Option<Box<dyn HttpContext>> {
            Some(Box::new(Stream))
        }

        fn get_type(&self) -> Option<ContextType> {
            Some(ContextType::HttpContext)
        }
    }

    /// The traits' own default of every callback is to continue.
    struct Stream;

    impl Context for Stream {}

    impl HttpContext for Stream {}
}
