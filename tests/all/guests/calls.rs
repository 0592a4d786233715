//! Calls out of a guest, over HTTP and gRPC, and what their answers do to the streams that wait.

use std::collections::BTreeSet;
use std::time::Duration;

use harness::host::{
    Event, GrpcRequest, Headers, LocalResponse, Options, Side, StreamInfo, Verdict,
};

use super::{held_by_auth, host, request, status, texts, vm};

#[test]
fn a_request_waits_for_its_http_call_and_goes_on_or_is_refused() {
    let mut vm = vm("auth_by_http_call", Options::default());
    let streams: Vec<_> = ["good", "bad"]
        .map(|token| held_by_auth(&mut vm, token))
        .into();
    let calls = vm.take_http_calls();
    assert_eq!(calls.len(), 2);
    assert_eq!(
        (calls[0].upstream.as_str(), calls[0].timeout),
        ("auth", Some(Duration::from_secs(1)))
    );
    assert_eq!(calls[0].headers.text("x-token"), Some("good"));
    assert_eq!(
        (calls[0].headers.text("content-length"), &*calls[0].body),
        (Some("7"), &b"may it?"[..])
    );
    vm.http_call_response(calls[1].token, status(401), vec![], Headers::new())
        .unwrap();
    vm.http_call_response(calls[0].token, status(200), b"ann".to_vec(), Headers::new())
        .unwrap();
    let events = vm.take_events();
    let Event::LocalReply(id, refusal) = &events[0] else {
        panic!("{events:?}")
    };
    assert_eq!(
        (*id, refusal.status, &*refusal.body),
        (streams[1], 403, &b"refused"[..])
    );
    assert_eq!(refusal.headers.text("x-refused-by"), Some("auth"));
    assert_eq!(refusal.headers.text("content-type"), Some("text/plain"));
    assert_eq!(events[1], Event::Resumed(streams[0], Side::Request));
    assert_eq!(
        vm.request_headers_of(streams[0]).unwrap().text("x-user"),
        Some("ann")
    );
    // A token is good once.
    vm.http_call_response(calls[0].token, status(401), vec![], Headers::new())
        .unwrap();
    assert!(vm.take_events().is_empty());
}

#[test]
fn an_answer_for_a_stream_that_has_gone_harms_nobody() {
    let mut vm = vm("auth_by_http_call", Options::default());
    let gone = held_by_auth(&mut vm, "good");
    let call = vm.take_http_calls().remove(0);
    vm.close(gone).unwrap();
    vm.http_call_response(call.token, status(200), vec![], Headers::new())
        .unwrap();
    assert!(vm.take_events().is_empty());
}

#[test]
fn a_call_to_an_unknown_cluster_fails_at_once() {
    let clusters = Some(BTreeSet::from(["other".to_owned()]));
    let mut vm = vm(
        "auth_by_http_call",
        Options {
            clusters,
            ..Options::default()
        },
    );
    let id = vm.open_stream(StreamInfo::default());
    let verdict = vm.request_headers(id, request("/"), true).unwrap();
    assert!(
        matches!(verdict, Verdict::Reply(LocalResponse { status: 500, .. })),
        "{verdict:?}"
    );
    assert!(vm.take_http_calls().is_empty());
}

#[test]
fn a_request_waits_for_its_grpc_call_and_a_grpc_stream_lives_beside() {
    let host = host("grpc_call", Options::default());
    let mut vm = host.start_vm().unwrap();
    let opened = vm.take_grpc_requests();
    let GrpcRequest::Open { token, target } = &opened[0] else {
        panic!("{opened:?}")
    };
    assert_eq!(
        (target.upstream.as_str(), target.metadata.text("x-who")),
        ("reports", Some("guest"))
    );
    let message = b"hello".to_vec();
    assert_eq!(
        opened[1..],
        [GrpcRequest::Send {
            token: *token,
            message,
            end_of_stream: false
        }]
    );
    vm.grpc_initial_metadata(*token, Headers::from([("x-who", "server")]))
        .unwrap();
    vm.grpc_message(*token, b"welcome".to_vec()).unwrap();
    assert_eq!(
        vm.take_grpc_requests(),
        [GrpcRequest::Close { token: *token }]
    );
    vm.grpc_close(*token, 14, "gone").unwrap();
    vm.grpc_close(*token, 14, "gone twice").unwrap();
    assert_eq!(
        texts(&host),
        ["metadata from server", "message welcome", "closed 14 gone"]
    );

    let mut ask = |answer: &[u8]| {
        let id = vm.open_stream(StreamInfo::default());
        assert_eq!(
            vm.request_headers(id, request("/asked"), true).unwrap(),
            Verdict::Pause
        );
        let asked = vm.take_grpc_requests();
        let [
            GrpcRequest::Call {
                token,
                message,
                timeout,
                ..
            },
        ] = &*asked
        else {
            panic!("{asked:?}")
        };
        assert_eq!(
            (&**message, *timeout),
            (&b"/asked"[..], Duration::from_millis(250))
        );
        vm.grpc_message(*token, answer.to_vec()).unwrap();
        (id, vm.take_events().remove(0))
    };
    let (id, event) = ask(b"yes");
    assert_eq!(event, Event::Resumed(id, Side::Request));
    let (_, event) = ask(b"no");
    assert!(
        matches!(
            event,
            Event::LocalReply(_, LocalResponse { status: 429, .. })
        ),
        "{event:?}"
    );
}
