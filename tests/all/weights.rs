//! Dynamic weights: from what endpoints report to their share of the traffic, on every worker.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use crate::on_both;
use crate::scenario::{On, Proxy, Wasm, chat_bytes, pass, proxy};

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
    weights_stay_as_written_where_that_is_asked_for
}
