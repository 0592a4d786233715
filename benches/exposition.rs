//! What a page of metrics costs the leader: a megabyte of Prometheus text, as a vLLM server with many
//! models and histograms writes it, handed to the artifact on wasmtime as the reply to its own request.
//!
//! To watch: that it stays far below a tick of 50 ms, for the leader may serve requests as well.

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use harness::artifact;
use harness::host::{Clock, Headers, Host, HttpCall, Module, Options, Vm};

const CONFIGURATION: &[u8] = br#"{
    "pools": [{"name": "p", "endpoints": [{"address": "10.0.0.1:80"}], "health": {"check": {"enabled": false}},
               "load": {"metrics_path": "/metrics", "interval": "1s"}}],
    "routes": [{"pools": ["p"]}]
}"#;
const BYTES: usize = 1 << 20;

fn exposition(criterion: &mut Criterion) {
    let clock = Clock::virtual_at(1 << 40);
    let mut vm = vm(&clock);
    let page = page();
    let mut group = criterion.benchmark_group("exposition");
    group.throughput(Throughput::Bytes(page.len() as u64));
    group.bench_function("1m", |bencher| {
        bencher.iter_custom(|times| {
            let mut taken = Duration::ZERO;
            for _ in 0..times {
                let call = asked(&mut vm, &clock);
                let head = Headers::from_iter([(":status", "200")]);
                let (body, begin) = (page.clone(), Instant::now());
                vm.http_call_response(call.token, head, body, Headers::new())
                    .expect("no trap");
                taken += begin.elapsed();
            }
            taken
        })
    });
    group.finish();
}

fn vm(clock: &Clock) -> Vm {
    let path = artifact::build().unwrap_or_else(|error| panic!("{error}"));
    let module = Module::new(&std::fs::read(path).expect("the artifact")).expect("a module");
    let options = Options {
        plugin_configuration: CONFIGURATION.to_vec(),
        clock: clock.clone(),
        ..Options::default()
    };
    let host = Host::new(&module, options);
    host.start_vm().expect("a valid configuration")
}

/// Lets time pass until the module asks for the page.
fn asked(vm: &mut Vm, clock: &Clock) -> HttpCall {
    loop {
        clock.advance(Duration::from_millis(50));
        vm.tick().expect("no trap");
        if let Some(call) = vm.take_http_calls().pop() {
            return call;
        }
    }
}

fn page() -> Vec<u8> {
    let mut page = String::with_capacity(BYTES + 4096);
    for model in 0.. {
        if page.len() >= BYTES {
            break;
        }
        page += "# HELP vllm:num_requests_running Number of requests in model execution batches.\n";
        page += "# TYPE vllm:num_requests_running gauge\n";
        for (name, value) in [
            ("num_requests_running", 3.0),
            ("num_requests_waiting", 1.0),
            ("kv_cache_usage_perc", 0.25),
        ] {
            page += &format!("vllm:{name}{{engine=\"0\",model_name=\"model-{model}\"}} {value}\n");
        }
        for bucket in 0..40 {
            page += &format!(
                "vllm:time_to_first_token_seconds_bucket{{engine=\"0\",le=\"{}\",model_name=\"model-{model}\"}} {}.0\n",
                f64::from(bucket) / 8.0,
                bucket * 17
            );
        }
    }
    page.into_bytes()
}

criterion_group!(benches, exposition);
criterion_main!(benches);
