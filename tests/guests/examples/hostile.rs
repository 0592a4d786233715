//! Does what a host has to bound: loops, eats memory, recurses, answers while it is being logged.
#![cfg(target_arch = "wasm32")]

use std::hint::black_box;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Box::new(Hostile { answers_in_log: false }));
}}

struct Hostile {
    answers_in_log: bool,
}

impl Context for Hostile {}

impl RootContext for Hostile {
    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Hostile {
            answers_in_log: false,
        }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl HttpContext for Hostile {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        match self.get_http_request_header(":path").as_deref() {
            Some("/loop") => loop {
                black_box(0);
            },
            Some("/grow") => {
                let mut eaten = Vec::new();
                loop {
                    eaten.push(black_box(vec![1_u8; 1 << 20]));
                }
            }
            Some("/recurse") => drop(black_box(recurse(1))),
            Some("/exit") => std::process::exit(7),
            Some("/log") => self.answers_in_log = true,
            _ => {}
        }
        Action::Continue
    }

    fn on_log(&mut self) {
        if self.answers_in_log {
            self.send_http_response(200, vec![], None);
        }
    }
}

fn recurse(depth: u64) -> u64 {
    let here = black_box([depth; 64]);
    if black_box(true) {
        recurse(depth + 1) + here[63]
    } else {
        depth
    }
}
