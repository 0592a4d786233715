//! What a whole request costs in the artifact, on wasmtime in the harness' host, by the size of its
//! body: headers, body, response, end.
//!
//! To watch: what is left when the body is small, which is hostcalls, and what a body adds. Envoy
//! runs the artifact in V8 and has other hostcalls: for what users pay there is `harness cost`.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use harness::artifact;
use harness::cost::chat;
use harness::host::{Headers, Host, Module, Options, StreamInfo, Trap, Vm};

const CONFIGURATION: &[u8] = br#"{
    "pools": [{"name": "p", "models": ["qwen2.5-7b"], "context_window": 131072,
               "endpoints": [{"address": "10.0.0.1:80"}, {"address": "10.0.0.2:80"}]}],
    "routes": [{"pools": ["p"]}]
}"#;

/// The response: JSON with the usage that corrects the estimate.
const ANSWER: &[u8] =
    br#"{"choices":[{"message":{"content":"Yes."}}],"usage":{"prompt_tokens":240,"completion_tokens":2}}"#;

fn exchange(criterion: &mut Criterion) {
    let mut vm = vm();
    let mut group = criterion.benchmark_group("exchange");
    for kib in [1, 32, 256] {
        let body = chat(kib * 1024, false).into_bytes();
        let id = BenchmarkId::from_parameter(format!("{kib}k"));
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(id, |bencher| {
            bencher.iter(|| live(&mut vm, &body).expect("no trap"))
        });
    }
    group.finish();
}

fn vm() -> Vm {
    let path = artifact::build().unwrap_or_else(|error| panic!("{error}"));
    let module = Module::new(&std::fs::read(path).expect("the artifact")).expect("a module");
    let options = Options {
        plugin_configuration: CONFIGURATION.to_vec(),
        ..Options::default()
    };
    let host = Host::new(&module, options);
    host.start_vm().expect("a valid configuration")
}

/// One request and its response. The body comes in the pieces of 16 KiB in which Envoy reads.
fn live(vm: &mut Vm, body: &[u8]) -> Result<(), Trap> {
    let stream = vm.open_stream(StreamInfo::default());
    let length = body.len().to_string();
    let headers = Headers::from_iter([
        (":method", "POST"),
        (":path", "/v1/chat/completions"),
        (":authority", "models"),
        (":scheme", "http"),
        ("content-type", "application/json"),
        ("content-length", &length),
        ("user-agent", "OpenAI/Python 2.0.0"),
        ("accept", "application/json"),
    ]);
    vm.request_headers(stream, headers, false)?;
    let mut pieces = body.chunks(16 * 1024).peekable();
    while let Some(piece) = pieces.next() {
        vm.request_body(stream, piece, pieces.peek().is_none())?;
    }
    let headers = Headers::from_iter([(":status", "200"), ("content-type", "application/json")]);
    vm.response_headers(stream, headers, false)?;
    vm.response_body(stream, ANSWER, true)?;
    vm.close(stream)
}

criterion_group!(benches, exchange);
criterion_main!(benches);
