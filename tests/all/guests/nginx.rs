//! The profile of nginx: what it does otherwise than Envoy, and what ends one of its workers.

use std::collections::BTreeSet;

use harness::host::{
    Clock, Headers, Metric, Options, Profile, StreamInfo, Summary, TrapReason, Verdict, Vm,
};

use super::{end_of, host, request, status, vm};

#[test]
fn nginx_reads_a_body_whole_asks_nobody_about_an_empty_one_and_never_ends_at_the_headers() {
    let mut vm = vm(
        "body_rewrite",
        Options {
            profile: Profile::Nginx,
            ..Options::default()
        },
    );
    let id = vm.open_stream(StreamInfo::default());
    // The guest takes a request without end for one with a body, and pauses: nothing will ever wake it.
    assert_eq!(
        vm.request_headers(id, request("/"), true).unwrap(),
        Verdict::Pause
    );

    let host = host(
        "metrics",
        Options {
            profile: Profile::Nginx,
            ..Options::default()
        },
    );
    let mut vm = host.start_vm().unwrap();
    let id = vm.open_stream(StreamInfo::default());
    vm.request_headers(id, request("/"), false).unwrap();
    assert_eq!(vm.request_body(id, b"", true).unwrap(), Verdict::Continue);
    let id = vm.open_stream(StreamInfo::default());
    vm.request_headers(id, request("/"), false).unwrap();
    assert_eq!(vm.request_body(id, b"12", false).unwrap(), Verdict::Pause);
    assert_eq!(
        vm.request_body(id, b"345", true).unwrap(),
        Verdict::Continue
    );
    assert_eq!(vm.take_request_body(id), b"12345");
    let sizes = Summary {
        count: 1,
        sum: 5,
        min: 5,
        max: 5,
    };
    assert_eq!(host.metric("sizes"), Some(Metric::Histogram(sizes)));
}

#[test]
fn what_would_end_a_worker_of_nginx_ends_the_vm_and_says_why() {
    let ends = [
        ("/unknown-variable", "unknown property ngx.none"),
        ("/peer", "no peer chosen"),
        ("/histogram", "get_metric of a histogram"),
        ("/bad-host", "malformed host"),
    ];
    for (path, why) in ends {
        let trap = end_of("nginx", path, nginx());
        assert!(
            matches!(&trap.reason, TrapReason::EndsHost(text) if text.contains(why)),
            "{path}: {trap}"
        );
        // None of it ends Envoy.
        let mut vm = vm("nginx", Options::default());
        let id = vm.open_stream(StreamInfo::default());
        assert_eq!(
            vm.request_headers(id, request(path), true).unwrap(),
            Verdict::Continue,
            "{path}"
        );
    }
}

#[test]
fn a_body_read_in_part_would_corrupt_the_heap() {
    let mut vm = vm("nginx", nginx());
    let id = vm.open_stream(StreamInfo::default());
    vm.request_headers(id, request("/"), false).unwrap();
    let trap = vm.request_body(id, b"12345", true).unwrap_err();
    assert!(
        trap.to_string().contains("4 bytes of a body of 5"),
        "{trap}"
    );
    assert_eq!(
        next(&mut vm_of("nginx"), b"1234"),
        Verdict::Continue,
        "the whole may be read"
    );
}

#[test]
fn a_declared_variable_can_be_set_and_read_back() {
    let mut vm = vm("nginx", nginx());
    let id = vm.open_stream(StreamInfo::default());
    vm.request_headers(id, request("/known-variable"), true)
        .unwrap();
    assert_eq!(
        vm.request_headers_of(id).unwrap().text("x-set"),
        Some("true")
    );
}

#[test]
fn the_clock_counts_milliseconds() {
    let clock = Clock::virtual_at(1_234_567_890);
    let mut vm = vm("nginx", Options { clock, ..nginx() });
    let id = vm.open_stream(StreamInfo::default());
    vm.request_headers(id, request("/clock"), true).unwrap();
    assert_eq!(
        vm.request_headers_of(id).unwrap().text("x-now"),
        Some("1234000000")
    );
}

#[test]
fn no_call_leaves_from_a_response() {
    for (options, called) in [(nginx(), "false"), (Options::default(), "true")] {
        let mut vm = vm("nginx", options);
        let id = vm.open_stream(StreamInfo::default());
        vm.request_headers(id, request("/"), true).unwrap();
        vm.response_headers(id, status(200), true).unwrap();
        assert_eq!(
            vm.response_headers_of(id).unwrap().text("x-called"),
            Some(called)
        );
    }
}

#[test]
fn trailers_pass_by_the_guest() {
    let mut vm = vm_of("nginx");
    let id = vm.open_stream(StreamInfo::default());
    vm.request_headers(id, request("/"), false).unwrap();
    assert_eq!(
        vm.request_trailers(id, Headers::from([("x-t", "1")]))
            .unwrap(),
        Verdict::Continue
    );
    assert_eq!(vm.request_trailers_of(id).unwrap().text("x-t"), Some("1"));
}

fn nginx() -> Options {
    let nginx_variables = BTreeSet::from(["pool".to_owned()]);
    Options {
        profile: Profile::Nginx,
        nginx_variables,
        ..Options::default()
    }
}

fn vm_of(guest: &str) -> Vm {
    vm(guest, nginx())
}

fn next(vm: &mut Vm, body: &[u8]) -> Verdict {
    let id = vm.open_stream(StreamInfo::default());
    vm.request_headers(id, request("/"), false).unwrap();
    vm.request_body(id, body, true).unwrap()
}
