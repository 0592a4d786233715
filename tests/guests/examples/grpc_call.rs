//! Asks a service over gRPC about each request, and keeps a gRPC stream of its own open.
#![cfg(target_arch = "wasm32")]

use std::time::Duration;

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Box::new(Root));
}}

struct Root;
struct Asking;

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        if let Ok(stream) =
            self.open_grpc_stream("reports", "demo.Reports", "Send", vec![("x-who", b"guest")])
        {
            self.send_grpc_stream_message(stream, Some(b"hello"), false);
        }
        true
    }

    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Asking))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl Context for Root {
    fn on_grpc_stream_initial_metadata(&mut self, _token: u32, _count: u32) {
        let who = self
            .get_grpc_stream_initial_metadata_value("x-who")
            .unwrap_or_default();
        let _ = hostcalls::log(
            LogLevel::Info,
            &format!("metadata from {}", String::from_utf8_lossy(&who)),
        );
    }

    fn on_grpc_stream_message(&mut self, token: u32, size: usize) {
        let message = self.get_grpc_stream_message(0, size).unwrap_or_default();
        let _ = hostcalls::log(
            LogLevel::Info,
            &format!("message {}", String::from_utf8_lossy(&message)),
        );
        self.close_grpc_stream(token);
    }

    fn on_grpc_stream_close(&mut self, _token: u32, status: u32) {
        let (_, message) = self.get_grpc_status();
        let _ = hostcalls::log(
            LogLevel::Info,
            &format!("closed {status} {}", message.unwrap_or_default()),
        );
    }
}

impl HttpContext for Asking {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        let path = self.get_http_request_header(":path").unwrap_or_default();
        let wait = Duration::from_millis(250);
        let asked = self.dispatch_grpc_call(
            "limits",
            "demo.Limits",
            "Check",
            vec![],
            Some(path.as_bytes()),
            wait,
        );
        if asked.is_err() {
            self.send_http_response(500, vec![], None);
        }
        Action::Pause
    }
}

impl Context for Asking {
    fn on_grpc_call_response(&mut self, _token: u32, status: u32, size: usize) {
        let answer = self
            .get_grpc_call_response_body(0, size)
            .unwrap_or_default();
        if status == 0 && answer == b"yes" {
            self.resume_http_request();
        } else {
            self.send_http_response(429, vec![("retry-after", "1")], None);
        }
    }
}
