//! The embedded gateway: Envoy's callbacks in Envoy's order, retries, limits, and what happens when
//! a VM, an endpoint or a client goes away.
//!
//! The guests are a few lines of WebAssembly text each: the gateway must run any module, and with
//! these nothing but the gateway is tested.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use harness::fleet::{Answer, Caller, EndpointSpec, Fleet, Order, Speed};
use harness::gateway::{DESTINATION, Error, Gateway, GatewayOptions};
use harness::host::Module;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::json;

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

#[tokio::test]
async fn callbacks_come_in_envoys_order_and_shapes() {
    for answers in [PASSING, HOLDING] {
        let scene = scene(1, guest(answers, NEVER), |_| {});
        let answer = scene.caller.chat("m", "hi").await.unwrap();
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(
            answer.json()["usage"]["completion_tokens"],
            24,
            "the body came through whole"
        );
        let expected = [
            "request_headers 0",
            "request_body 0",
            "request_body 1",
            "response_headers 0",
            "response_body 0",
            "response_body 1",
            "done 1",
        ];
        assert_eq!(scene.log(), expected, "{answers:?}");
    }
}

#[tokio::test]
async fn a_request_without_a_body_ends_at_its_headers() {
    let scene = scene(1, guest(HOLDING, NEVER), |_| {});
    let answer = scene.caller.get("/v1/models").await.unwrap();
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(scene.log()[0], "request_headers 1");
    assert!(
        !scene
            .log()
            .iter()
            .any(|line| line.starts_with("request_body"))
    );
}

#[tokio::test]
async fn trailers_end_a_body_without_its_end_being_told() {
    let scene = scene(1, guest(HOLDING, NEVER), |_| {});
    let answer = scene.raw(
        b"POST /v1/embeddings HTTP/1.1\r\nhost: h\r\nconnection: close\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
          1c\r\n{\"model\": \"m\", \"input\": \"a\"}\r\n0\r\nx-sum: 1\r\n\r\n",
    );
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert_eq!(
        scene.log()[..3],
        ["request_headers 0", "request_body 0", "request_trailers 1"]
    );
}

#[tokio::test]
async fn http2_may_join_the_end_to_the_last_frame() {
    let scene = scene(1, guest(HOLDING, NEVER), |_| {});
    let stream = tokio::net::TcpStream::connect(scene.gateway.address())
        .await
        .unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let uri = format!("http://{}/v1/embeddings", scene.gateway.address());
    let request = Request::post(uri)
        .body(Full::new(Bytes::from_static(
            br#"{"model": "m", "input": "a"}"#,
        )))
        .unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let body = response.collect().await.unwrap().to_bytes();
    assert!(body.starts_with(b"{"), "{body:?}");
    assert_eq!(scene.log()[..2], ["request_headers 0", "request_body 1"]);
}

#[tokio::test]
async fn a_client_that_expects_a_hundred_is_told_to_continue() {
    let scene = scene(1, guest(HOLDING, NEVER), |_| {});
    let answer = scene.raw(
        b"POST /v1/embeddings HTTP/1.1\r\nhost: h\r\nconnection: close\r\nexpect: 100-continue\r\ncontent-length: 28\r\n\r\n{\"model\": \"m\", \"input\": \"a\"}",
    );
    assert!(
        answer.starts_with("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK"),
        "{answer}"
    );
    assert_eq!(
        scene.fleet.endpoint(0).stats().recent[0].header("expect"),
        None
    );
}

#[tokio::test]
async fn the_header_names_the_endpoint_and_then_where_retries_go() {
    let scene = scene(3, guest(PASSING, NEVER), |_| {});
    assert_eq!(scene.chat_to(&[2]).await.served_by(), "e2");
    assert_eq!(scene.chat_to(&[1, 2]).await.served_by(), "e1");
    scene.fleet.endpoint(1).order(Order::Kill).unwrap();
    let answer = scene.chat_to(&[1, 2, 0]).await;
    assert_eq!((answer.status, answer.served_by()), (StatusCode::OK, "e2"));
    scene.fleet.endpoint(2).order(Order::Reset).unwrap();
    let answer = scene.chat_to(&[1, 2, 0]).await;
    assert_eq!((answer.status, answer.served_by()), (StatusCode::OK, "e0"));
    assert_eq!(scene.gateway.retries(), 3);
}

#[tokio::test]
async fn a_connection_that_went_stale_in_the_pool_is_no_failure_of_its_endpoint() {
    let scene = scene(2, guest(PASSING, NEVER), |options| options.retries = 0);
    for _ in 0..20 {
        assert_eq!(scene.chat_to(&[0]).await.served_by(), "e0");
        let endpoint = scene.fleet.endpoint(0);
        endpoint.order(Order::Kill).unwrap();
        endpoint.order(Order::Revive).unwrap();
    }
    assert_eq!(scene.chat_to(&[0]).await.served_by(), "e0");
}

#[tokio::test]
async fn a_response_whatever_its_status_is_never_retried() {
    let scene = scene(2, guest(PASSING, NEVER), |_| {});
    scene
        .fleet
        .endpoint(0)
        .order(Order::Fail {
            status: 503,
            ratio: 1.0,
        })
        .unwrap();
    assert_eq!(
        scene.chat_to(&[0, 1]).await.status,
        StatusCode::SERVICE_UNAVAILABLE
    );
    assert_eq!(scene.gateway.retries(), 0);
}

#[tokio::test]
async fn nowhere_to_go_is_a_503_that_the_guest_sees() {
    let scene = scene(2, guest(PASSING, NEVER), |options| options.retries = 1);
    for endpoint in scene.fleet.endpoints() {
        endpoint.order(Order::Kill).unwrap();
    }
    let answer = scene.chat_to(&[0, 1]).await;
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        answer
            .body
            .starts_with(b"upstream connect error or disconnect/reset before headers. retried")
    );
    assert_eq!(
        scene.log()[3..],
        ["response_headers 0", "response_body 1", "done 1"]
    );
    let unknown = Request::get("/")
        .header("x-junheng-cluster", "nobody")
        .body(Full::default())
        .unwrap();
    assert_eq!(
        scene.caller.send(unknown).await.unwrap().status,
        StatusCode::SERVICE_UNAVAILABLE
    );
}

#[tokio::test]
async fn a_held_body_beyond_the_limit_is_413_and_one_that_passes_is_not() {
    let body = json!({"model": "m", "input": "a".repeat(300_000)});
    for (answers, status) in [
        (HOLDING, StatusCode::PAYLOAD_TOO_LARGE),
        (PASSING, StatusCode::OK),
    ] {
        let scene = scene(1, guest(answers, NEVER), |options| {
            options.body_limit = 100_000
        });
        let answer = scene.caller.post("/v1/embeddings", &body).await.unwrap();
        assert_eq!(answer.status, status);
        let arrived = scene.fleet.endpoint(0).stats().bytes_in as usize;
        assert_eq!(
            arrived,
            if status == StatusCode::OK {
                body.to_string().len()
            } else {
                0
            }
        );
    }
}

#[tokio::test]
async fn a_stream_passes_as_it_comes() {
    let specs = [EndpointSpec::new(
        "slow",
        Speed {
            decode_us: 2_000.0,
            ..Speed::INSTANT
        },
    )];
    let fleet = Fleet::start(&specs).unwrap();
    let mut options = GatewayOptions::new(guest(PASSING, NEVER));
    options
        .clusters
        .insert("all".into(), vec![fleet.endpoint(0).address()]);
    options.default_cluster = Some("all".into());
    let gateway = Gateway::start(options).unwrap();
    let body =
        json!({"model": "m", "stream": true, "messages": [{"role": "user", "content": "hi"}]});
    let answer = Caller::new(gateway.address())
        .post("/v1/chat/completions", &body)
        .await
        .unwrap();
    assert!(answer.body.ends_with(b"data: [DONE]\n\n"));
    assert!(
        answer.first_byte < answer.whole,
        "the head came before the end"
    );
    let chunks = gateway
        .host()
        .logs()
        .iter()
        .filter(|line| line.text == "response_body 0")
        .count();
    assert!(chunks > 10, "{chunks} chunks for 24 tokens");
}

#[tokio::test]
async fn a_client_that_leaves_closes_its_stream_at_once() {
    let scene = scene(1, guest(PASSING, NEVER), |_| {});
    scene.fleet.endpoint(0).order(Order::Hang).unwrap();
    let mut stream = TcpStream::connect(scene.gateway.address()).unwrap();
    stream
        .write_all(b"GET /v1/models HTTP/1.1\r\nhost: h\r\n\r\n")
        .unwrap();
    while scene.fleet.endpoint(0).stats().in_flight == 0 {
        tokio::task::yield_now().await;
    }
    drop(stream);
    while !scene.log().contains(&"done 1".to_owned()) {
        tokio::task::yield_now().await;
    }
    while scene.fleet.endpoint(0).stats().in_flight > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_vm_that_traps_is_replaced_after_the_back_off() {
    let traps = Arc::new(std::sync::Mutex::new(Vec::new()));
    let heard = Arc::clone(&traps);
    let scene = scene(1, guest(PASSING, 20), |options| {
        options.reload_backoff = Duration::from_millis(1);
        options.on_trap = Arc::new(move |trap| heard.lock().unwrap().push(trap.to_string()));
    });
    let many = (0..20).fold(Request::get("/v1/models"), |request, n| {
        request.header(format!("x-{n}"), "1")
    });
    let answer = scene
        .caller
        .send(many.body(Full::default()).unwrap())
        .await
        .unwrap();
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(traps.lock().unwrap()[0].contains("proxy_on_request_headers"));
    loop {
        match scene.caller.get("/v1/models").await.unwrap().status {
            StatusCode::SERVICE_UNAVAILABLE => tokio::task::yield_now().await,
            status => break assert_eq!(status, StatusCode::OK),
        }
    }
}

#[tokio::test]
async fn a_trap_fails_the_streams_in_flight_on_that_worker() {
    let scene = scene(1, guest(PASSING, 20), |options| {
        options.on_trap = Arc::new(|_| {})
    });
    scene.fleet.endpoint(0).order(Order::Hang).unwrap();
    let address = scene.gateway.address();
    let hanging = tokio::task::spawn_blocking(move || {
        raw(
            address,
            b"GET /v1/models HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n",
        )
    });
    while scene.fleet.endpoint(0).stats().in_flight == 0 {
        tokio::task::yield_now().await;
    }
    let many = (0..20).fold(Request::get("/"), |request, n| {
        request.header(format!("x-{n}"), "1")
    });
    scene
        .caller
        .send(many.body(Full::default()).unwrap())
        .await
        .unwrap();
    assert!(hanging.await.unwrap().starts_with("HTTP/1.1 503"));
}

#[tokio::test]
async fn requests_that_no_codec_accepts_get_their_status() {
    let scene = scene(1, guest(PASSING, NEVER), |options| {
        options.header_timeout = Duration::from_millis(300)
    });
    let long = format!(
        "GET / HTTP/1.1\r\nhost: h\r\nx-long: {}\r\n\r\n",
        "a".repeat(70_000)
    );
    let many = format!(
        "GET / HTTP/1.1\r\nhost: h\r\n{}\r\n",
        "x: 1\r\n".repeat(101)
    );
    let cases: [(&[u8], &str); 7] = [
        (
            b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n",
            "HTTP/1.1 400",
        ),
        (
            b"GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\nconnection: close\r\n\r\n",
            "HTTP/1.1 400",
        ),
        (
            b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\na",
            "HTTP/1.1 400",
        ),
        (b"nonsense\r\n\r\n", "HTTP/1.1 400"),
        (
            b"CONNECT h:1 HTTP/1.1\r\nhost: h:1\r\nconnection: close\r\n\r\n",
            "HTTP/1.1 403",
        ),
        (long.as_bytes(), "HTTP/1.1 431"),
        (many.as_bytes(), "HTTP/1.1 431"),
    ];
    for (request, status) in cases {
        let answer = scene.raw(request);
        let line = String::from_utf8_lossy(&request[..request.len().min(60)]);
        assert!(answer.starts_with(status), "{line:?}: {answer:?}");
    }
    assert!(
        scene.log().is_empty(),
        "no guest saw them: {:?}",
        scene.log()
    );
}

#[tokio::test]
async fn a_body_that_never_ends_is_given_up_with_408() {
    let scene = scene(1, guest(HOLDING, NEVER), |options| {
        options.idle_timeout = Duration::from_millis(20)
    });
    let answer = scene.raw(b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 10\r\n\r\nabc");
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
}

#[tokio::test]
async fn an_endpoint_that_never_answers_is_given_up_with_504() {
    let scene = scene(1, guest(PASSING, NEVER), |options| {
        options.idle_timeout = Duration::from_millis(20)
    });
    scene.fleet.endpoint(0).order(Order::Hang).unwrap();
    assert_eq!(
        scene.caller.chat("m", "hi").await.unwrap().status,
        StatusCode::GATEWAY_TIMEOUT
    );
}

#[tokio::test]
async fn an_answer_before_the_end_of_its_request_leaves_no_connection_half_used() {
    let upstream = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = upstream.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let mut connections = Vec::new();
        for stream in upstream.incoming().take(2) {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]).unwrap();
            stream
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                .unwrap();
            connections.push(stream);
        }
        // The first was closed by the gateway, in the middle of a body.
        connections[0].read_to_end(&mut Vec::new()).is_ok()
    });
    let scene = scene(1, guest(PASSING, NEVER), |options| {
        options.clusters.insert("all".into(), vec![address]);
    });
    let mut halfway = TcpStream::connect(scene.gateway.address()).unwrap();
    halfway
        .write_all(b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 10\r\n\r\nabc")
        .unwrap();
    let mut line = [0; 15];
    halfway.read_exact(&mut line).unwrap();
    assert_eq!(&line, b"HTTP/1.1 200 OK");
    assert_eq!(scene.caller.get("/").await.unwrap().status, StatusCode::OK);
    assert!(server.join().unwrap());
}

#[tokio::test]
async fn an_upgraded_connection_is_passed_through_both_ways() {
    let upstream = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = upstream.local_addr().unwrap();
    let echo = std::thread::spawn(move || {
        let (mut stream, _) = upstream.accept().unwrap();
        let mut head = [0; 4096];
        let read = stream.read(&mut head).unwrap();
        stream
            .write_all(
                b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\n\r\n",
            )
            .unwrap();
        let mut word = [0; 4];
        stream.read_exact(&mut word).unwrap();
        stream.write_all(&word).unwrap();
        String::from_utf8_lossy(&head[..read]).to_lowercase()
    });
    let scene = scene(1, guest(PASSING, NEVER), |options| {
        options.clusters.insert("all".into(), vec![address]);
    });
    let mut client = TcpStream::connect(scene.gateway.address()).unwrap();
    client
        .write_all(b"GET /chat HTTP/1.1\r\nhost: h\r\nconnection: Upgrade\r\nupgrade: echo\r\n\r\n")
        .unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    assert!(
        head.starts_with(b"HTTP/1.1 101"),
        "{}",
        String::from_utf8_lossy(&head)
    );
    client.write_all(b"ping").unwrap();
    let mut word = [0; 4];
    client.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"ping");
    assert!(echo.join().unwrap().contains("upgrade: echo"));
    assert_eq!(
        scene.log()[..2],
        ["request_headers 0", "response_headers 1"]
    );
}

#[tokio::test]
async fn a_request_held_for_a_call_goes_on_with_its_answer() {
    let scene = scene(1, asking_guest(), |_| {});
    let answer = scene.caller.get("/v1/models").await.unwrap();
    assert_eq!(answer.status, StatusCode::OK);
    let said: Vec<_> = scene
        .log()
        .into_iter()
        .filter(|line| line != "ticked")
        .collect();
    assert_eq!(said, ["asked", "answered"]);
    assert_eq!(scene.fleet.endpoint(0).stats().probes, 1);
}

#[tokio::test]
async fn a_call_that_cannot_be_made_is_answered_too() {
    let scene = scene(1, asking_guest(), |_| {});
    scene.fleet.endpoint(0).order(Order::Kill).unwrap();
    let answer = scene.caller.get("/v1/models").await.unwrap();
    assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(scene.log().contains(&"answered".to_owned()));
}

#[tokio::test]
async fn every_vm_ticks_as_often_as_it_asks() {
    let scene = scene(1, asking_guest(), |options| options.workers = 2);
    let ticking = || {
        let lines = scene.gateway.host().logs();
        let vms = lines
            .iter()
            .filter(|line| line.text == "ticked")
            .map(|line| line.vm);
        vms.collect::<std::collections::BTreeSet<_>>().len()
    };
    // Two workers and the main thread.
    while ticking() < 3 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_admin_port_has_the_counters() {
    let scene = scene(1, guest(PASSING, NEVER), |_| {});
    scene.caller.get("/v1/models").await.unwrap();
    let page = Caller::new(scene.gateway.admin())
        .get("/stats/prometheus")
        .await
        .unwrap();
    let page = String::from_utf8(page.body.to_vec()).unwrap();
    assert!(
        page.contains("envoy_http_ingress_downstream_rq_total 1\n"),
        "{page}"
    );
    assert!(
        page.contains("envoy_cluster_upstream_rq_total 1\n"),
        "{page}"
    );
}

#[tokio::test]
async fn a_client_that_stops_reading_is_given_up() {
    let specs = [EndpointSpec {
        answer_tokens: 100_000,
        ..EndpointSpec::new("e0", Speed::INSTANT)
    }];
    let fleet = Fleet::start(&specs).unwrap();
    let mut options = GatewayOptions::new(guest(PASSING, NEVER));
    options
        .clusters
        .insert("all".into(), vec![fleet.endpoint(0).address()]);
    options.default_cluster = Some("all".into());
    options.idle_timeout = Duration::from_millis(50);
    let gateway = Gateway::start(options).unwrap();
    let body = r#"{"model": "m", "stream": true, "messages": [{"role": "user", "content": "a"}]}"#;
    let mut stream = TcpStream::connect(gateway.address()).unwrap();
    write!(
        stream,
        "POST /v1/chat/completions HTTP/1.1\r\nhost: h\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
    while !gateway
        .host()
        .logs()
        .iter()
        .any(|line| line.text == "done 1")
    {
        tokio::task::yield_now().await;
    }
    while fleet.endpoint(0).stats().in_flight > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(
        fleet.endpoint(0).stats().failures,
        1,
        "the answer was cut short"
    );
}

#[tokio::test]
async fn connections_are_dealt_to_all_workers() {
    let scene = scene(1, guest(PASSING, NEVER), |options| options.workers = 4);
    for _ in 0..4 {
        Caller::new(scene.gateway.address())
            .get("/v1/models")
            .await
            .unwrap();
    }
    let vms: std::collections::BTreeSet<u64> = scene
        .gateway
        .host()
        .logs()
        .iter()
        .map(|line| line.vm)
        .collect();
    assert_eq!(vms.len(), 4);
}

#[test]
fn a_taken_port_is_named_with_the_flag_that_helps() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut options = GatewayOptions::new(guest(PASSING, NEVER));
    options.listen = taken.local_addr().unwrap();
    let error = Gateway::start(options).err().unwrap();
    assert!(matches!(error, Error::PortTaken(_)));
    let port = taken.local_addr().unwrap().port();
    assert!(
        error.to_string().starts_with(&format!(
            "port {port} of 127.0.0.1 is taken; choose another with --port"
        )),
        "{error}"
    );
}
