//! The artifact itself: its size, what it imports, what a request costs in it, and that nothing traps it.

use std::collections::BTreeSet;

use harness::artifact;
use harness::host::{
    Faults, Headers, Host, Module, Options, Status, StreamInfo, Verdict, Vm, When,
};
use junheng::values::rng::Rng;
use serde_json::{Value, json};

use crate::scenario::module;

const BODY: &[u8] =
    br#"{"model":"m","messages":[{"role":"user","content":"Why is the sky blue?"}],"stream":true}"#;
const ANSWER: &[u8] =
    b"data: {\"choices\":[],\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":3}}\n\n";

fn config() -> Value {
    json!({
        "pools": [
            {"name": "a", "models": ["m"], "endpoints": [{"address": "10.0.0.1:80"}, {"address": "10.0.0.2:80"}]},
            {"name": "b", "balance": {"algorithm": "consistent_hash", "hash": {"on": "prompt"}},
             "endpoints": [{"address": "10.0.1.1:80"}, {"address": "10.0.1.2:80"}]}
        ],
        "routes": [{"match": {"models": ["m"]}, "alias": {"m": "m@1"}, "pools": ["a"]}, {"pools": ["b"]}],
        "decision_header": {"callers": "all"}
    })
}

fn host(options: Options) -> Host {
    Host::new(
        &module(),
        Options {
            plugin_configuration: config().to_string().into_bytes(),
            ..options
        },
    )
}

/// A request's whole life, as far as the guest lets it go.
fn live(vm: &mut Vm, headers: Headers, body: &[u8]) -> Result<(), harness::host::Trap> {
    let stream = vm.open_stream(StreamInfo::default());
    let mut verdict = vm.request_headers(stream, headers, body.is_empty())?;
    if verdict == Verdict::Pause && !body.is_empty() {
        vm.request_body(stream, body, false)?;
        verdict = vm.request_body(stream, b"", true)?;
    }
    if verdict == Verdict::Continue {
        vm.set_property(
            stream,
            &["upstream", "request_attempt_count"],
            1u64.to_le_bytes(),
        );
        let head = [
            (":status", "200"),
            ("content-type", "text/event-stream"),
            ("content-length", "9"),
        ];
        vm.response_headers(stream, Headers::from_iter(head), false)?;
        let (start, rest) = ANSWER.split_at(ANSWER.len() / 2);
        vm.response_body(stream, start, false)?;
        vm.response_body(stream, rest, true)?;
    }
    vm.close(stream)
}

fn chat_headers() -> Headers {
    let pairs = [
        (":method", "POST"),
        (":path", "/v1/chat/completions"),
        (":authority", "test"),
        ("x-junheng-x", "1"),
    ];
    Headers::from_iter(pairs)
}

#[test]
fn the_artifact_is_at_most_760_kb_and_imports_from_two_modules_only() {
    let path = artifact::build().unwrap_or_else(|error| panic!("{error}"));
    let bytes = std::fs::read(path).expect("the artifact");
    assert!(bytes.len() <= 760_000, "{} bytes", bytes.len());
    let modules: BTreeSet<String> = Module::new(&bytes)
        .expect("a module")
        .imports()
        .into_iter()
        .map(|(module, _)| module)
        .collect();
    assert_eq!(
        modules,
        BTreeSet::from(["env".to_owned(), "wasi_snapshot_preview1".to_owned()])
    );
}

#[test]
fn a_proxied_chat_request_makes_at_most_eight_calls_that_return_data() {
    let host = host(Options::default());
    let mut vm = host.start_vm().expect("a valid configuration");
    let before = host.calls();
    live(&mut vm, chat_headers(), BODY).expect("no trap");
    let calls = host.calls().since(&before);
    assert!(calls.returning_data <= 8, "{calls:?}");
}

/// How many calls that return data each piece of a response's body makes. No model is configured
/// whose usage is learned.
fn calls_of_pieces(content_type: &str, pieces: &[&[u8]]) -> Vec<u64> {
    let host = host(Options::default());
    let mut vm = host.start_vm().expect("a valid configuration");
    let stream = vm.open_stream(StreamInfo::default());
    vm.request_headers(stream, chat_headers(), false)
        .expect("no trap");
    let body = br#"{"model":"other","messages":[],"stream":true}"#;
    let verdict = vm.request_body(stream, body, true).expect("no trap");
    assert_eq!(verdict, Verdict::Continue);
    let head = [(":status", "200"), ("content-type", content_type)];
    vm.response_headers(stream, Headers::from_iter(head), false)
        .expect("no trap");
    let calls = pieces.iter().map(|piece| {
        let before = host.calls();
        vm.response_body(stream, piece, false).expect("no trap");
        host.calls().since(&before).returning_data
    });
    calls.collect()
}

#[test]
fn a_stream_is_read_to_its_first_event_with_data_and_other_answers_are_not() {
    let token: &[u8] = b"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
    let pieces: [&[u8]; 4] = [b": ping\n\n", token, token, token];
    let calls = calls_of_pieces("text/event-stream", &pieces);
    assert_eq!(calls, [1, 1, 0, 0]);
    let calls = calls_of_pieces("application/json", &pieces);
    assert_eq!(calls, [0, 0, 0, 0]);
}

#[test]
fn the_same_request_costs_the_same_fuel_every_time() {
    let fuel = || {
        let mut vm = host(Options {
            seed: 1,
            ..Options::default()
        })
        .start_vm()
        .expect("a valid configuration");
        let stream = vm.open_stream(StreamInfo::default());
        vm.request_headers(stream, chat_headers(), false)
            .expect("no trap");
        let headers = vm.fuel_used();
        vm.request_body(stream, BODY, true).expect("no trap");
        (headers, vm.fuel_used())
    };
    let first = fuel();
    assert_eq!(first, fuel());
    // Instructions of wasm; a guard against a step that reads everything twice.
    assert!(first.0 < 20_000 && first.1 < 60_000, "{first:?}");
}

/// 10,000 VMs' worth of misfortune: every hostcall may fail with any status, at start and in traffic.
#[test]
fn no_hostcall_that_fails_can_trap_the_vm() {
    let bodies: [&[u8]; 4] = [BODY, b"", b"{", br#"{"model":"z","messages":[]}"#];
    for seed in 0..10_000u64 {
        let rate = [0.02, 0.1, 0.3, 0.8][seed as usize % 4];
        let mut config = config();
        // Every other one asks for usage, and so has an answer to change.
        config["routes"][0]["stream_usage"] = json!(seed / 4 % 2 == 0);
        let options = Options {
            faults: Faults::random(seed, rate),
            seed,
            plugin_configuration: config.to_string().into_bytes(),
            ..Options::default()
        };
        let host = Host::new(&module(), options);
        match host.start_vm() {
            Ok(mut vm) => {
                let mut rng = Rng::new(seed);
                for _ in 0..4 {
                    let body = bodies[rng.below(bodies.len())];
                    live(&mut vm, chat_headers(), body)
                        .unwrap_or_else(|trap| panic!("seed {seed}: {trap}"));
                    vm.tick()
                        .unwrap_or_else(|trap| panic!("seed {seed}: {trap}"));
                }
            }
            Err(refused) => assert!(
                !refused.to_string().contains("trap"),
                "seed {seed}: {refused}"
            ),
        }
    }
}

/// Its head is paused; a body that went on would take it along, with the client's own copies of our headers.
#[test]
fn a_request_without_a_configuration_stays_where_the_proxy_takes_no_answer() {
    let call = "proxy_send_local_response";
    let host = host(Options {
        faults: Faults::on(call, When::Every(1), Status::InternalFailure),
        ..Options::default()
    });
    let mut vm = host.start_vm().expect("a valid configuration");
    let root = vm.root();
    vm.retire(root).expect("no trap");
    for trailers in [false, true] {
        let stream = vm.open_stream_on(root, StreamInfo::default());
        let verdict = vm.request_headers(stream, chat_headers(), false);
        assert_eq!(verdict.expect("no trap"), Verdict::Pause);
        let verdict = vm.request_body(stream, BODY, !trailers);
        assert_eq!(verdict.expect("no trap"), Verdict::Pause);
        if trailers {
            let verdict = vm.request_trailers(stream, Headers::from_iter([("a", "b")]));
            assert_eq!(verdict.expect("no trap"), Verdict::Pause);
        }
        assert_eq!(vm.take_request_body(stream), b"");
    }
}

#[test]
fn a_refused_configuration_says_why_in_the_log() {
    let options = Options {
        plugin_configuration: br#"{"pools":[],"routes":[]}"#.to_vec(),
        ..Options::default()
    };
    let refused = Host::new(&module(), options)
        .start_vm()
        .expect_err("a refusal");
    let refused = format!("{:?}", refused.logs);
    assert!(
        refused.contains("junheng: configuration refused: pools: has 0 entries; give 1 to 256"),
        "{refused}"
    );
}

#[test]
fn a_configuration_that_changes_keeps_the_old_one_for_streams_that_began_under_it() {
    let host = host(Options::default());
    let mut vm = host.start_vm().expect("a valid configuration");
    let before = vm.open_stream(StreamInfo::default());
    vm.request_headers(before, chat_headers(), false)
        .expect("no trap");
    let mut changed = config();
    changed["pools"][0]["endpoints"] = json!([{"address": "10.0.9.9:80"}]);
    vm.reconfigure(changed.to_string().into_bytes())
        .expect("a valid configuration");

    let after = vm.open_stream(StreamInfo::default());
    vm.request_headers(after, chat_headers(), false)
        .expect("no trap");
    let mut endpoint = |stream| {
        assert_eq!(
            vm.request_body(stream, BODY, true).expect("no trap"),
            Verdict::Continue
        );
        let headers = vm.request_headers_of(stream).expect("headers");
        headers
            .text("x-gateway-destination-endpoint")
            .expect("an endpoint")
            .to_owned()
    };
    assert!(endpoint(before).starts_with("10.0.0."));
    assert_eq!(endpoint(after), "10.0.9.9:80");
}

/// Streams that began under another algorithm hold their endpoints' gauges and never stepped the pool's.
#[test]
fn a_pool_that_begins_to_hash_serves_beside_the_streams_of_before() {
    let pools = |balance: Value| {
        let endpoints = json!([{"address": "10.0.0.1:80"}, {"address": "10.0.0.2:80"}]);
        json!({"pools": [{"name": "p", "balance": balance, "endpoints": endpoints}], "routes": [{"pools": ["p"]}]})
    };
    let plugin_configuration = pools(json!({"algorithm": "least_connections"}))
        .to_string()
        .into_bytes();
    let host = Host::new(
        &module(),
        Options {
            plugin_configuration,
            ..Options::default()
        },
    );
    let mut vm = host.start_vm().expect("a valid configuration");
    let place = |vm: &mut Vm| {
        let stream = vm.open_stream(StreamInfo::default());
        vm.request_headers(stream, chat_headers(), false)
            .expect("no trap");
        vm.request_body(stream, BODY, true).expect("no trap")
    };
    for _ in 0..12 {
        assert_eq!(place(&mut vm), Verdict::Continue);
    }
    let hashing = pools(json!({"algorithm": "consistent_hash", "hash": {"on": "prompt"}}));
    vm.reconfigure(hashing.to_string().into_bytes())
        .expect("a valid configuration");
    assert_eq!(place(&mut vm), Verdict::Continue);
}
