//! Makes every hostcall in every phase and logs the status of each: what a host answers, in a host's own words.
//!
//! The calls are declared here and not taken from the SDK, whose wrappers panic at a status they do not expect.
//! Bodies are held until they are whole; nothing else depends on what is answered.
#![cfg(target_arch = "wasm32")]

use std::fmt::Write;
use std::ptr::null;

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Box::new(Probe));
}}

struct Probe;

#[rustfmt::skip]
unsafe extern "C" {
    fn proxy_log(level: u32, text: *const u8, len: usize) -> u32;
    fn proxy_get_log_level(level: *mut u32) -> u32;
    fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
    fn proxy_get_header_map_pairs(map: u32, pairs: *mut *mut u8, len: *mut usize) -> u32;
    fn proxy_set_header_map_pairs(map: u32, pairs: *const u8, len: usize) -> u32;
    fn proxy_get_header_map_value(map: u32, n: *const u8, nl: usize, v: *mut *mut u8, vl: *mut usize) -> u32;
    fn proxy_add_header_map_value(map: u32, n: *const u8, nl: usize, v: *const u8, vl: usize) -> u32;
    fn proxy_replace_header_map_value(map: u32, n: *const u8, nl: usize, v: *const u8, vl: usize) -> u32;
    fn proxy_remove_header_map_value(map: u32, n: *const u8, nl: usize) -> u32;
    fn proxy_get_header_map_size(map: u32, size: *mut usize) -> u32;
    fn proxy_get_buffer_bytes(buffer: u32, start: usize, len: usize, b: *mut *mut u8, bl: *mut usize) -> u32;
    fn proxy_get_buffer_status(buffer: u32, len: *mut usize, flags: *mut u32) -> u32;
    fn proxy_set_buffer_bytes(buffer: u32, start: usize, len: usize, b: *const u8, bl: usize) -> u32;
    fn proxy_get_property(path: *const u8, pl: usize, v: *mut *mut u8, vl: *mut usize) -> u32;
    fn proxy_set_property(path: *const u8, pl: usize, v: *const u8, vl: usize) -> u32;
    fn proxy_get_shared_data(k: *const u8, kl: usize, v: *mut *mut u8, vl: *mut usize, cas: *mut u32) -> u32;
    fn proxy_resolve_shared_queue(vm: *const u8, vl: usize, n: *const u8, nl: usize, t: *mut u32) -> u32;
    fn proxy_enqueue_shared_queue(token: u32, v: *const u8, vl: usize) -> u32;
    fn proxy_dequeue_shared_queue(token: u32, v: *mut *mut u8, vl: *mut usize) -> u32;
    fn proxy_define_metric(kind: u32, n: *const u8, nl: usize, id: *mut u32) -> u32;
    fn proxy_increment_metric(id: u32, by: i64) -> u32;
    fn proxy_record_metric(id: u32, value: u64) -> u32;
    fn proxy_get_metric(id: u32, value: *mut u64) -> u32;
    fn proxy_http_call(u: *const u8, ul: usize, h: *const u8, hl: usize, b: *const u8, bl: usize,
        t: *const u8, tl: usize, timeout: u32, token: *mut u32) -> u32;
    fn proxy_grpc_send(token: u32, m: *const u8, ml: usize, end: u32) -> u32;
    fn proxy_grpc_cancel(token: u32) -> u32;
    fn proxy_grpc_close(token: u32) -> u32;
    fn proxy_continue_stream(stream: u32) -> u32;
    fn proxy_close_stream(stream: u32) -> u32;
    fn proxy_set_effective_context(id: u32) -> u32;
    fn proxy_done() -> u32;
    fn proxy_call_foreign_function(n: *const u8, nl: usize, a: *const u8, al: usize, r: *mut *mut u8,
        rl: *mut usize) -> u32;
}

/// Logs the phase and `call=status` for each call, calls that differ by an index joined as `call=s,s,s`.
fn probe(phase: &str) {
    let (mut p, mut n, mut small, mut big) = (std::ptr::null_mut(), 0, 0, 0);
    let mut line = format!("{phase}:");
    let mut note = |call: &str, statuses: &[u32]| {
        let statuses: Vec<_> = statuses.iter().map(u32::to_string).collect();
        let _ = write!(line, " {call}={}", statuses.join(","));
    };
    let name = b"x-probe";
    let four: Vec<u32> = (0..4).collect();
    let maps: Vec<u32> = (0..9).collect();
    let buffers: Vec<u32> = (0..10).collect();
    let each = |list: &[u32], call: &mut dyn FnMut(u32) -> u32| {
        list.iter().map(|i| call(*i)).collect::<Vec<_>>()
    };
    // SAFETY: every pointer is to memory that outlives its call, and what comes back is leaked.
    unsafe {
        note(
            "pairs",
            &each(&maps, &mut |map| {
                proxy_get_header_map_pairs(map, &mut p, &mut n)
            }),
        );
        note(
            "value",
            &each(&maps, &mut |map| {
                proxy_get_header_map_value(map, b"x-none".as_ptr(), 6, &mut p, &mut n)
            }),
        );
        note(
            "size",
            &each(&maps, &mut |map| proxy_get_header_map_size(map, &mut n)),
        );
        note(
            "add",
            &each(&maps, &mut |map| {
                proxy_add_header_map_value(map, name.as_ptr(), 7, name.as_ptr(), 7)
            }),
        );
        note(
            "replace",
            &each(&maps, &mut |map| {
                proxy_replace_header_map_value(map, name.as_ptr(), 7, name.as_ptr(), 7)
            }),
        );
        note(
            "remove",
            &each(&maps, &mut |map| {
                proxy_remove_header_map_value(map, name.as_ptr(), 7)
            }),
        );
        // Maps 0 to 3 are real by now in some phase; emptying them would end the stream.
        note(
            "set",
            &each(&maps[4..], &mut |map| {
                proxy_set_header_map_pairs(map, null(), 0)
            }),
        );
        note(
            "bytes",
            &each(&buffers, &mut |buffer| {
                proxy_get_buffer_bytes(buffer, 0, 10, &mut p, &mut n)
            }),
        );
        note(
            "status",
            &each(&buffers, &mut |buffer| {
                proxy_get_buffer_status(buffer, &mut n, &mut small)
            }),
        );
        note(
            "overflow",
            &[proxy_get_buffer_bytes(0, usize::MAX, 2, &mut p, &mut n)],
        );
        note(
            "write",
            &each(&buffers[1..], &mut |buffer| {
                proxy_set_buffer_bytes(buffer, 0, 0, name.as_ptr(), 0)
            }),
        );
        note(
            "own",
            &[
                proxy_set_property(name.as_ptr(), 7, name.as_ptr(), 7),
                proxy_get_property(name.as_ptr(), 7, &mut p, &mut n),
            ],
        );
        let mut property =
            |path: &[u8]| proxy_get_property(path.as_ptr(), path.len(), &mut p, &mut n);
        note(
            "plugin",
            &[
                property(b"plugin_root_id"),
                property(b"plugin_vm_id"),
                property(b"plugin_name"),
            ],
        );
        note(
            "request",
            &[
                property(b"request\0path"),
                property(b"request\0method"),
                property(b"request\0headers\0:path"),
                property(b"request\0protocol"),
                property(b"request\0time"),
                property(b"request\0duration"),
            ],
        );
        note(
            "peers",
            &[
                property(b"source\0address"),
                property(b"source\0port"),
                property(b"destination\0port"),
            ],
        );
        note(
            "response",
            &[property(b"response\0code"), property(b"response\0nothing")],
        );
        note(
            "unknown",
            &[
                property(b"nothing"),
                property(b"request\0nothing"),
                property(b"plugin_name\0x"),
            ],
        );
        note(
            "data",
            &[proxy_get_shared_data(
                b"none".as_ptr(),
                4,
                &mut p,
                &mut n,
                &mut small,
            )],
        );
        note(
            "queue",
            &[
                proxy_resolve_shared_queue(null(), 0, b"none".as_ptr(), 4, &mut small),
                proxy_enqueue_shared_queue(99, name.as_ptr(), 7),
                proxy_dequeue_shared_queue(99, &mut p, &mut n),
            ],
        );
        note(
            "define",
            &[proxy_define_metric(3, name.as_ptr(), 7, &mut small)],
        );
        note(
            "increment",
            &each(&[400, 401, 402, 403], &mut |id| {
                proxy_increment_metric(id, 1)
            }),
        );
        note(
            "record",
            &each(&[400, 401, 402, 403], &mut |id| proxy_record_metric(id, 1)),
        );
        note(
            "metric",
            &each(&[400, 401, 402, 403], &mut |id| {
                proxy_get_metric(id, &mut big)
            }),
        );
        let mut call = |cluster: &[u8], timeout| {
            let (c, cl) = (cluster.as_ptr(), cluster.len());
            proxy_http_call(c, cl, null(), 0, null(), 0, null(), 0, timeout, &mut small)
        };
        note(
            "http",
            &[
                call(b"none", 5),
                call(b"known", 5),
                call(b"known", u32::MAX),
            ],
        );
        note(
            "send",
            &each(&four, &mut |token| {
                proxy_grpc_send(400 + token, null(), 0, 0)
            }),
        );
        note(
            "cancel",
            &each(&four, &mut |token| proxy_grpc_cancel(400 + token)),
        );
        note(
            "close",
            &each(&four, &mut |token| proxy_grpc_close(400 + token)),
        );
        note(
            "streams",
            &[
                proxy_continue_stream(4),
                proxy_continue_stream(3),
                proxy_close_stream(4),
            ],
        );
        note("context", &[proxy_set_effective_context(99_999)]);
        note("done", &[proxy_done()]);
        note(
            "foreign",
            &[proxy_call_foreign_function(
                b"none".as_ptr(),
                4,
                null(),
                0,
                &mut p,
                &mut n,
            )],
        );
        note(
            "outside",
            &[
                proxy_get_shared_data(usize::MAX as *const u8, 9, &mut p, &mut n, &mut small),
                proxy_get_current_time_nanoseconds((usize::MAX - 3) as *mut u64),
                proxy_log(2, usize::MAX as *const u8, 9),
                proxy_log(6, name.as_ptr(), 7),
            ],
        );
        note(
            "clock",
            &[
                proxy_get_current_time_nanoseconds(&mut big),
                proxy_get_log_level(&mut small),
            ],
        );
        proxy_log(2, line.as_ptr(), line.len());
    }
}

impl Context for Probe {
    fn on_done(&mut self) -> bool {
        probe("done");
        true
    }
}

impl RootContext for Probe {
    fn on_vm_start(&mut self, _size: usize) -> bool {
        probe("vm_start");
        true
    }

    fn on_configure(&mut self, _size: usize) -> bool {
        probe("configure");
        true
    }

    fn create_http_context(&self, _id: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Probe))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

impl HttpContext for Probe {
    fn on_http_request_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        probe("request_headers");
        if end_of_stream {
            Action::Continue
        } else {
            Action::Pause
        }
    }

    fn on_http_request_body(&mut self, _size: usize, end_of_stream: bool) -> Action {
        probe(if end_of_stream {
            "request_body_end"
        } else {
            "request_body"
        });
        if end_of_stream {
            Action::Continue
        } else {
            Action::Pause
        }
    }

    fn on_http_request_trailers(&mut self, _count: usize) -> Action {
        probe("request_trailers");
        Action::Continue
    }

    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        probe("response_headers");
        Action::Continue
    }

    fn on_http_response_body(&mut self, _size: usize, end_of_stream: bool) -> Action {
        probe(if end_of_stream {
            "response_body_end"
        } else {
            "response_body"
        });
        Action::Continue
    }

    fn on_http_response_trailers(&mut self, _count: usize) -> Action {
        probe("response_trailers");
        Action::Continue
    }

    fn on_log(&mut self) {
        probe("log");
    }
}
