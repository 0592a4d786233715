//! Holds every request until the next tick, which lets all of them go from the root context.
#![cfg(target_arch = "wasm32")]

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant, UNIX_EPOCH};

use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, LogLevel};

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|id| Box::new(Root { id, held: Rc::default(), started: Instant::now() }));
}}

type Held = Rc<RefCell<Vec<u32>>>;

struct Root {
    id: u32,
    held: Held,
    started: Instant,
}

struct Stream {
    id: u32,
    held: Held,
}

impl Context for Root {}

impl RootContext for Root {
    fn on_configure(&mut self, _size: usize) -> bool {
        self.set_tick_period(Duration::from_millis(100));
        true
    }

    fn on_tick(&mut self) {
        let wall = self
            .get_current_time()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let text = format!(
            "wall {} ms, running {} ms",
            wall.as_millis(),
            self.started.elapsed().as_millis()
        );
        let _ = hostcalls::log(LogLevel::Info, &text);
        for id in self.held.borrow_mut().drain(..) {
            let _ = hostcalls::set_effective_context(id);
            let _ = hostcalls::resume_http_request();
        }
        let _ = hostcalls::set_effective_context(self.id);
    }

    fn create_http_context(&self, id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream {
            id,
            held: Rc::clone(&self.held),
        }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        self.held.borrow_mut().push(self.id);
        Action::Pause
    }
}
