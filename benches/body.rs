//! What it costs to read a body, natively, by its size: a chat in English, with sentences, numbers and
//! escapes at about the rates of real prompts.
//!
//! To watch: the throughput, which must not fall with the size. Natively the scanner's lanes are arrays,
//! slower than the artifact's simd128: how fast the artifact reads is the difference that a body
//! makes in `exchange`.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use harness::cost::chat;
use junheng::request::{Api, Limits, read};

fn body(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("body");
    for kib in [1, 32, 256] {
        let body = chat(kib * 1024, false).into_bytes();
        let id = BenchmarkId::from_parameter(format!("{kib}k"));
        group.throughput(Throughput::Bytes(body.len() as u64));
        group.bench_function(id, |bencher| {
            bencher.iter(|| read(Api::ChatCompletions, black_box(&body), &Limits::default()))
        });
    }
    group.finish();
}

criterion_group!(benches, body);
criterion_main!(benches);
