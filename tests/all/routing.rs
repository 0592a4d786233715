//! Which pool a request goes to, what it looks like there, and who is shown why.

use serde_json::{Value, json};

use crate::on_both;
use crate::scenario::{On, Proxy, Step, chat, chat_bytes, post, proxy};

fn two_pools() -> Value {
    json!({
        "pools": [
            {"name": "small", "models": ["qwen", "bge"], "context_window": 4096,
             "endpoints": [{"address": "10.0.0.1:80"}, {"address": "10.0.0.2:80"}]},
            {"name": "long", "cluster": "long-cluster", "models": ["qwen"], "context_window": 131072,
             "endpoints": [{"address": "10.0.1.1:80", "weight": 50}]}
        ],
        "routes": [
            {"name": "short", "match": {"models": ["qwen"], "input_tokens": {"max": 2000}}, "pools": ["small", "long"]},
            {"name": "long", "match": {"models": ["qwen"]}, "pools": ["small", "long"]},
            {"name": "aliased", "match": {"models": ["gpt-4o"]}, "alias": {"gpt-4o": "qwen"}, "pools": ["small"]},
            {"name": "embed", "match": {"models": ["bge"]}, "pools": ["small"]},
            {"name": "realtime", "match": {"realtime": true}, "pools": ["long"]},
            {"name": "files", "match": {"path": {"prefix": "/v1/files"}}, "pools": ["small"]}
        ],
        "decision_header": {"callers": "all"}
    })
}

fn prompt(words: usize) -> Value {
    json!({"model": "qwen", "messages": [{"role": "user", "content": "word ".repeat(words)}]})
}

fn a_short_prompt_goes_to_the_small_pool_and_a_long_one_past_it(on: On) {
    let mut proxy = proxy(on, &two_pools(), 1);
    let (_, step) = chat(&mut *proxy, &prompt(10));
    let sent = step.sent();
    assert_eq!(
        (sent.pool(), sent.header("x-junheng-cluster")),
        ("small", "small")
    );
    assert_eq!(sent.header("x-junheng-weight"), "100");
    let destinations: Vec<&str> = sent
        .header("x-gateway-destination-endpoint")
        .split(',')
        .collect();
    assert_eq!(destinations.len(), 2, "a retry goes to the other endpoint");
    assert_ne!(destinations[0], destinations[1]);

    let (_, step) = chat(&mut *proxy, &prompt(60_000));
    let sent = step.sent();
    assert_eq!(
        (sent.pool(), sent.header("x-junheng-cluster")),
        ("long", "long-cluster")
    );
    assert_eq!(
        (sent.endpoint(), sent.header("x-junheng-weight")),
        ("10.0.1.1:80", "50")
    );
}

fn output_asked_for_counts_towards_the_window(on: On) {
    let mut proxy = proxy(on, &two_pools(), 1);
    let mut body = prompt(10);
    body["max_tokens"] = json!(4096);
    assert_eq!(chat(&mut *proxy, &body).1.sent().pool(), "long");
    body["max_tokens"] = json!(2048);
    assert_eq!(chat(&mut *proxy, &body).1.sent().pool(), "small");
}

/// The estimate that the decision header tells is the one that rules and windows are compared with.
fn the_boundary_is_exact_to_the_estimate(on: On) {
    let estimate = {
        let mut proxy = proxy(on, &two_pools(), 1);
        let (stream, step) = chat(&mut *proxy, &prompt(800));
        step.sent();
        let decision = decision(&mut *proxy, stream);
        let input = decision
            .split("input=")
            .nth(1)
            .and_then(|rest| rest.split(',').next())
            .unwrap()
            .to_owned();
        input.parse::<u32>().unwrap()
    };
    for (window, pool) in [(estimate, "small"), (estimate - 1, "long")] {
        let mut config = two_pools();
        config["pools"][0]["context_window"] = json!(window);
        let mut proxy = proxy_of(on, &config);
        assert_eq!(
            chat(&mut *proxy, &prompt(800)).1.sent().pool(),
            pool,
            "window {window}"
        );
    }
    for (max, rule) in [(estimate, "short"), (estimate - 1, "long")] {
        let mut config = two_pools();
        config["routes"][0]["match"]["input_tokens"]["max"] = json!(max);
        let mut proxy = proxy_of(on, &config);
        let (stream, _) = chat(&mut *proxy, &prompt(800));
        let decision = decision(&mut *proxy, stream);
        assert!(
            decision.starts_with(&format!("rule=\"{rule}\"")),
            "max {max}: {decision}"
        );
    }
}

fn a_prompt_that_fits_nowhere_is_told_the_largest_window(on: On) {
    let mut proxy = proxy(on, &two_pools(), 1);
    let refused = chat(&mut *proxy, &prompt(300_000)).1.refused();
    assert_eq!(
        (refused.status, refused.error("code")),
        (400, "context_length_exceeded")
    );
    assert!(refused.error("message").contains("131072"), "{refused:?}");
}

fn an_alias_is_rewritten_in_the_body_and_the_length_follows(on: On) {
    let mut proxy = proxy(on, &two_pools(), 1);
    let body =
        br#"{"messages":[{"role":"user","content":"hi"}], "model" : "gpt-\u0034o","seed":1}"#;
    let sent = chat_bytes(&mut *proxy, 0, body).1.sent();
    assert_eq!(
        sent.body,
        br#"{"messages":[{"role":"user","content":"hi"}], "model" : "qwen","seed":1}"#
    );
    assert_eq!(sent.header("content-length"), sent.body.len().to_string());
}

fn a_model_that_nobody_serves_is_not_found(on: On) {
    let mut proxy = proxy(on, &two_pools(), 1);
    let refused = chat(&mut *proxy, &json!({"model": "nope", "messages": []}))
        .1
        .refused();
    assert_eq!(
        (
            refused.status,
            refused.error("code"),
            refused.error("param")
        ),
        (404, "model_not_found", "model")
    );
}

fn requests_without_facts_are_routed_by_their_headers_at_once(on: On) {
    let mut proxy = proxy(on, &two_pools(), 1);
    let get = [
        (":method", "GET"),
        (":path", "/v1/files/1?x=y"),
        (":authority", "t"),
    ];
    assert_eq!(proxy.open(0, &get, true).1.sent().pool(), "small");
    let upload = [
        (":method", "POST"),
        (":path", "/v1/files"),
        (":authority", "t"),
        ("content-type", "text/plain"),
    ];
    assert_eq!(proxy.open(0, &upload, false).1.sent().pool(), "small");
    let elsewhere = [
        (":method", "GET"),
        (":path", "/v1/models"),
        (":authority", "t"),
    ];
    assert_eq!(
        proxy.open(0, &elsewhere, true).1.refused().error("code"),
        "no_route"
    );
}

fn a_realtime_session_is_routed_by_its_query_and_never_held(on: On) {
    let mut proxy = proxy(on, &two_pools(), 1);
    let upgrade = [
        (":method", "GET"),
        (":path", "/v1/realtime?model=qwen"),
        (":authority", "t"),
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
    ];
    // The rules for `qwen` come first, and a session has no prompt to be too long for the small pool.
    assert_eq!(proxy.open(0, &upgrade, false).1.sent().pool(), "small");
    let mut smuggled = post("/v1/chat/completions");
    smuggled.push(("upgrade", "websocket"));
    assert_eq!(
        proxy.open(0, &smuggled, false).1.refused().error("code"),
        "upgrade_refused"
    );
}

/// A server decodes the path and the query, and takes the first of two models or the last.
fn a_realtime_session_has_one_model_however_it_is_spelled(on: On) {
    let mut proxy = proxy(on, &two_pools(), 1);
    let mut open = |path: &str| {
        let upgrade = [
            (":method", "GET"),
            (":path", path),
            (":authority", "t"),
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
        ];
        match proxy.open(0, &upgrade, false).1 {
            Step::Forwarded(sent) => sent.pool().to_owned(),
            step => {
                let refused = step.refused();
                let [code, param] = ["code", "param"].map(|field| refused.error(field).to_owned());
                format!("{} {code} {param}", refused.status)
            }
        }
    };
    for path in [
        "/v1/re%61ltime?m%6Fdel=q%77en",
        "/v1//realtime/?x=%zz&model=qwen",
    ] {
        assert_eq!(open(path), "small", "{path}");
    }
    for path in [
        "/v1/realtime",
        "/v1/realtime?model=",
        "/v1/realtime?Model=qwen",
    ] {
        assert_eq!(open(path), "long", "{path}");
    }
    assert_eq!(
        open("/v1/realtime?model=qwen+2"),
        "404 model_not_found model"
    );
    for (path, told) in [
        ("?model=bge&%6Dodel=qwen", "duplicate_parameter model"),
        ("?model=qwen&model=qwen", "duplicate_parameter model"),
        ("?model=qwen&model", "duplicate_parameter model"),
        ("?model=qwen%2", "invalid_value "),
        ("?model=%ff", "invalid_value "),
        ("?mod%65l%=qwen", "invalid_value "),
    ] {
        assert_eq!(
            open(&format!("/v1/realtime{path}")),
            format!("400 {told}"),
            "{path}"
        );
    }
    assert_eq!(open("/v1/files?model=a&model=b"), "small");
}

fn what_clients_say_in_our_name_does_not_get_through(on: On) {
    let mut proxy = proxy(on, &two_pools(), 1);
    let mut headers = post("/v1/chat/completions");
    headers.extend([
        ("x-gateway-destination-endpoint", "10.9.9.9:80"),
        ("x-junheng-cluster", "admin"),
        ("x-junheng-anything", "1"),
    ]);
    let (stream, _) = proxy.open(0, &headers, false);
    let sent = proxy
        .body(stream, prompt(1).to_string().as_bytes(), true)
        .sent();
    assert!(sent.endpoint().starts_with("10.0.0."), "{sent:?}");
    assert_eq!(sent.header("x-junheng-cluster"), "small");
    assert!(
        !sent
            .headers
            .iter()
            .any(|(name, _)| name == "x-junheng-anything")
    );
}

fn rules_do_not_see_what_clients_say_in_our_name(on: On) {
    let mut config = two_pools();
    let vip = json!({"match": {"headers": [{"name": "x-junheng-vip", "present": true}]}, "pools": ["long"]});
    config["routes"].as_array_mut().unwrap().insert(0, vip);
    let mut proxy = proxy(on, &config, 1);
    let mut headers = post("/v1/chat/completions");
    headers.push(("x-junheng-vip", "1"));
    let (stream, _) = proxy.open(0, &headers, false);
    let sent = proxy
        .body(stream, prompt(1).to_string().as_bytes(), true)
        .sent();
    assert_eq!(sent.pool(), "small");
}

fn two_tenant_headers_name_no_tenant(on: On) {
    let mut config = two_pools();
    config["identity"] = json!({"tenant_header": "x-tenant"});
    config["decision_header"] = json!({"callers": "tenants", "tenants": ["ops"]});
    let mut proxy = proxy(on, &config, 1);
    let mut headers = post("/v1/chat/completions");
    headers.extend([("x-tenant", "ops"), ("x-tenant", "dev")]);
    let (stream, _) = proxy.open(0, &headers, false);
    proxy
        .body(stream, prompt(1).to_string().as_bytes(), true)
        .sent();
    assert_eq!(proxy.respond(stream, 200, 1), []);
}

fn decisions_are_shown_to_those_who_may_see_them(on: On) {
    let mut config = two_pools();
    config["identity"] = json!({"tenant_header": "x-tenant"});
    config["decision_header"] = json!({"callers": "tenants", "tenants": ["ops"]});
    let mut proxy = proxy(on, &config, 1);
    for (tenant, shown) in [("ops", 1), ("dev", 0)] {
        let mut headers = post("/v1/chat/completions");
        headers.push(("x-tenant", tenant));
        let (stream, _) = proxy.open(0, &headers, false);
        proxy
            .body(stream, prompt(1).to_string().as_bytes(), true)
            .sent();
        assert_eq!(proxy.respond(stream, 200, 1).len(), shown, "{tenant}");
    }
}

fn a_pool_that_is_drained_leaves_its_traffic_to_the_next(on: On) {
    let mut config = two_pools();
    config["pools"][0]["endpoints"] = json!([{"address": "10.0.0.1:80", "weight": 0}]);
    let mut proxy = proxy(on, &config, 1);
    let (stream, step) = chat(&mut *proxy, &prompt(1));
    assert_eq!(step.sent().pool(), "long");
    assert!(decision(&mut *proxy, stream).ends_with("dropped=(\"small\";by=endpoints)"));
    let refused = chat(&mut *proxy, &json!({"model": "bge", "messages": []}))
        .1
        .refused();
    assert_eq!((refused.status, refused.retry_after.is_some()), (503, true));
}

fn proxy_of(on: On, config: &Value) -> Box<dyn Proxy> {
    proxy(on, config, 1)
}

fn decision(proxy: &mut dyn Proxy, stream: crate::scenario::StreamId) -> String {
    proxy
        .respond(stream, 200, 1)
        .into_iter()
        .next()
        .map(|(_, value)| value)
        .expect("a decision header")
}

on_both! {
    a_short_prompt_goes_to_the_small_pool_and_a_long_one_past_it
    output_asked_for_counts_towards_the_window
    the_boundary_is_exact_to_the_estimate
    a_prompt_that_fits_nowhere_is_told_the_largest_window
    an_alias_is_rewritten_in_the_body_and_the_length_follows
    a_model_that_nobody_serves_is_not_found
    requests_without_facts_are_routed_by_their_headers_at_once
    a_realtime_session_is_routed_by_its_query_and_never_held
    a_realtime_session_has_one_model_however_it_is_spelled
    what_clients_say_in_our_name_does_not_get_through
    decisions_are_shown_to_those_who_may_see_them
    rules_do_not_see_what_clients_say_in_our_name
    two_tenant_headers_name_no_tenant
    a_pool_that_is_drained_leaves_its_traffic_to_the_next
}
