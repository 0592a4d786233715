//! The embedded gateway: Envoy's callbacks in Envoy's order, retries, limits, and what happens when
//! a VM, an endpoint or a client goes away.
//!
//! The guests are a few lines of WebAssembly text each: the gateway must run any module, and with
//! these nothing but the gateway is tested.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use harness::fleet::{Answer, Caller, EndpointSpec, Fleet, Speed};
use harness::gateway::{DESTINATION, Gateway, GatewayOptions};
use harness::host::Module;
use http::Request;
use http_body_util::Full;
use serde_json::json;

mod attempts;
mod callbacks;
mod departures;
mod limits;
mod orders;
mod starting;
mod vms;

/// A module that logs each callback (`name end`), and answers with what `answers` says: 0 goes on, 1 pauses.
fn guest(answers: [i32; 4], trap_at: i32) -> Module {
    let [
        request_headers,
        request_body,
        response_headers,
        response_body,
    ] = answers;
    let text = format!(
        r#"(module
  (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
  (memory (export "memory") 4)
  (global $top (mut i32) (i32.const 65536))
  (data (i32.const 0) "request_headers 0request_body 0request_trailers 0response_headers 0response_body 0done 0")
  (func $say (param $at i32) (param $len i32) (param $end i32)
    (i32.store8 (i32.sub (i32.add (local.get $at) (local.get $len)) (i32.const 1)) (i32.add (i32.const 48) (local.get $end)))
    (drop (call $log (i32.const 2) (local.get $at) (local.get $len))))
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param i32) (result i32)
    (global.set $top (i32.add (global.get $top) (local.get 0)))
    (i32.sub (global.get $top) (local.get 0)))
  (func (export "proxy_on_context_create") (param i32 i32))
  (func (export "proxy_on_vm_start") (param i32 i32) (result i32) (i32.const 1))
  (func (export "proxy_on_configure") (param i32 i32) (result i32) (i32.const 1))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (if (i32.ge_s (local.get 1) (i32.const {trap_at})) (then unreachable))
    (call $say (i32.const 0) (i32.const 17) (local.get 2))
    (select (i32.const 0) (i32.const {request_headers}) (local.get 2)))
  (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32)
    (call $say (i32.const 17) (i32.const 14) (local.get 2))
    (select (i32.const 0) (i32.const {request_body}) (local.get 2)))
  (func (export "proxy_on_request_trailers") (param i32 i32) (result i32)
    (call $say (i32.const 31) (i32.const 18) (i32.const 1)) (i32.const 0))
  (func (export "proxy_on_response_headers") (param i32 i32 i32) (result i32)
    (call $say (i32.const 49) (i32.const 18) (local.get 2))
    (select (i32.const 0) (i32.const {response_headers}) (local.get 2)))
  (func (export "proxy_on_response_body") (param i32 i32 i32) (result i32)
    (call $say (i32.const 67) (i32.const 15) (local.get 2))
    (select (i32.const 0) (i32.const {response_body}) (local.get 2)))
  (func (export "proxy_on_done") (param i32) (result i32) (call $say (i32.const 82) (i32.const 6) (i32.const 1)) (i32.const 1))
  (func (export "proxy_on_log") (param i32))
  (func (export "proxy_on_delete") (param i32)))"#
    );
    Module::new(text.as_bytes()).unwrap()
}

/// A module that holds each request until a call to the cluster `all` was answered, and ticks.
fn asking_guest() -> Module {
    let fields = [
        (":method", "GET"),
        (":path", "/health"),
        (":authority", "h"),
    ];
    let lengths = fields
        .iter()
        .flat_map(|(name, value)| [name.len(), value.len()]);
    let mut headers: Vec<u8> = std::iter::once(fields.len())
        .chain(lengths)
        .flat_map(|n| (n as u32).to_le_bytes())
        .collect();
    for text in fields.iter().flat_map(|(name, value)| [name, value]) {
        headers.extend(text.bytes().chain([0]));
    }
    let data: String = headers.iter().map(|byte| format!("\\{byte:02x}")).collect();
    let text = format!(
        r#"(module
  (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
  (import "env" "proxy_http_call" (func $call (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "env" "proxy_set_effective_context" (func $act_for (param i32) (result i32)))
  (import "env" "proxy_continue_stream" (func $go_on (param i32) (result i32)))
  (import "env" "proxy_set_tick_period_milliseconds" (func $tick (param i32) (result i32)))
  (memory (export "memory") 2)
  (global $held (mut i32) (i32.const 0))
  (data (i32.const 0) "allaskedansweredticked")
  (data (i32.const 100) "{data}")
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "malloc") (param i32) (result i32) (i32.const 65536))
  (func (export "proxy_on_context_create") (param i32 i32))
  (func (export "proxy_on_vm_start") (param i32 i32) (result i32) (drop (call $tick (i32.const 10))) (i32.const 1))
  (func (export "proxy_on_configure") (param i32 i32) (result i32) (i32.const 1))
  (func (export "proxy_on_tick") (param i32) (drop (call $log (i32.const 2) (i32.const 16) (i32.const 6))))
  (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
    (global.set $held (local.get 0))
    (drop (call $call (i32.const 0) (i32.const 3) (i32.const 100) (i32.const {length})
      (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1000) (i32.const 90)))
    (drop (call $log (i32.const 2) (i32.const 3) (i32.const 5)))
    (i32.const 1))
  (func (export "proxy_on_http_call_response") (param i32 i32 i32 i32 i32)
    (drop (call $log (i32.const 2) (i32.const 8) (i32.const 8)))
    (drop (call $act_for (global.get $held)))
    (drop (call $go_on (i32.const 0)))))"#,
        length = headers.len()
    );
    Module::new(text.as_bytes()).unwrap()
}

/// A gateway with `guest` before a fleet of `endpoints` instant servers in the cluster `all`.
struct Scene {
    fleet: Fleet,
    gateway: Gateway,
    caller: Caller,
}

const PASSING: [i32; 4] = [0; 4];
const HOLDING: [i32; 4] = [1; 4];
const NEVER: i32 = i32::MAX;

fn scene(endpoints: usize, guest: Module, change: impl FnOnce(&mut GatewayOptions)) -> Scene {
    let specs: Vec<_> = (0..endpoints)
        .map(|n| EndpointSpec::new(format!("e{n}"), Speed::INSTANT))
        .collect();
    let fleet = Fleet::start(&specs).unwrap();
    let mut options = GatewayOptions::new(guest);
    options.workers = 1;
    let addresses = fleet
        .endpoints()
        .iter()
        .map(|endpoint| endpoint.address())
        .collect();
    options.clusters.insert("all".into(), addresses);
    options.default_cluster = Some("all".into());
    change(&mut options);
    let gateway = Gateway::start(options).unwrap();
    let caller = Caller::new(gateway.address());
    Scene {
        fleet,
        gateway,
        caller,
    }
}

impl Scene {
    fn log(&self) -> Vec<String> {
        self.gateway
            .host()
            .logs()
            .into_iter()
            .map(|line| line.text)
            .collect()
    }

    /// Posts a chat that is to go to `endpoints`, in this order.
    async fn chat_to(&self, endpoints: &[usize]) -> Answer {
        let list: Vec<_> = endpoints
            .iter()
            .map(|n| self.fleet.endpoint(*n).address().to_string())
            .collect();
        let body =
            json!({"model": "m", "messages": [{"role": "user", "content": "hi"}]}).to_string();
        let request = Request::post("/v1/chat/completions").header(DESTINATION, list.join(","));
        self.caller
            .send(request.body(Full::from(body)).unwrap())
            .await
            .unwrap()
    }

    /// Writes `request` on a fresh connection and reads until the gateway closes it.
    fn raw(&self, request: &[u8]) -> String {
        raw(self.gateway.address(), request)
    }
}

fn raw(address: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    // A reset after the answer is as good as its end.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}
