//! `/metrics` with vLLM's names, so that whatever reads a real server reads this one.
//!
//! Names, labels and buckets follow `vllm/v1/metrics/loggers.py`. The cache usage is there under
//! its old name (`vllm:gpu_cache_usage_perc`) and its new one (`vllm:kv_cache_usage_perc`), as both
//! are found in the field. The GPU's utilisation, which vLLM does not tell, is there under DCGM's name.

use std::fmt::Write;
use std::time::Duration;

use super::orca::Report;

const TTFT_BUCKETS: &[f64] = &[
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
    20.0, 40.0, 80.0, 160.0, 640.0, 2560.0,
];
const INTER_TOKEN_BUCKETS: &[f64] = &[
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0,
    40.0, 80.0,
];
const LATENCY_BUCKETS: &[f64] = &[
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0,
    480.0, 960.0, 1920.0, 7680.0,
];

/// What a server counts for its metrics page.
pub struct Meters {
    prompt_tokens: u64,
    generation_tokens: u64,
    stopped: u64,
    cut: u64,
    first_token: Histogram,
    inter_token: Histogram,
    whole: Histogram,
}

/// One finished answer.
#[derive(Clone, Copy, Debug)]
pub struct Finished {
    /// Tokens of the prompt.
    pub input: u32,
    /// Tokens of the answer.
    pub output: u32,
    /// Whether the caller's bound cut the answer short.
    pub cut: bool,
    /// Arrival to first token.
    pub first_token: Duration,
    /// Arrival to last token.
    pub whole: Duration,
}

impl Default for Meters {
    fn default() -> Self {
        Meters {
            prompt_tokens: 0,
            generation_tokens: 0,
            stopped: 0,
            cut: 0,
            first_token: Histogram::new(TTFT_BUCKETS),
            inter_token: Histogram::new(INTER_TOKEN_BUCKETS),
            whole: Histogram::new(LATENCY_BUCKETS),
        }
    }
}

impl Meters {
    pub fn finished(&mut self, answer: Finished) {
        self.prompt_tokens += u64::from(answer.input);
        self.generation_tokens += u64::from(answer.output);
        *(if answer.cut {
            &mut self.cut
        } else {
            &mut self.stopped
        }) += 1;
        self.first_token.observe(answer.first_token);
        self.whole.observe(answer.whole);
        if answer.output > 1 {
            let gaps = answer.output - 1;
            let mean = answer.whole.saturating_sub(answer.first_token) / gaps;
            (0..gaps).for_each(|_| self.inter_token.observe(mean));
        }
    }
}

/// The metrics page of a server of `model` that runs `running` requests.
pub fn page(model: &str, running: usize, report: Report, meters: &Meters) -> String {
    let labels = format!("engine=\"0\",model_name=\"{model}\"");
    let mut page = Page {
        labels,
        text: String::new(),
    };
    page.single("gauge", "num_requests_running", running as f64);
    page.single("gauge", "num_requests_waiting", report.waiting);
    page.single("gauge", "kv_cache_usage_perc", report.kv_cache);
    page.single("gauge", "gpu_cache_usage_perc", report.kv_cache);
    page.single("counter", "num_preemptions_total", 0.0);
    page.single(
        "counter",
        "prompt_tokens_total",
        meters.prompt_tokens as f64,
    );
    page.single(
        "counter",
        "generation_tokens_total",
        meters.generation_tokens as f64,
    );
    page.typed("counter", "request_success_total");
    for (reason, count) in [
        ("stop", meters.stopped),
        ("length", meters.cut),
        ("abort", 0),
    ] {
        page.sample(
            "request_success_total",
            &format!("finished_reason=\"{reason}\","),
            count as f64,
        );
    }
    page.histogram("time_to_first_token_seconds", &meters.first_token);
    page.histogram("inter_token_latency_seconds", &meters.inter_token);
    page.histogram("time_per_output_token_seconds", &meters.inter_token);
    page.histogram("e2e_request_latency_seconds", &meters.whole);
    page.gpu(report.gpu);
    page.text
}

struct Page {
    labels: String,
    text: String,
}

impl Page {
    fn typed(&mut self, kind: &str, name: &str) {
        let _ = writeln!(
            self.text,
            "# HELP vllm:{name} Of the simulated server.\n# TYPE vllm:{name} {kind}"
        );
    }

    fn sample(&mut self, name: &str, labels: &str, value: f64) {
        let _ = writeln!(
            self.text,
            "vllm:{name}{{{labels}{}}} {value:?}",
            self.labels
        );
    }

    fn single(&mut self, kind: &str, name: &str, value: f64) {
        self.typed(kind, name);
        self.sample(name, "", value);
    }

    /// In the words of NVIDIA's exporter, which many set-ups serve from the same address; in percent.
    fn gpu(&mut self, utilisation: f64) {
        const NAME: &str = "DCGM_FI_DEV_GPU_UTIL";
        let percent = utilisation * 100.0;
        let _ = writeln!(
            self.text,
            "# HELP {NAME} GPU utilization (in %).\n# TYPE {NAME} gauge\n{NAME}{{gpu=\"0\"}} {percent}"
        );
    }

    fn histogram(&mut self, name: &str, histogram: &Histogram) {
        self.typed("histogram", name);
        let bucket = format!("{name}_bucket");
        let mut total = 0;
        for (bound, count) in histogram.bounds.iter().zip(&histogram.counts) {
            total += count;
            self.sample(&bucket, &format!("le=\"{bound:?}\","), total as f64);
        }
        self.sample(&bucket, "le=\"+Inf\",", histogram.count as f64);
        self.sample(&format!("{name}_sum"), "", histogram.sum);
        self.sample(&format!("{name}_count"), "", histogram.count as f64);
    }
}

struct Histogram {
    bounds: &'static [f64],
    counts: Vec<u64>,
    sum: f64,
    count: u64,
}

impl Histogram {
    fn new(bounds: &'static [f64]) -> Histogram {
        Histogram {
            bounds,
            counts: vec![0; bounds.len()],
            sum: 0.0,
            count: 0,
        }
    }

    fn observe(&mut self, time: Duration) {
        let seconds = time.as_secs_f64();
        if let Some(bucket) = self.bounds.iter().position(|bound| seconds <= *bound) {
            self.counts[bucket] += 1;
        }
        self.sum += seconds;
        self.count += 1;
    }
}
