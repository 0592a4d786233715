//! Modules that have nothing to do with Junheng, in the host: each guest proves one behaviour.

use std::collections::HashMap;
use std::sync::{Mutex, OnceLock};

use harness::artifact;
use harness::host::{
    Headers, Host, Level, Module, Options, StreamId, StreamInfo, Trap, Verdict, Vm,
};

mod behaviour;
mod calls;
mod limits;
mod nginx;
mod statuses;

/// Runs `requests` requests with a body of three bytes on each of `vms` VMs, each in its own thread.
fn on_threads(host: &Host, vms: usize, requests: u64) {
    std::thread::scope(|scope| {
        for _ in 0..vms {
            let mut vm = host.start_vm().unwrap();
            scope.spawn(move || {
                for _ in 0..requests {
                    let id = vm.open_stream(StreamInfo::default());
                    vm.request_headers(id, request("/"), false).unwrap();
                    vm.request_body(id, b"abc", true).unwrap();
                    vm.close(id).unwrap();
                }
            });
        }
    });
}

fn held_by_auth(vm: &mut Vm, token: &str) -> StreamId {
    let id = vm.open_stream(StreamInfo::default());
    let mut head = request("/");
    head.add("authorization", token);
    assert_eq!(vm.request_headers(id, head, true).unwrap(), Verdict::Pause);
    id
}

fn end_of(guest: &str, path: &str, options: Options) -> Trap {
    let mut vm = vm(guest, options);
    let id = vm.open_stream(StreamInfo::default());
    let trap = vm.request_headers(id, request(path), true).unwrap_err();
    assert_eq!(vm.trap().map(ToString::to_string), Some(trap.to_string()));
    trap
}

fn probed_stream(vm: &mut Vm) -> StreamId {
    vm.open_stream(StreamInfo {
        downstream_address: "127.0.0.1:40000".into(),
        local_address: "127.0.0.1:8080".into(),
        protocol: "HTTP/1.1".into(),
        ..StreamInfo::default()
    })
}

fn probed_response(vm: &mut Vm, id: StreamId) {
    vm.response_headers(id, status(200), false).unwrap();
    vm.response_body(id, b"hello", false).unwrap();
    vm.response_body(id, b"world", false).unwrap();
    vm.response_body(id, b"", true).unwrap();
    vm.close(id).unwrap();
}

fn request(path: &str) -> Headers {
    Headers::from([
        (":method", "GET"),
        (":path", path),
        (":authority", "example.org"),
        (":scheme", "http"),
        ("user-agent", "test"),
        ("x-request-id", "1"),
    ])
}

fn status(code: u32) -> Headers {
    Headers::from([(":status", code.to_string())])
}

fn vm(guest: &str, options: Options) -> Vm {
    host(guest, options).start_vm().unwrap()
}

fn host(guest: &str, options: Options) -> Host {
    Host::new(
        &module(guest),
        Options {
            log_level: Level::Info,
            ..options
        },
    )
}

/// What the host's VMs wrote.
fn texts(host: &Host) -> Vec<String> {
    host.logs().into_iter().map(|line| line.text).collect()
}

/// The guest, built and compiled once for all tests.
pub fn module(guest: &str) -> Module {
    static MODULES: OnceLock<Mutex<HashMap<String, Module>>> = OnceLock::new();
    let mut modules = MODULES
        .get_or_init(Mutex::default)
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    let load = || {
        let path = artifact::build_guest(guest).unwrap();
        Module::new(&std::fs::read(path).unwrap()).unwrap()
    };
    modules.entry(guest.to_owned()).or_insert_with(load).clone()
}
