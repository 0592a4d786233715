//! Two plugins in one VM: each has a leader, a state and keys of its own.

use std::time::Duration;

use serde_json::{Value, json};

use super::{A, B, BODY, WORKERS, config, live, plain, trip, used};
use crate::on_both;
use crate::scenario::{On, Proxy, answer, chat_bytes, pass, proxy};

on_both! {
    both_are_checked_each_at_its_own_endpoints
    pools_of_one_name_share_no_state
    pools_of_one_name_share_no_counts
    weights_are_each_plugins_own
    a_plugin_that_is_loaded_later_does_not_take_the_lead_from_the_first
    a_late_stream_is_judged_in_its_own_plugin
    each_plugin_fetches_its_key_sets_and_its_configurations_share_them
}

fn checked(endpoints: &[&str]) -> Value {
    config(endpoints, |pool| pool["health"]["check"] = json!({}))
}

fn both_are_checked_each_at_its_own_endpoints(on: On) {
    let proxy = &mut *proxy(on, &checked(&[A]), WORKERS);
    proxy.load_plugin("edge", &checked(&[B]));
    let asked = live(proxy, Duration::from_secs(101), |asked| {
        if asked.endpoint == A { 500 } else { 200 }
    });
    assert!(
        [A, B].iter().all(|it| (9..=11).contains(&asked[*it])),
        "{asked:?}"
    );
    let (stream, step) = chat_bytes(proxy, 0, BODY);
    assert_eq!(step.sent().endpoint(), B);
    proxy.close(stream);
    proxy.turn_to("");
    let (_, step) = chat_bytes(proxy, 0, BODY);
    assert_eq!(step.refused().error("code"), "no_endpoint");
}

fn pools_of_one_name_share_no_state(on: On) {
    let proxy = &mut *proxy(on, &plain(&[A, B]), WORKERS);
    proxy.load_plugin("edge", &plain(&[A, B]));
    proxy.turn_to("");
    trip(proxy, A);
    pass(proxy, 0..WORKERS, Duration::from_secs(1));
    assert_eq!(used(proxy), [(B.to_owned(), 60)].into());
    proxy.turn_to("edge");
    assert_eq!(used(proxy), [(A.to_owned(), 30), (B.to_owned(), 30)].into());
    let state = |proxy: &dyn Proxy, prefix: &str| {
        proxy.metric(&format!("junheng.{prefix}endpoint.p.{A}.state"))
    };
    pass(proxy, 0..WORKERS, Duration::from_secs(1));
    assert_eq!([state(proxy, ""), state(proxy, "root.edge.")], [3, 0]);
}

/// Each plugin's tick looks at its own streams.
fn a_late_stream_is_judged_in_its_own_plugin(on: On) {
    let bounded = |first_byte: &str| {
        let mut config = plain(&[A]);
        config["routes"][0]["retry"] = json!({"first_byte": first_byte});
        config
    };
    let proxy = &mut *proxy(on, &bounded("1h"), 1);
    proxy.load_plugin("edge", &bounded("10s"));
    proxy.turn_to("edge");
    for _ in 0..5 {
        let (stream, _) = chat_bytes(proxy, 0, BODY);
        proxy.respond_with(stream, 200, 1, &[("content-type", "text/event-stream")]);
    }
    pass(proxy, 0..1, Duration::from_secs(11));
    let trips = |prefix: &str| proxy.metric(&format!("junheng.{prefix}endpoint.p.{A}.trips"));
    assert_eq!([trips(""), trips("root.edge.")], [0, 1]);
}

fn pools_of_one_name_share_no_counts(on: On) {
    let least = config(&[A, B], |pool| {
        pool["balance"]["algorithm"] = json!("least_connections")
    });
    let proxy = &mut *proxy(on, &least, WORKERS);
    let open: Vec<_> = (0..10)
        .map(|n| chat_bytes(proxy, n % WORKERS, BODY).0)
        .collect();
    proxy.load_plugin("edge", &least);
    // The audit of neither corrects what is the other's.
    pass(proxy, 0..WORKERS, Duration::from_secs(20));
    let in_flight = |proxy: &dyn Proxy, prefix: &str| -> i64 {
        let of = |endpoint| format!("junheng.{prefix}endpoint.p.{endpoint}.in_flight");
        [A, B]
            .map(|endpoint| proxy.metric(&of(endpoint)))
            .iter()
            .sum()
    };
    assert_eq!(
        [in_flight(proxy, ""), in_flight(proxy, "root.edge.")],
        [10, 0]
    );
    let (stream, _) = chat_bytes(proxy, 0, BODY);
    assert_eq!(
        [in_flight(proxy, ""), in_flight(proxy, "root.edge.")],
        [10, 1]
    );
    answer(proxy, stream, 200);
    for stream in open {
        answer(proxy, stream, 200);
    }
    assert_eq!(
        [in_flight(proxy, ""), in_flight(proxy, "root.edge.")],
        [0, 0]
    );
}

fn weights_are_each_plugins_own(on: On) {
    let weighted = |weight: u16| {
        config(&[A, B], |pool| {
            pool["balance"]["algorithm"] = json!("weighted_round_robin");
            pool["load"] = json!({});
            pool["endpoints"][0]["weight"] = json!(weight);
        })
    };
    let proxy = &mut *proxy(on, &weighted(100), WORKERS);
    proxy.load_plugin("edge", &weighted(500));
    for _ in 0..3 {
        pass(proxy, 0..WORKERS, Duration::from_secs(11));
        proxy.turn_to("");
        assert_eq!(used(proxy)[A], 30);
        proxy.turn_to("edge");
        assert_eq!(used(proxy)[A], 50);
    }
}

fn a_plugin_that_is_loaded_later_does_not_take_the_lead_from_the_first(on: On) {
    let proxy = &mut *proxy(on, &checked(&[A, B]), WORKERS);
    live(proxy, Duration::from_secs(20), |_| 200);
    proxy.load_plugin("edge", &checked(&[A, B]));
    // Of either plugin A is out; it was the first one's leader that found out for it.
    live(proxy, Duration::from_secs(40), |asked| {
        if asked.endpoint == A { 500 } else { 200 }
    });
    for plugin in ["", "edge"] {
        proxy.turn_to(plugin);
        assert_eq!(used(proxy), [(B.to_owned(), 60)].into(), "{plugin}");
    }
}

fn each_plugin_fetches_its_key_sets_and_its_configurations_share_them(on: On) {
    let with = |window: u32| {
        let mut config = config(&[A], |pool| pool["context_window"] = json!(window));
        config["identity"] = json!({"jwt": [{
            "issuer": "https://issuer.example", "audiences": ["api"],
            "jwks": {"cluster": "issuer", "authority": "issuer.example", "path": "/jwks"},
        }]});
        config
    };
    let fetched = |proxy: &mut dyn Proxy| {
        pass(proxy, 0..WORKERS, Duration::from_secs(1));
        let asked = (0..WORKERS).flat_map(|worker| proxy.errands(worker));
        asked.filter(|asked| asked.path == "/jwks").count()
    };
    let proxy = &mut *proxy(on, &with(1000), WORKERS);
    proxy.reload(&with(2000));
    assert_eq!(fetched(proxy), 1);
    proxy.load_plugin("edge", &with(1000));
    assert_eq!(fetched(proxy), 1);
    proxy.reload(&with(2000));
    assert_eq!(fetched(proxy), 0);
}
