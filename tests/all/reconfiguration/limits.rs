//! Limits that change: what was used stays used as far as it can.

use std::time::Duration;

use serde_json::{Value, json};

use super::{A, B, BODY, WORKERS, plain};
use crate::on_both;
use crate::scenario::{On, Proxy, Step, pass, post, proxy};

on_both! {
    a_limit_that_is_raised_gives_its_room_at_once
    a_limit_that_is_lowered_holds_at_once
    a_limit_that_comes_and_goes_forgets_nothing
    units_beyond_a_lowered_limit_count_when_it_is_raised_again
    another_period_keeps_the_units
    another_number_of_callers_keeps_their_budgets
    another_key_starts_empty_and_the_first_goes_on_when_it_comes_back
    a_limit_that_stays_as_it_is_is_one_across_configurations
    two_shapes_of_one_name_are_both_exact
    a_worker_that_starts_anew_beside_two_shapes_forgives_nothing
    what_a_stream_under_way_reserved_counts_in_full_in_another_shape
}

fn limited(quota: Value) -> Value {
    let mut config = plain(&[A]);
    config["identity"] = json!({"tenant_header": "x-tenant"});
    config["quotas"] = json!([quota]);
    config
}

fn requests(limit: u32, per: &str) -> Value {
    limited(json!({"name": "q", "key": ["tenant"], "requests": {"limit": limit, "per": per}}))
}

fn ask(proxy: &mut dyn Proxy, worker: usize, tenant: &str) -> Step {
    let mut headers = vec![
        (":method", "GET"),
        (":path", "/v1/models"),
        (":authority", "a"),
    ];
    headers.push(("x-tenant", tenant));
    let (stream, step) = proxy.open(worker, &headers, true);
    if matches!(step, Step::Forwarded(_)) {
        proxy.respond(stream, 200, 1);
        proxy.respond_body(stream, b"{}", true);
    }
    proxy.close(stream);
    step
}

/// How many of so many requests of a tenant pass, over all workers.
fn passed(proxy: &mut dyn Proxy, tenant: &str, many: usize) -> usize {
    let passes = |n| matches!(ask(proxy, n % WORKERS, tenant), Step::Forwarded(_));
    (0..many).map(passes).filter(|passed| *passed).count()
}

fn a_limit_that_is_raised_gives_its_room_at_once(on: On) {
    let proxy = &mut *proxy(on, &requests(10, "24h"), WORKERS);
    assert_eq!(passed(proxy, "a", 20), 10);
    assert_eq!(passed(proxy, "b", 4), 4);
    proxy.reload(&requests(15, "24h"));
    assert_eq!([passed(proxy, "a", 20), passed(proxy, "b", 20)], [5, 11]);
    proxy.drain();
    assert_eq!([passed(proxy, "a", 20), passed(proxy, "b", 20)], [0, 0]);
}

fn a_limit_that_is_lowered_holds_at_once(on: On) {
    let proxy = &mut *proxy(on, &requests(10, "24h"), WORKERS);
    assert_eq!([passed(proxy, "a", 7), passed(proxy, "b", 2)], [7, 2]);
    proxy.reload(&requests(5, "24h"));
    assert_eq!([passed(proxy, "a", 20), passed(proxy, "b", 20)], [0, 3]);
    // A fifth of a day is one unit: no more than a burst counts as used.
    proxy.advance(Duration::from_secs(24 * 3600 / 5));
    assert_eq!(passed(proxy, "a", 20), 1);
}

fn a_limit_that_comes_and_goes_forgets_nothing(on: On) {
    let (ten, five) = (requests(10, "24h"), requests(5, "24h"));
    let proxy = &mut *proxy(on, &ten, WORKERS);
    assert_eq!(passed(proxy, "a", 3), 3);
    proxy.reload(&five);
    assert_eq!(passed(proxy, "a", 20), 2);
    proxy.reload(&ten);
    assert_eq!(passed(proxy, "a", 20), 5);
    for config in [&five, &ten, &five, &ten] {
        pass(proxy, 0..WORKERS, Duration::from_millis(50));
        proxy.reload(config);
        assert_eq!(passed(proxy, "a", 20), 0);
    }
    proxy.drain();
    pass(proxy, 0..WORKERS, Duration::from_secs(30));
    for config in [&five, &ten, &plain(&[A]), &five] {
        proxy.reload(config);
        pass(proxy, 0..WORKERS, Duration::from_secs(20));
        proxy.drain();
    }
    assert_eq!(passed(proxy, "a", 20), 0);
}

/// What does not fit into a smaller burst is not forgotten: it counts again where it fits.
fn units_beyond_a_lowered_limit_count_when_it_is_raised_again(on: On) {
    let proxy = &mut *proxy(on, &requests(10, "24h"), WORKERS);
    assert_eq!(passed(proxy, "a", 20), 10);
    for (limit, more) in [(15, 5), (12, 0), (20, 5), (1, 0), (21, 1)] {
        proxy.reload(&requests(limit, "24h"));
        assert_eq!(passed(proxy, "a", 40), more, "at {limit}");
        pass(proxy, 0..WORKERS, Duration::from_millis(50));
        proxy.drain();
    }
}

fn another_period_keeps_the_units(on: On) {
    let proxy = &mut *proxy(on, &requests(10, "24h"), WORKERS);
    assert_eq!(passed(proxy, "a", 8), 8);
    proxy.reload(&requests(10, "1m"));
    assert_eq!(passed(proxy, "a", 20), 2);
    proxy.advance(Duration::from_secs(30));
    assert_eq!(passed(proxy, "a", 20), 5);
    proxy.reload(&requests(10, "24h"));
    assert_eq!(passed(proxy, "a", 20), 0);
}

fn another_number_of_callers_keeps_their_budgets(on: On) {
    let of = |callers: u32, limit: u32| {
        limited(json!({"name": "q", "key": ["tenant"], "callers": callers,
            "requests": {"limit": limit, "per": "24h"}}))
    };
    let tenants: Vec<String> = (0..20).map(|n| format!("tenant-{n}")).collect();
    let proxy = &mut *proxy(on, &of(4096, 5), WORKERS);
    for (used, tenant) in tenants.iter().enumerate() {
        assert_eq!(passed(proxy, tenant, used % 6), used % 6);
    }
    proxy.reload(&of(1024, 6));
    proxy.reload(&of(8192, 7));
    for (used, tenant) in tenants.iter().enumerate() {
        assert_eq!(passed(proxy, tenant, 20), 7 - used % 6, "{tenant}");
    }
}

fn another_key_starts_empty_and_the_first_goes_on_when_it_comes_back(on: On) {
    let by = |key: Value| {
        limited(json!({"name": "q", "key": key, "requests": {"limit": 5, "per": "24h"}}))
    };
    let proxy = &mut *proxy(on, &by(json!(["tenant"])), WORKERS);
    assert_eq!(passed(proxy, "a", 20), 5);
    proxy.reload(&by(json!([])));
    assert_eq!(passed(proxy, "a", 3), 3);
    assert_eq!(passed(proxy, "b", 20), 2);
    proxy.reload(&by(json!(["tenant"])));
    assert_eq!([passed(proxy, "a", 20), passed(proxy, "b", 20)], [0, 5]);
}

fn a_limit_that_stays_as_it_is_is_one_across_configurations(on: On) {
    let with = |endpoint: &str| {
        let mut config = requests(10, "24h");
        config["pools"][0]["endpoints"][0]["address"] = json!(endpoint);
        config
    };
    let proxy = &mut *proxy(on, &with(A), WORKERS);
    assert_eq!(passed(proxy, "a", 6), 6);
    proxy.reload(&with(B));
    assert_eq!(passed(proxy, "a", 20), 4);
}

/// As two listeners do whose plugins are named alike: both configurations tick, and both serve.
fn two_shapes_of_one_name_are_both_exact(on: On) {
    let (day, minute) = (requests(5, "24h"), requests(50, "1m"));
    let proxy = &mut *proxy(on, &day, WORKERS);
    let mut headers = post("/v1/chat/completions");
    headers.push(("x-tenant", "a"));
    let old: Vec<_> = (0..120)
        .map(|n| proxy.open(n % WORKERS, &headers, false).0)
        .collect();
    proxy.reload(&minute);
    pass(proxy, 0..WORKERS, Duration::from_secs(1));
    let mut both = [0, 0];
    for stream in old {
        let step = proxy.body(stream, BODY, true);
        both[0] += usize::from(matches!(step, Step::Forwarded(_)));
        both[1] += usize::from(matches!(ask(proxy, 0, "a"), Step::Forwarded(_)));
    }
    assert_eq!(both, [5, 50]);
}

fn a_worker_that_starts_anew_beside_two_shapes_forgives_nothing(on: On) {
    let (five, nine) = (requests(5, "24h"), requests(9, "24h"));
    let proxy = &mut *proxy(on, &five, WORKERS);
    proxy.load_plugin("b", &nine);
    proxy.load_plugin("c", &five);
    for (plugin, limit) in [("", 5), ("b", 9), ("c", 5)] {
        proxy.turn_to(plugin);
        assert_eq!(passed(proxy, "a", 20), limit, "{plugin}");
    }
    for _ in 0..2 {
        pass(proxy, 0..WORKERS, Duration::from_secs(2));
        proxy.kill(1);
        pass(proxy, [0], Duration::from_secs(1));
        proxy.revive(1);
        for plugin in ["", "b", "c"] {
            proxy.turn_to(plugin);
            assert_eq!(passed(proxy, "a", 20), 0, "{plugin}");
        }
    }
}

fn what_a_stream_under_way_reserved_counts_in_full_in_another_shape(on: On) {
    let tokens =
        |limit: u32| limited(json!({"name": "q", "tokens": {"limit": limit, "per": "24h"}}));
    let ask = |proxy: &mut dyn Proxy, bound: u32| {
        let body = json!({"model": "m", "max_tokens": bound, "messages": []}).to_string();
        let (stream, _) = proxy.open(0, &post("/v1/chat/completions"), false);
        (stream, proxy.body(stream, body.as_bytes(), true))
    };
    let proxy = &mut *proxy(on, &tokens(1000), WORKERS);
    let (stream, step) = ask(proxy, 900);
    step.sent();
    proxy.reload(&tokens(2000));
    assert_eq!(ask(proxy, 1200).1.refused().status, 429);
    proxy.respond_with(stream, 200, 1, &[("content-type", "application/json")]);
    let usage = json!({"choices": [{"message": {"content": "x"}}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1}});
    proxy.respond_body(stream, usage.to_string().as_bytes(), true);
    proxy.close(stream);
    pass(proxy, 0..WORKERS, Duration::from_secs(1));
    assert_eq!(ask(proxy, 1200).1.refused().status, 429);
    ask(proxy, 1000).1.sent();
}
