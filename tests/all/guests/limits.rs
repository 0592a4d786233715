//! What a host bounds, breaks on order and counts: fuel, memory, traps, faults, calls.

use harness::host::{
    Faults, Headers, Host, LocalResponse, Options, Profile, StartFailure, Status, StreamInfo, Trap,
    TrapReason, Verdict, When,
};

use super::{end_of, held_by_auth, host, module, request, status, vm};

#[test]
fn a_loop_ends_when_its_fuel_does_and_the_vm_with_it() {
    let trap = end_of(
        "hostile",
        "/loop",
        Options {
            fuel: Some(10_000_000),
            ..Options::default()
        },
    );
    assert_eq!(
        (trap.reason.clone(), trap.callback),
        (TrapReason::OutOfFuel, "proxy_on_request_headers")
    );
}

#[test]
fn memory_stops_growing_at_its_limit() {
    let bytes = 16 << 20;
    let trap = end_of(
        "hostile",
        "/grow",
        Options {
            memory_bytes: bytes,
            ..Options::default()
        },
    );
    assert_eq!(trap.reason, TrapReason::OutOfMemory(bytes));
    let mut vm = vm(
        "hostile",
        Options {
            memory_bytes: bytes,
            ..Options::default()
        },
    );
    let id = vm.open_stream(StreamInfo::default());
    vm.request_headers(id, request("/grow"), true).unwrap_err();
    assert!(vm.memory_bytes() <= bytes);
}

#[test]
fn deep_recursion_an_exit_and_an_answer_in_the_log_are_told_apart() {
    let trap = end_of("hostile", "/recurse", Options::default());
    assert!(matches!(trap.reason, TrapReason::Wasm(_)), "{trap}");
    assert_eq!(
        end_of("hostile", "/exit", Options::default()).reason,
        TrapReason::Exit(7)
    );
    let mut vm = vm("hostile", Options::default());
    let id = vm.open_stream(StreamInfo::default());
    vm.request_headers(id, request("/log"), true).unwrap();
    let trap = vm.close(id).unwrap_err();
    assert!(
        matches!(&trap.reason, TrapReason::EndsHost(why) if why.contains("on_log")),
        "{trap}"
    );
}

#[test]
fn a_panic_is_told_with_its_message_and_ends_only_its_vm() {
    let host = host("panicking", Options::default());
    let (mut vm, mut other) = (host.start_vm().unwrap(), host.start_vm().unwrap());
    let bystander = vm.open_stream(StreamInfo::default());
    vm.request_headers(bystander, request("/"), true).unwrap();
    let id = vm.open_stream(StreamInfo::default());
    let trap = vm.request_headers(id, request("/panic"), true).unwrap_err();
    assert_eq!(trap.reason, TrapReason::Unreachable);
    assert!(
        trap.to_string().contains(r#"asked to at Some("/panic")"#),
        "{trap}"
    );
    assert!(!trap.backtrace.is_empty());
    assert!(
        vm.response_headers(bystander, status(200), true).is_err(),
        "a trapped VM answers nothing more"
    );
    let id = other.open_stream(StreamInfo::default());
    assert_eq!(
        other.request_headers(id, request("/"), true).unwrap(),
        Verdict::Continue
    );
}

#[test]
fn the_same_callback_costs_the_same_fuel_twice() {
    let cost = || {
        let mut vm = vm("headers", Options::default());
        let id = vm.open_stream(StreamInfo::default());
        vm.request_headers(id, request("/"), true).unwrap();
        let first = vm.fuel_used();
        vm.close(id).unwrap();
        let id = vm.open_stream(StreamInfo::default());
        vm.request_headers(id, request("/"), true).unwrap();
        (first, vm.fuel_used())
    };
    let (first, second) = cost();
    assert!(first > 0 && second > 0);
    assert_eq!(cost(), (first, second));
}

#[test]
fn an_ordered_fault_fails_its_call_and_is_named_by_the_trap_that_follows() {
    let faults = Faults::on("proxy_http_call", When::Nth(2), Status::InternalFailure);
    let mut vm = vm(
        "auth_by_http_call",
        Options {
            faults,
            ..Options::default()
        },
    );
    held_by_auth(&mut vm, "first");
    let id = vm.open_stream(StreamInfo::default());
    let verdict = vm.request_headers(id, request("/"), true);
    assert!(
        matches!(
            verdict,
            Ok(Verdict::Reply(LocalResponse { status: 500, .. }))
        ),
        "{verdict:?}"
    );
    held_by_auth(&mut vm, "third");

    let faults = Faults::on("proxy_get_header_map_value", When::Every(1), Status::Empty);
    let trap = end_of(
        "panicking",
        "/",
        Options {
            faults,
            ..Options::default()
        },
    );
    let fault = trap.fault.clone().unwrap();
    assert_eq!(
        (fault.call, fault.nth, fault.status),
        ("proxy_get_header_map_value", 1, Status::Empty)
    );
    assert!(
        trap.to_string()
            .contains("Empty of proxy_get_header_map_value #1"),
        "{trap}"
    );
}

#[test]
fn a_snare_ends_the_one_vm_that_makes_the_call_first() {
    let host = host("panicking", Options::default());
    let mut vms = [host.start_vm().unwrap(), host.start_vm().unwrap()];
    let mut visit = |index: usize| {
        let vm = &mut vms[index];
        let id = vm.open_stream(StreamInfo::default());
        vm.request_headers(id, request("/"), true)
    };
    host.trap_next("proxy_no_such_call");
    assert!(visit(0).is_ok());
    host.trap_next("proxy_get_header_map_value");
    let trap = visit(1).unwrap_err();
    assert!(
        matches!(&trap.reason, TrapReason::EndsHost(why) if why.contains("on order, at proxy_get_header_map_value")),
        "{trap}"
    );
    assert!(visit(0).is_ok(), "the snare is sprung");
    assert!(visit(1).is_err(), "a VM that was caught is gone");
}

#[test]
fn random_faults_are_repeated_by_their_seed() {
    let run = |seed| {
        let host = host(
            "probe",
            Options {
                faults: Faults::random(seed, 0.2),
                ..Options::default()
            },
        );
        let _ = host.start_vm();
        host.logs()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn no_fault_harms_the_host_and_every_trap_it_brings_is_known_by_it() {
    for seed in 0..300 {
        let faults = Faults::random(seed, 0.05);
        let host = host(
            "auth_by_http_call",
            Options {
                faults,
                ..Options::default()
            },
        );
        let exchange = || {
            let mut vm = host.start_vm().map_err(|error| error.to_string())?;
            let id = vm.open_stream(StreamInfo::default());
            let told = |trap: Trap| {
                assert!(trap.fault.is_some(), "seed {seed}: {trap}");
                trap.to_string()
            };
            vm.request_headers(id, request("/"), true).map_err(told)?;
            for call in vm.take_http_calls() {
                let head = status(200);
                vm.http_call_response(call.token, head, vec![], Headers::new())
                    .map_err(told)?;
            }
            vm.response_headers(id, status(200), true).map_err(told)?;
            vm.close(id).map_err(told)
        };
        let _: Result<(), String> = exchange();
    }
}

#[test]
fn calls_are_counted_and_those_that_return_data_apart() {
    let host = host("auth_by_http_call", Options::default());
    let mut vm = host.start_vm().unwrap();
    let before = host.calls();
    held_by_auth(&mut vm, "t");
    let calls = host.calls().since(&before);
    assert_eq!(
        (
            calls.of("proxy_get_header_map_value"),
            calls.of("proxy_http_call")
        ),
        (1, 1)
    );
    assert_eq!((calls.total(), calls.returning_data), (2, 1));
}

#[test]
fn a_refused_start_carries_what_the_guest_wrote() {
    let module = module("probe");
    let faults = Faults::on("proxy_set_property", When::Every(1), Status::Ok);
    let host = Host::new(
        &module,
        Options {
            profile: Profile::Nginx,
            faults,
            ..Options::default()
        },
    );
    let error = host.start_vm().unwrap_err();
    let StartFailure::Trap(trap) = &error.reason else {
        panic!("{error}")
    };
    assert!(matches!(&trap.reason, TrapReason::EndsHost(_)), "{trap}");
}
