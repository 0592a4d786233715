//! What hostcalls answer, in which phase, under which profile.
//!
//! The table of statuses is not written by hand: `envoy-1.40.0.statuses` is what the guest `probe` logged in a real
//! Envoy, and the host has to make it log the same.

use std::collections::BTreeSet;

use harness::host::{
    Event, Headers, Host, Module, Options, Profile, Side, StreamInfo, Verdict, Vm, imports_of,
};

use super::{host, probed_response, probed_stream, request, status, texts, vm};

#[test]
fn imports_that_no_host_has_are_refused_by_name_and_can_be_listed() {
    let wat = br#"(module
        (import "env" "proxy_log" (func (param i32 i32 i32) (result i32)))
        (import "env" "proxy_brew_coffee" (func))
        (import "wasi_snapshot_preview1" "sock_dance" (func))
        (memory (export "memory") 1)
        (func (export "malloc") (param i32) (result i32) i32.const 0)
        (func (export "proxy_abi_version_0_2_1")))"#;
    let error = Module::new(wat).unwrap_err().to_string();
    assert_eq!(
        error,
        "imports that no proxy-wasm host has: env.proxy_brew_coffee, wasi_snapshot_preview1.sock_dance"
    );
    assert_eq!(imports_of(wat).unwrap().len(), 3);
    let error = Module::new(b"(module)").unwrap_err().to_string();
    assert!(error.contains("proxy_abi_version"), "{error}");
}

#[test]
fn every_call_answers_in_every_phase_what_envoy_answered() {
    let recorded = include_str!("../../guests/envoy-1.40.0.statuses");
    let recorded: Vec<&str> = recorded
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .collect();
    let host = host(
        "probe",
        Options {
            root_id: "root".into(),
            vm_id: "vm".into(),
            plugin_name: "plug".into(),
            clusters: Some(BTreeSet::from(["known".to_owned()])),
            ..Options::default()
        },
    );
    let mut vm = host.start_vm().unwrap();
    let trailers = || Headers::from([("x-t", "1")]);

    let id = probed_stream(&mut vm);
    vm.request_headers(id, request("/a?b=c"), false).unwrap();
    vm.request_body(id, b"first", false).unwrap();
    vm.request_body(id, b"second", false).unwrap();
    assert_eq!(
        vm.request_trailers(id, trailers()).unwrap(),
        Verdict::Continue
    );
    assert_eq!(vm.take_request_body(id), b"firstsecond");
    vm.response_headers(id, status(200), false).unwrap();
    vm.response_body(id, b"hello", false).unwrap();
    vm.response_body(id, b"world", false).unwrap();
    vm.response_trailers(id, trailers()).unwrap();
    vm.close(id).unwrap();

    let id = probed_stream(&mut vm);
    vm.request_headers(id, request("/get"), true).unwrap();
    probed_response(&mut vm, id);

    let id = probed_stream(&mut vm);
    vm.request_headers(id, request("/cl"), false).unwrap();
    vm.request_body(id, b"first", false).unwrap();
    vm.request_body(id, b"again", false).unwrap();
    vm.request_body(id, b"", true).unwrap();
    probed_response(&mut vm, id);

    let logged = texts(&host);
    for (nth, (logged, recorded)) in logged.iter().zip(&recorded).enumerate() {
        for (ours, envoys) in logged.split(' ').zip(recorded.split(' ')) {
            let phase = recorded.split(':').next().unwrap_or_default();
            assert_eq!(ours, envoys, "line {nth}, phase {phase}");
        }
    }
    assert_eq!(logged.len(), recorded.len());
}

#[test]
fn answers_closes_and_resumes_in_each_phase_end_as_they_did_in_envoy() {
    let mut vm = vm("answers", Options::default());
    // The path, how many steps of the exchange it takes, and what ends it: status, `x-seen`, body.
    let answered = [
        ("/request", 1, (420, Some("head"), "request")),
        ("/twice", 1, (420, Some("head"), "first")),
        ("/again", 1, (420, None, "again")),
        ("/held", 1, (420, Some("head"), "held and more")),
        ("/response", 2, (420, None, "response")),
        ("/response-held", 3, (420, None, "response body")),
    ];
    for (path, steps, expected) in answered {
        let (taken, verdict) = exchange(&mut vm, path);
        let Verdict::Reply(reply) = verdict else {
            panic!("{path}: {verdict:?}");
        };
        let body = String::from_utf8_lossy(&reply.body);
        let got = (reply.status, reply.headers.text("x-seen"), &*body);
        assert_eq!((taken, got), (steps, expected), "{path}");
    }
    let others = [
        ("/close", 1, Verdict::Close),
        ("/response-close", 2, Verdict::Close),
        // The head is with the client already: all that is left is to break off.
        ("/response-body", 3, Verdict::Close),
        ("/resume-and-pause", 3, Verdict::Continue),
        ("/nothing", 3, Verdict::Continue),
    ];
    for (path, steps, expected) in others {
        assert_eq!(exchange(&mut vm, path), (steps, expected), "{path}");
    }
}

#[test]
fn properties_hold_the_bytes_that_envoy_put_there() {
    let host = host(
        "properties",
        Options {
            root_id: "root".into(),
            vm_id: "vm".into(),
            plugin_name: "plug".into(),
            ..Options::default()
        },
    );
    let mut vm = host.start_vm().unwrap();
    let id = probed_stream(&mut vm);
    let mut head = request("/p?q=1");
    head.add("x-many", "1");
    head.add("x-many", "2");
    vm.request_headers(id, head, true).unwrap();
    vm.set_property(id, &["upstream", "address"], "127.0.0.1:9000");
    vm.set_property(
        id,
        &["upstream", "request_attempt_count"],
        1_u64.to_le_bytes(),
    );
    vm.response_headers(id, status(200), true).unwrap();
    vm.close(id).unwrap();
    let logged = texts(&host);
    let value = |phase: &str, path: &str| {
        let start = format!("{phase} {path}=");
        logged
            .iter()
            .find_map(|text| text.strip_prefix(&start))
            .unwrap()
            .to_owned()
    };
    let in_both = [
        ("plugin_name", "plug"),
        ("plugin_root_id", "root"),
        ("plugin_vm_id", "vm"),
        ("request.path", "/p?q=1"),
        ("request.url_path", "/p"),
        ("request.query", "q=1"),
        ("request.host", "example.org"),
        ("request.scheme", "http"),
        ("request.method", "GET"),
        ("request.protocol", "HTTP/1.1"),
        ("request.useragent", "test"),
        ("request.referer", "-"),
        ("request.headers.x-many", "1,2"),
        ("request.size", r"\x00\x00\x00\x00\x00\x00\x00\x00"),
        ("response.headers.x-one", "-"),
        ("source.address", "127.0.0.1:40000"),
        ("connection.mtls", r"\x00"),
        ("own", "kept"),
        ("own.part", "-"),
        ("request", "-"),
    ];
    for (path, expected) in in_both {
        for phase in ["request", "log"] {
            assert_eq!(value(phase, path), expected, "{path} in {phase}");
        }
    }
    let changing = [
        ("response.code", "-", r"\xc8\x00\x00\x00\x00\x00\x00\x00"),
        ("upstream.address", "-", "127.0.0.1:9000"),
        (
            "upstream.request_attempt_count",
            r"\x00\x00\x00\x00\x00\x00\x00\x00",
            r"\x01\x00\x00\x00\x00\x00\x00\x00",
        ),
    ];
    for (path, first, last) in changing {
        assert_eq!(
            (value("request", path), value("log", path)),
            (first.into(), last.into()),
            "{path}"
        );
    }
}

#[test]
fn wasi_answers_what_envoy_answered() {
    // Recorded: the function, its arguments (i32 as i, i64 as I), and its answer to descriptor 3 or zeros.
    let recorded = "args_get:ii:0 args_sizes_get:ii:0 clock_res_get:ii:0 clock_time_get:iIi:0 \
        environ_get:ii:0 environ_sizes_get:ii:0 fd_advise:iIIi:0 fd_allocate:iII:8 \
        fd_close:i:0 fd_datasync:i:8 fd_fdstat_get:ii:8 fd_fdstat_set_flags:ii:52 \
        fd_fdstat_set_rights:iII:8 fd_filestat_get:ii:8 fd_filestat_set_size:iI:8 \
        fd_filestat_set_times:iIIi:8 fd_pread:iiiIi:52 fd_prestat_dir_name:iii:52 \
        fd_prestat_get:ii:8 fd_pwrite:iiiIi:8 fd_read:iiii:52 fd_readdir:iiiIi:20 \
        fd_renumber:ii:8 fd_seek:iIii:0 fd_sync:i:8 fd_tell:ii:8 fd_write:iiii:8 \
        path_create_directory:iii:58 path_filestat_get:iiiii:58 \
        path_filestat_set_times:iiiiIIi:58 path_open:iiiiiIIii:44 path_readlink:iiiiii:58 \
        path_remove_directory:iii:58 path_rename:iiiiii:58 path_unlink_file:iii:58 \
        poll_oneoff:iiii:0 random_get:ii:0 sched_yield::0 sock_accept:iii:58 \
        sock_recv:iiiiii:58 sock_send:iiiii:58 sock_shutdown:ii:58";
    let mut wat = String::from("(module\n");
    let mut body = String::new();
    for (nth, row) in recorded.split(' ').enumerate() {
        let [name, arguments, _] = row.splitn(3, ':').collect::<Vec<_>>()[..] else {
            panic!("{row}");
        };
        let kind = |argument| if argument == 'i' { "i32" } else { "i64" };
        let types = arguments
            .chars()
            .map(|argument| format!(" {}", kind(argument)));
        let types = types.collect::<String>();
        wat += &format!(
            "(import \"wasi_snapshot_preview1\" \"{name}\" (func $f{nth} (param{types}) (result i32)))\n"
        );
        let on_file = ["fd_", "path_", "sock_"]
            .iter()
            .any(|prefix| name.starts_with(prefix));
        let values = arguments.chars().enumerate().map(|(at, argument)| {
            let value = if at == 0 && on_file { 3 } else { 0 };
            format!("({}.const {value})", kind(argument))
        });
        let (values, at) = (values.collect::<String>(), 1024 + nth);
        body += &format!("(i32.store8 (i32.const {at}) (call $f{nth} {values}))\n");
    }
    wat += &format!(
        "(import \"env\" \"proxy_set_shared_data\" (func $set (param i32 i32 i32 i32 i32) (result i32)))
        (memory (export \"memory\") 1)
        (func (export \"malloc\") (param i32) (result i32) i32.const 0)
        (func (export \"proxy_abi_version_0_2_1\"))
        (func (export \"proxy_on_vm_start\") (param i32 i32) (result i32)
            {body}
            (drop (call $set (i32.const 0) (i32.const 0) (i32.const 1024) (i32.const 99) (i32.const 0)))
            i32.const 1))"
    );
    let host = Host::new(&Module::new(wat.as_bytes()).unwrap(), Options::default());
    host.start_vm().unwrap();
    let (answers, _) = host.shared_data("").unwrap();
    for (row, answer) in recorded.split(' ').zip(answers) {
        assert!(
            row.ends_with(&format!(":{answer}")),
            "{row}, and here {answer}"
        );
    }
}

/// Request head, response head, response body, until something else than going on comes of one.
fn exchange(vm: &mut Vm, path: &str) -> (usize, Verdict) {
    let id = vm.open_stream(StreamInfo::default());
    let mut verdict = vm.request_headers(id, request(path), true).unwrap();
    let mut steps = 1;
    if verdict == Verdict::Continue {
        verdict = vm.response_headers(id, status(200), false).unwrap();
        steps += 1;
    }
    if steps == 2 && matches!(verdict, Verdict::Continue | Verdict::Pause) {
        verdict = vm.response_body(id, b"hello", true).unwrap();
        steps += 1;
    }
    vm.close(id).unwrap();
    (steps, verdict)
}

#[test]
fn each_profile_closes_a_stream_in_its_own_order() {
    let wat = br#"(module
        (import "env" "proxy_log" (func $log (param i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 0) "logdonedelete")
        (func (export "malloc") (param i32) (result i32) i32.const 0)
        (func (export "proxy_abi_version_0_2_1"))
        (func (export "proxy_on_log") (param i32) (drop (call $log (i32.const 2) (i32.const 0) (i32.const 3))))
        (func (export "proxy_on_done") (param i32) (result i32)
            (drop (call $log (i32.const 2) (i32.const 3) (i32.const 4))) i32.const 1)
        (func (export "proxy_on_delete") (param i32)
            (drop (call $log (i32.const 2) (i32.const 7) (i32.const 6)))))"#;
    let module = Module::new(wat).unwrap();
    let orders = [
        (Profile::Envoy, ["log", "done", "delete"]),
        (Profile::Nginx, ["done", "log", "delete"]),
    ];
    for (profile, expected) in orders {
        let host = Host::new(
            &module,
            Options {
                profile,
                ..Options::default()
            },
        );
        let mut vm = host.start_vm().unwrap();
        let id = vm.open_stream(StreamInfo::default());
        vm.request_headers(id, request("/"), true).unwrap();
        vm.close(id).unwrap();
        assert_eq!(texts(&host), expected);
    }
}

#[test]
fn a_new_configuration_takes_new_streams_and_the_old_root_ends_when_retired() {
    let host = host("timer", Options::default());
    let mut vm = host.start_vm().unwrap();
    let old = vm.root();
    let held = vm.open_stream(StreamInfo::default());
    vm.request_headers(held, request("/"), true).unwrap();
    let new = vm.reconfigure(b"new".to_vec()).unwrap();
    assert_ne!(old, new);
    vm.tick().unwrap();
    assert_eq!(
        vm.take_events(),
        [Event::Resumed(held, Side::Request)],
        "the old root still ticks"
    );
    let before = host.logs().len();
    vm.retire(old).unwrap();
    vm.tick().unwrap();
    assert_eq!(host.logs().len() - before, 1, "only the new one does now");
}
