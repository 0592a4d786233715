//! What modules do to streams: guests of different styles, each with one thing to show.

use std::collections::BTreeMap;
use std::time::Duration;

use harness::host::{
    Clock, Event, Headers, Host, Metric, Module, Options, Side, StartFailure, Status, StreamInfo,
    Summary, Verdict,
};

use super::{host, module, on_threads, request, status, texts, vm};

#[test]
fn headers_are_added_replaced_and_removed_both_ways() {
    let mut vm = vm("headers", Options::default());
    let id = vm.open_stream(StreamInfo::default());
    let mut request = request("/");
    request.add("cookie", "a=b");
    assert_eq!(
        vm.request_headers(id, request, true).unwrap(),
        Verdict::Continue
    );
    let left = vm.request_headers_of(id).unwrap();
    let added: Vec<_> = left
        .iter()
        .filter(|(name, _)| *name == b"x-added")
        .map(|(_, value)| value)
        .collect();
    assert_eq!(added, [b"one", b"two"]);
    assert_eq!(left.text("user-agent"), Some("replaced"));
    assert_eq!(
        (
            left.text("cookie"),
            left.text("x-count"),
            left.text("x-end")
        ),
        (None, Some("7"), Some("true"))
    );
    assert_eq!(
        vm.response_headers(id, status(404), true).unwrap(),
        Verdict::Continue
    );
    assert_eq!(
        vm.response_headers_of(id).unwrap().text("x-seen-status"),
        Some("404")
    );
    vm.close(id).unwrap();
    assert!(vm.request_headers_of(id).is_none());
}

#[test]
fn a_body_held_until_its_end_is_rewritten_as_a_whole() {
    let mut vm = vm("body_rewrite", Options::default());
    let id = vm.open_stream(StreamInfo::default());
    let mut head = request("/");
    head.add("content-length", "11");
    assert_eq!(vm.request_headers(id, head, false).unwrap(), Verdict::Pause);
    assert_eq!(vm.request_body(id, b"a ca", false).unwrap(), Verdict::Pause);
    assert_eq!(
        (vm.take_request_body(id), vm.held_bytes(id, Side::Request)),
        (vec![], 4)
    );
    assert_eq!(
        vm.request_body(id, b"t and ", false).unwrap(),
        Verdict::Pause
    );
    assert_eq!(vm.request_body(id, b"a", true).unwrap(), Verdict::Continue);
    assert_eq!(vm.take_request_body(id), b"a tiger and a");
    let left = vm.request_headers_of(id).unwrap();
    assert_eq!(
        (left.text("content-length"), left.text("x-told-size")),
        (None, Some("11"))
    );
}

#[test]
fn without_stop_iteration_a_pause_at_the_headers_never_delivers_the_body() {
    let mut vm = vm(
        "body_rewrite",
        Options {
            stop_iteration: false,
            ..Options::default()
        },
    );
    let id = vm.open_stream(StreamInfo::default());
    assert_eq!(
        vm.request_headers(id, request("/"), false).unwrap(),
        Verdict::Pause
    );
    assert_eq!(vm.request_body(id, b"a cat", true).unwrap(), Verdict::Pause);
    assert!(vm.take_request_body(id).is_empty());
    assert!(vm.take_events().is_empty());
}

#[test]
fn a_queue_carries_items_between_vms_and_tells_only_the_last_that_registered() {
    let module = module("shared_queue");
    let producer = Host::new(
        &module,
        Options {
            vm_id: "q".into(),
            ..Options::default()
        },
    );
    let consumer = producer.beside(
        &module,
        Options {
            vm_id: "q".into(),
            plugin_configuration: b"consumer".into(),
            ..Options::default()
        },
    );
    let (mut first, mut last) = (consumer.start_vm().unwrap(), consumer.start_vm().unwrap());
    let mut producing = producer.start_vm().unwrap();
    for path in ["/a", "/b"] {
        let id = producing.open_stream(StreamInfo::default());
        assert_eq!(
            producing.request_headers(id, request(path), true).unwrap(),
            Verdict::Continue
        );
    }
    assert_eq!(first.deliver_queue_ready().unwrap(), 0);
    assert_eq!(last.deliver_queue_ready().unwrap(), 2);
    assert_eq!(texts(&consumer), ["consumed /a", "consumed /b"]);
}

#[test]
fn a_request_held_at_its_headers_is_let_go_by_a_body_callback_that_continues() {
    // The guest `timer` pauses at the headers and says nothing to the body, which is Continue.
    let mut vm = vm("timer", Options::default());
    let id = vm.open_stream(StreamInfo::default());
    assert_eq!(
        vm.request_headers(id, request("/"), false).unwrap(),
        Verdict::Pause
    );
    assert_eq!(
        vm.request_body(id, b"abc", false).unwrap(),
        Verdict::Continue
    );
    assert_eq!(vm.take_request_body(id), b"abc");
}

#[test]
fn what_came_while_everything_was_held_is_delivered_on_the_resume() {
    let mut vm = vm(
        "timer",
        Options {
            stop_iteration: false,
            ..Options::default()
        },
    );
    let id = vm.open_stream(StreamInfo::default());
    assert_eq!(
        vm.request_headers(id, request("/"), false).unwrap(),
        Verdict::Pause
    );
    assert_eq!(vm.request_body(id, b"abc", false).unwrap(), Verdict::Pause);
    assert_eq!(
        vm.request_trailers(id, Headers::from([("x-t", "1")]))
            .unwrap(),
        Verdict::Pause
    );
    vm.tick().unwrap();
    assert_eq!(vm.take_events(), [Event::Resumed(id, Side::Request)]);
    assert_eq!(vm.take_request_body(id), b"abc");
    assert_eq!(vm.request_trailers_of(id).unwrap().text("x-t"), Some("1"));
}

#[test]
fn a_buffer_is_written_at_its_front_or_its_end_and_nowhere_else() {
    // Prepends "<", replaces the first two bytes by "AB", appends ">", and keeps the status of a write in between.
    let wat = br#"(module
        (import "env" "proxy_set_buffer_bytes" (func $set (param i32 i32 i32 i32 i32) (result i32)))
        (import "env" "proxy_set_shared_data" (func $keep (param i32 i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 0) "<AB>")
        (func (export "malloc") (param i32) (result i32) i32.const 0)
        (func (export "proxy_abi_version_0_2_1"))
        (func (export "proxy_on_request_body") (param i32 i32 i32) (result i32)
            (drop (call $set (i32.const 0) (i32.const 0) (i32.const 2) (i32.const 1) (i32.const 2)))
            (drop (call $set (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 1)))
            (drop (call $set (i32.const 0) (i32.const 99) (i32.const 0) (i32.const 3) (i32.const 1)))
            (i32.store8 (i32.const 8) (call $set (i32.const 0) (i32.const 1) (i32.const 1) (i32.const 0) (i32.const 1)))
            (call $keep (i32.const 0) (i32.const 0) (i32.const 8) (i32.const 1) (i32.const 0))))"#;
    let host = Host::new(&Module::new(wat).unwrap(), Options::default());
    let mut vm = host.start_vm().unwrap();
    let id = vm.open_stream(StreamInfo::default());
    vm.request_headers(id, request("/"), false).unwrap();
    assert_eq!(
        vm.request_body(id, b"12345", true).unwrap(),
        Verdict::Continue
    );
    assert_eq!(vm.take_request_body(id), b"<AB345>");
    assert_eq!(host.shared_data("").unwrap().0, [Status::BadArgument as u8]);
}

#[test]
fn two_roots_of_one_module_behave_differently_in_one_vm() {
    let host = host(
        "several_roots",
        Options {
            root_id: "tagging".into(),
            ..Options::default()
        },
    );
    let mut vm = host.start_vm().unwrap();
    let refusing = vm
        .start_root("refusing".into(), String::new(), vec![])
        .unwrap();
    let tagged = vm.open_stream(StreamInfo::default());
    assert_eq!(
        vm.request_headers(tagged, request("/"), true).unwrap(),
        Verdict::Continue
    );
    assert_eq!(
        vm.request_headers_of(tagged).unwrap().text("x-tag"),
        Some("seen")
    );
    let refused = vm.open_stream_on(refusing, StreamInfo::default());
    let Verdict::Reply(reply) = vm.request_headers(refused, request("/"), true).unwrap() else {
        panic!("no reply")
    };
    assert_eq!((reply.status, &*reply.body), (418, &b"short and stout"[..]));
    assert_eq!(reply.headers.text("x-passed"), Some("response callbacks"));
    let failure = vm
        .start_root("unheard-of".into(), String::new(), vec![])
        .unwrap_err();
    assert!(
        matches!(failure.reason, StartFailure::RefusedConfiguration),
        "{failure}"
    );
}

#[test]
fn an_answer_to_grpc_is_all_in_the_headers_and_one_to_head_has_no_body() {
    let mut vm = vm(
        "several_roots",
        Options {
            root_id: "refusing".into(),
            ..Options::default()
        },
    );
    let mut answer = |head: Headers| {
        let id = vm.open_stream(StreamInfo::default());
        let Verdict::Reply(reply) = vm.request_headers(id, head, true).unwrap() else {
            panic!("no reply")
        };
        reply
    };
    let mut grpc = request("/");
    grpc.replace("content-type", "application/grpc");
    let reply = answer(grpc);
    assert_eq!(
        (reply.status, reply.headers.text("grpc-status")),
        (200, Some("2"))
    );
    assert_eq!(
        (reply.headers.text("grpc-message"), reply.body.len()),
        (Some("short and stout"), 0)
    );
    let mut head = request("/");
    head.replace(":method", "HEAD");
    let reply = answer(head);
    assert_eq!(
        (
            reply.status,
            reply.headers.text("content-length"),
            reply.body.len()
        ),
        (418, Some("15"), 0)
    );
}

#[test]
fn counters_in_shared_data_lose_nothing_over_many_vms() {
    let host = host("counter", Options::default());
    let requests = 500;
    on_threads(&host, 4, requests);
    let (value, _) = host.shared_data("hits").unwrap();
    assert_eq!(value, (4 * requests).to_le_bytes());
}

#[test]
fn vms_in_threads_share_metrics_exactly() {
    let host = host("metrics", Options::default());
    let requests = 500;
    on_threads(&host, 4, requests);
    let total = 4 * requests;
    let sizes = Summary {
        count: total,
        sum: total * 3,
        min: 3,
        max: 3,
    };
    let expected = BTreeMap::from([
        ("in_flight".to_owned(), Metric::Gauge(0)),
        ("requests".to_owned(), Metric::Counter(total)),
        ("sizes".to_owned(), Metric::Histogram(sizes)),
    ]);
    assert_eq!(host.metrics(), expected);
}

#[test]
fn a_tick_in_virtual_time_reads_both_clocks_and_releases_what_was_held() {
    let clock = Clock::virtual_at(1_000_000_000);
    let host = host(
        "timer",
        Options {
            clock: clock.clone(),
            ..Options::default()
        },
    );
    let mut vm = host.start_vm().unwrap();
    assert_eq!(vm.tick_period(), Some(Duration::from_millis(100)));
    let id = vm.open_stream(StreamInfo::default());
    assert_eq!(
        vm.request_headers(id, request("/"), true).unwrap(),
        Verdict::Pause
    );
    clock.advance(Duration::from_millis(100));
    vm.tick().unwrap();
    assert_eq!(vm.take_events(), [Event::Resumed(id, Side::Request)]);
    clock.step_wall(-500_000_000);
    vm.tick().unwrap();
    assert!(vm.take_events().is_empty());
    assert_eq!(
        texts(&host),
        [
            "wall 1100 ms, running 100 ms",
            "wall 600 ms, running 100 ms"
        ]
    );
}

#[test]
fn a_module_written_by_hand_needs_no_sdk() {
    let module = Module::new(include_bytes!("../../guests/raw.wat")).unwrap();
    let mut vm = Host::new(&module, Options::default()).start_vm().unwrap();
    let id = vm.open_stream(StreamInfo::default());
    assert_eq!(
        vm.request_headers(id, request("/"), true).unwrap(),
        Verdict::Continue
    );
    assert_eq!(
        vm.request_headers_of(id).unwrap().text("x-raw"),
        Some("wat")
    );
    let mut head = status(200);
    head.add("x-echo", "back");
    assert_eq!(
        vm.response_headers(id, head, true).unwrap(),
        Verdict::Continue
    );
    assert_eq!(
        vm.response_headers_of(id).unwrap().text("x-echoed"),
        Some("back")
    );
    vm.close(id).unwrap();
}
