//! Dynamic weights: from what endpoints report to their share of the traffic, on every worker.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::on_both;
use crate::scenario::{Asked, On, Proxy, Wasm, chat_bytes, pass, proxy};

const BODY: &[u8] = br#"{"model":"m","messages":[]}"#;
const ENDPOINTS: [&str; 2] = ["10.0.0.1:80", "10.0.0.2:80"];
const WORKERS: usize = 2;

fn config(algorithm: &str, load: Value) -> Value {
    let endpoints = ENDPOINTS.map(|address| json!({"address": address}));
    json!({
        "pools": [{
            "name": "p", "cluster": "c", "endpoints": endpoints, "balance": {"algorithm": algorithm},
            "health": {"check": {"enabled": false}}, "load": load,
        }],
        "routes": [{"pools": ["p"]}],
    })
}

/// Twenty requests a second over all workers, each answered after 100 ms with what `headers` say; how many
/// each endpoint got.
fn live(
    proxy: &mut dyn Proxy,
    seconds: u64,
    headers: impl Fn(&str) -> Vec<(&'static str, &'static str)>,
) -> BTreeMap<String, u32> {
    let mut counts = BTreeMap::new();
    for request in 0..seconds as usize * 5 {
        let open: Vec<_> = (0..4)
            .map(|_| {
                let (stream, step) = chat_bytes(proxy, request % WORKERS, BODY);
                let endpoint = step.sent().endpoint().to_owned();
                *counts.entry(endpoint.clone()).or_default() += 1;
                (stream, endpoint)
            })
            .collect();
        pass(proxy, 0..WORKERS, Duration::from_millis(100));
        for (stream, endpoint) in open {
            let client = proxy.respond_with(stream, 200, 1, &headers(&endpoint));
            assert_eq!(client, [], "reports are not for clients");
            proxy.respond_body(stream, b"{}", true);
            proxy.close(stream);
        }
        pass(proxy, 0..WORKERS, Duration::from_millis(100));
    }
    counts
}

fn weight(proxy: &dyn Proxy, endpoint: &str) -> i64 {
    proxy.metric(&format!("junheng.endpoint.p.{endpoint}.weight"))
}

/// The first endpoint's part of all.
fn part(counts: &BTreeMap<String, u32>) -> f64 {
    let of = |endpoint: &str| f64::from(counts.get(endpoint).copied().unwrap_or(0));
    of(ENDPOINTS[0]) / (of(ENDPOINTS[0]) + of(ENDPOINTS[1]))
}

fn a_gpu_that_fills_up_gets_its_formulas_share_within_two_refreshes(on: On) {
    let mut proxy = proxy(on, &config("weighted_round_robin", json!({})), WORKERS);
    let idle = ("endpoint-load-metrics", "TEXT utilization.gpu=0.20");
    live(&mut *proxy, 15, |_| vec![idle]);
    assert_eq!(
        ENDPOINTS.map(|endpoint| weight(&*proxy, endpoint)),
        [76, 76]
    );
    let busy = (
        "endpoint-load-metrics",
        r#"JSON {"utilization": {"gpu": 0.95}}"#,
    );
    let load = |endpoint: &str| vec![if endpoint == ENDPOINTS[0] { busy } else { idle }];
    live(&mut *proxy, 10, load);
    // 100 x (1 - 0.7) x (1 - 100/2000) = 28.5, and 76.
    assert_eq!(
        ENDPOINTS.map(|endpoint| weight(&*proxy, endpoint)),
        [28, 76]
    );
    let counts = live(&mut *proxy, 50, load);
    assert!((part(&counts) - 28.0 / 104.0).abs() < 0.01, "{counts:?}");
}

fn every_algorithm_goes_by_the_weight(on: On) {
    let busy = ("endpoint-load-metrics", "TEXT utilization.gpu=1.0");
    for (algorithm, at_most) in [
        ("weighted_round_robin", 0.27),
        ("least_connections", 0.3),
        ("response_time", 0.3),
    ] {
        let mut proxy = proxy(on, &config(algorithm, json!({})), WORKERS);
        let load = |endpoint: &str| {
            if endpoint == ENDPOINTS[0] {
                vec![busy]
            } else {
                vec![]
            }
        };
        live(&mut *proxy, 15, load);
        let counts = live(&mut *proxy, 50, load);
        assert!(part(&counts) < at_most, "{algorithm}: {counts:?}");
    }
}

fn a_report_that_has_grown_old_counts_no_more(on: On) {
    let mut proxy = proxy(on, &config("weighted_round_robin", json!({})), WORKERS);
    let busy = ("endpoint-load-metrics", "TEXT utilization.gpu=0.5");
    live(&mut *proxy, 15, |_| vec![busy]);
    assert_eq!(weight(&*proxy, ENDPOINTS[0]), 47);
    live(&mut *proxy, 25, |_| vec![]);
    assert_eq!(weight(&*proxy, ENDPOINTS[0]), 95);
}

fn an_endpoint_may_name_its_weight_itself(on: On) {
    let mut proxy = proxy(on, &config("weighted_round_robin", json!({})), WORKERS);
    let load = |endpoint: &str| {
        if endpoint == ENDPOINTS[0] {
            vec![("x-junheng-weight", "300")]
        } else {
            vec![]
        }
    };
    live(&mut *proxy, 15, load);
    assert_eq!(
        ENDPOINTS.map(|endpoint| weight(&*proxy, endpoint)),
        [300, 95]
    );
}

fn a_report_that_cannot_be_read_is_counted_and_ignored(on: On) {
    let mut proxy = proxy(on, &config("weighted_round_robin", json!({})), WORKERS);
    live(&mut *proxy, 15, |_| {
        vec![("endpoint-load-metrics", "TEXT utilization.gpu=NaN")]
    });
    assert_eq!(weight(&*proxy, ENDPOINTS[0]), 95);
    assert!(proxy.metric("junheng.pool.p.refused_load_reports") > 0);
}

fn the_prometheus_text_of_each_endpoint_is_read_once_an_interval(on: On) {
    let load = json!({"metrics_path": "/metrics", "interval": "2s"});
    let mut proxy = proxy(on, &config("weighted_round_robin", load), WORKERS);
    let mut asked = 0;
    for _ in 0..400 {
        pass(&mut *proxy, 0..WORKERS, Duration::from_millis(50));
        for worker in 0..WORKERS {
            for errand in proxy.errands(worker) {
                assert_eq!(errand.path, "/metrics");
                let busy = errand.endpoint == ENDPOINTS[0];
                let text = format!(
                    "# TYPE DCGM_FI_DEV_GPU_UTIL gauge\nDCGM_FI_DEV_GPU_UTIL{{gpu=\"0\"}} {}\n",
                    if busy { 60 } else { 0 }
                );
                proxy.reply(worker, &errand, 200, text.as_bytes());
                asked += 1;
            }
        }
    }
    assert!((18..=20).contains(&asked), "{asked}");
    assert_eq!(
        ENDPOINTS.map(|endpoint| weight(&*proxy, endpoint)),
        [38, 95]
    );
}

/// Lets time pass in which each endpoint answers with its own page; what was asked.
fn scrape(proxy: &mut dyn Proxy, pages: [&str; 2]) -> Vec<Asked> {
    let mut asked = Vec::new();
    for _ in 0..200 {
        pass(proxy, 0..WORKERS, Duration::from_millis(50));
        for worker in 0..WORKERS {
            for errand in proxy.errands(worker) {
                let first = errand.endpoint.starts_with("10.0.0.1:");
                let page = pages[usize::from(!first)];
                proxy.reply(worker, &errand, 200, page.as_bytes());
                asked.push(errand);
            }
        }
    }
    asked
}

const BUSY_VLLM: &str = "vllm:kv_cache_usage_perc{engine=\"0\"} 0.99\n\
    vllm:num_requests_running{engine=\"0\"} 256.0\nvllm:num_requests_waiting{engine=\"0\"} 0.0\n";

fn a_queue_takes_more_of_a_weight_than_a_full_cache_on_each_engine(on: On) {
    for (engine, queueing, weights) in [
        (
            "vLLM",
            "vllm:kv_cache_usage_perc{engine=\"0\"} 0.99\nvllm:num_requests_running{engine=\"0\"} 256.0\n\
             vllm:num_requests_waiting{engine=\"0\"} 581.0\n",
            [10, 28],
        ),
        (
            "SGLang",
            "sglang:token_usage{tp_rank=\"0\"} 0.99\nsglang:num_running_reqs{tp_rank=\"0\"} 256\n\
             sglang:num_queue_reqs{tp_rank=\"0\"} 581\n",
            [10, 28],
        ),
        (
            "TGI",
            "tgi_queue_size 581\ntgi_batch_current_size 128\n",
            [17, 28],
        ),
        (
            "llama.cpp",
            "llamacpp:kv_cache_usage_ratio 0.99\nllamacpp:requests_processing 4\nllamacpp:requests_deferred 581\n",
            [10, 28],
        ),
        (
            "llama.cpp of today",
            "llamacpp:requests_processing 4\nllamacpp:requests_deferred 20\n",
            [19, 28],
        ),
    ] {
        let load = json!({"metrics_path": "/metrics", "interval": "2s"});
        let mut proxy = proxy(on, &config("weighted_round_robin", load), WORKERS);
        scrape(&mut *proxy, [queueing, BUSY_VLLM]);
        let found = ENDPOINTS.map(|endpoint| weight(&*proxy, endpoint));
        assert_eq!(found, weights, "{engine}");
    }
}

fn a_gpu_that_is_known_makes_the_weight_alone(on: On) {
    let load = json!({"metrics_path": "/metrics", "interval": "2s"});
    let mut proxy = proxy(on, &config("weighted_round_robin", load), WORKERS);
    let known =
        format!("DCGM_FI_DEV_GPU_UTIL{{gpu=\"0\"}} 20\nvllm:num_requests_waiting 581\n{BUSY_VLLM}");
    scrape(&mut *proxy, [&known, BUSY_VLLM]);
    assert_eq!(
        ENDPOINTS.map(|endpoint| weight(&*proxy, endpoint)),
        [76, 28]
    );
}

fn metrics_are_asked_for_at_the_exporters_port_and_cluster(on: On) {
    let load = json!({
        "metrics_path": "/metrics", "interval": "2s", "metrics_port": 9400, "metrics_cluster": "exporters",
    });
    let mut proxy = proxy(on, &config("weighted_round_robin", load), WORKERS);
    let gpu = "DCGM_FI_DEV_GPU_UTIL{gpu=\"0\"} 60\n";
    let asked = scrape(&mut *proxy, [gpu, BUSY_VLLM]);
    for errand in &asked {
        assert_eq!(
            (errand.cluster.as_str(), errand.path.as_str()),
            ("exporters", "/metrics")
        );
        assert!(["10.0.0.1:9400", "10.0.0.2:9400"].contains(&errand.endpoint.as_str()));
        assert_eq!(errand.header(":authority"), errand.endpoint);
    }
    assert!(asked.len() >= 8, "{}", asked.len());
    assert_eq!(
        ENDPOINTS.map(|endpoint| weight(&*proxy, endpoint)),
        [38, 28]
    );
}

fn weights_stay_as_written_where_that_is_asked_for(on: On) {
    let mut proxy = proxy(
        on,
        &config("weighted_round_robin", json!({"weights": false})),
        WORKERS,
    );
    let busy = ("endpoint-load-metrics", "TEXT utilization.gpu=1.0");
    let load = |endpoint: &str| {
        if endpoint == ENDPOINTS[0] {
            vec![busy]
        } else {
            vec![]
        }
    };
    let counts = live(&mut *proxy, 30, load);
    assert!((part(&counts) - 0.5).abs() < 0.01, "{counts:?}");
}

/// Envoy keeps a replaced listener, and so its configuration's ticks, for as long as its connections drain.
#[test]
fn a_configuration_that_drains_does_not_overwrite_what_the_new_one_learns() {
    let config = config("weighted_round_robin", json!({}));
    let mut proxy = Wasm::new(&config, WORKERS);
    let busy = [("endpoint-load-metrics", "TEXT utilization.gpu=0.5")];
    for reload in 0..5 {
        for _ in 0..200 {
            // Not on worker 0, which leads and knows what it has seen itself.
            let (stream, _) = chat_bytes(&mut proxy, 1, BODY);
            proxy.respond_with(stream, 200, 1, &busy);
            proxy.respond_body(stream, b"{}", true);
            proxy.close(stream);
            pass(&mut proxy, 0..WORKERS, Duration::from_millis(100));
        }
        assert_eq!(weight(&proxy, ENDPOINTS[0]), 50, "reload {reload}");
        pass(&mut proxy, 0..WORKERS, Duration::from_millis(700));
        proxy.reload(&config);
    }
}

on_both! {
    a_gpu_that_fills_up_gets_its_formulas_share_within_two_refreshes
    every_algorithm_goes_by_the_weight
    a_report_that_has_grown_old_counts_no_more
    an_endpoint_may_name_its_weight_itself
    a_report_that_cannot_be_read_is_counted_and_ignored
    the_prometheus_text_of_each_endpoint_is_read_once_an_interval
    a_queue_takes_more_of_a_weight_than_a_full_cache_on_each_engine
    a_gpu_that_is_known_makes_the_weight_alone
    metrics_are_asked_for_at_the_exporters_port_and_cluster
    weights_stay_as_written_where_that_is_asked_for
}
