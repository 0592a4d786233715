//! Configurations: what is refused, in which words, and that the schema says the same.

mod quotas;

use std::time::Duration;

use junheng::config::{Breaker, Config, WhenNoneIsFit};
use serde_json::{Value, json};

fn valid() -> Value {
    json!({
        "pools": [
            {"name": "small", "models": ["qwen"], "context_window": 32768, "endpoints": [{"address": "10.0.1.1:8080"}]},
            {"name": "long", "endpoints": [{"address": "[fd00::1]:8080", "weight": 50, "zone": "a"}]}
        ],
        "routes": [{"pools": ["small", "long"]}]
    })
}

/// `valid()` with one value set at a JSON pointer; a trailing `/-` appends.
fn with(pointer: &str, value: Value) -> Value {
    let mut config = valid();
    let (parent, key) = pointer.rsplit_once('/').expect("a pointer");
    match config
        .pointer_mut(parent)
        .unwrap_or_else(|| panic!("no {parent}"))
    {
        Value::Array(items) if key == "-" => items.push(value),
        Value::Array(items) => items[key.parse::<usize>().expect("an index")] = value,
        Value::Object(fields) => drop(fields.insert(key.to_owned(), value)),
        other => panic!("{parent} is {other}"),
    }
    config
}

/// Each of these is refused in words that hold the others.
#[track_caller]
fn all_are_refused(cases: &[(Value, &str)]) {
    for (config, expected) in cases {
        let refusal = refusal(config);
        assert!(
            refusal.contains(expected),
            "\n     got {refusal}\nexpected {expected}"
        );
    }
}

fn refusal(config: &Value) -> String {
    match Config::from_json(config.to_string().as_bytes()) {
        Ok(_) => panic!("accepted: {config}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn the_smallest_configuration_has_the_documented_defaults() {
    let config = Config::from_json(valid().to_string().as_bytes()).expect("valid");
    let small = &config.pools[0];
    assert_eq!(
        (small.cluster.as_str(), small.endpoints[0].weight.value()),
        ("small", 100)
    );
    assert_eq!(
        small.balance.algorithm,
        junheng::config::Algorithm::LeastConnections
    );
    assert_eq!(
        (config.body_limit, config.routes[0].attempts),
        (8 * 1024 * 1024, 3)
    );
    assert_eq!(
        (config.routes[0].name.as_str(), config.models.as_slice()),
        ("route-0", &["qwen".to_owned()][..])
    );
}

#[test]
fn health_and_load_have_the_documented_defaults() {
    let config = Config::from_json(valid().to_string().as_bytes()).expect("valid");
    let seconds = Duration::from_secs;
    let (pool, route) = (&config.pools[0], &config.routes[0]);
    let check = pool.check.as_ref().expect("on");
    assert_eq!((check.path.as_str(), &check.statuses), ("/health", &None));
    assert_eq!((check.interval, check.timeout), (seconds(10), seconds(2)));
    assert_eq!((check.unhealthy_after, check.healthy_after), (3, 2));
    let breaker = Breaker::Window {
        error_percent: 20,
        minimum_requests: 20,
        window: seconds(300),
        failures_in_a_row: 5,
        open: seconds(30),
    };
    assert_eq!((pool.breaker, pool.ramp), (Some(breaker), seconds(60)));
    let load = pool.load.as_ref().expect("on");
    assert_eq!((load.interval, &load.metrics), (seconds(5), &None));
    assert_eq!(
        (route.retry.on.len(), route.when_none_is_fit),
        (5, WhenNoneIsFit::Refuse)
    );
    assert_eq!((route.retry.first_byte, route.retry.answer), (None, None));
}

#[test]
fn a_check_takes_a_status_a_range_or_a_list_of_these() {
    for (status, expected) in [
        (json!(204), vec![204..=204]),
        (json!("200-399"), vec![200..=399]),
        (json!("404-404"), vec![404..=404]),
        (
            json!([200, "204-206", "500-599"]),
            vec![200..=200, 204..=206, 500..=599],
        ),
    ] {
        let config = with("/pools/0/health", json!({"check": {"status": status}}));
        let config = Config::from_json(config.to_string().as_bytes()).expect("valid");
        let check = config.pools[0].check.as_ref().expect("on");
        assert_eq!(check.statuses, Some(expected), "{status}");
    }
}

#[test]
fn a_status_that_cannot_be_is_refused() {
    let of = |status| with("/pools/0/health", json!({"check": {"status": status}}));
    let range = r#"is no range of statuses; write one within "100-599", like "200-399", or a single status as a number"#;
    let path = "pools[0].health.check.status";
    all_are_refused(&[
        (of(json!(99)), "status: 99 is out of range; give 100 to 599"),
        (
            of(json!(600)),
            "status: 600 is out of range; give 100 to 599",
        ),
        (
            of(json!(70_000)),
            "status: is 70000; give a status like 200, a range like \"200-399\", or a list of these",
        ),
        (of(json!(true)), "status: is true; give a status like 200"),
        (of(json!(-200)), "status: is -200; give a status like 200"),
        (
            of(json!({"min": 200})),
            "status: is an object; give a status like 200",
        ),
        (of(json!("2xx")), &format!("{path}: \"2xx\" {range}")),
        (of(json!("200")), &format!("{path}: \"200\" {range}")),
        (
            of(json!("200-600")),
            &format!("{path}: \"200-600\" {range}"),
        ),
        (
            of(json!("200 - 299")),
            &format!("{path}: \"200 - 299\" {range}"),
        ),
        (of(json!("")), &format!("{path}: \"\" {range}")),
        (
            of(json!("399-200")),
            "status: \"399-200\" holds no status; write \"200-399\"",
        ),
        (of(json!([])), "status: has 0 entries; give 1 to 500"),
        (of(json!([200, "x"])), &format!("{path}[1]: \"x\" {range}")),
        (
            of(json!([200, [201]])),
            "status[1]: is a list; give a status like 200",
        ),
    ]);
}

#[test]
fn metrics_may_be_at_another_port_in_a_cluster_of_its_own() {
    let load =
        json!({"metrics_path": "/metrics", "metrics_port": 9400, "metrics_cluster": "exporters"});
    let config = with("/pools/0/load", load);
    let config = Config::from_json(config.to_string().as_bytes()).expect("valid");
    let page = config.pools[0]
        .load
        .as_ref()
        .and_then(|load| load.metrics.as_ref());
    let page = page.expect("a page");
    assert_eq!(
        (page.path.as_str(), page.port, page.cluster.as_str()),
        ("/metrics", Some(9400), "exporters")
    );
    let config = with("/pools/0/load", json!({"metrics_path": "/metrics"}));
    let config = Config::from_json(config.to_string().as_bytes()).expect("valid");
    let page = config.pools[0]
        .load
        .as_ref()
        .and_then(|load| load.metrics.as_ref());
    assert_eq!(page.map(|page| page.cluster.as_str()), Some("small"));
}

#[test]
fn metrics_that_could_not_be_read_are_refused() {
    let of = |load| with("/pools/0/load", load);
    all_are_refused(&[
        (
            of(json!({"metrics_port": 9400})),
            "pools[0].load.metrics_port: needs `metrics_path`; add it, like \"/metrics\", or leave this out",
        ),
        (
            of(json!({"metrics_cluster": "exporters"})),
            "pools[0].load.metrics_cluster: needs `metrics_path`",
        ),
        (
            of(json!({"metrics_path": "/metrics", "metrics_port": 9400})),
            "pools[0].load.metrics_port: needs `metrics_cluster`: name the proxy's cluster that holds the endpoints' addresses with port 9400",
        ),
        (
            of(json!({"metrics_path": "/metrics", "metrics_port": 0, "metrics_cluster": "x"})),
            "pools[0].load.metrics_port: 0 is out of range; give 1 to 65535",
        ),
        (
            of(json!({"metrics_path": "/metrics", "metrics_port": 65536, "metrics_cluster": "x"})),
            "pools[0].load.metrics_port: is 65536; give an integer from 0 to 65535",
        ),
        (
            of(json!({"metrics_path": "/metrics", "metrics_cluster": "a b"})),
            "pools[0].load.metrics_cluster: \"a b\" cannot name a cluster",
        ),
    ]);
}

#[test]
fn every_mistake_names_its_path_and_its_remedy() {
    let endpoint = "/pools/0/endpoints/0/address";
    let cases = [
        (
            with(endpoint, json!("10.0.0.1")),
            r#"pools[0].endpoints[0].address: "10.0.0.1" has no port; write "10.0.0.1:8080""#,
        ),
        (
            with(endpoint, json!("fd00::1")),
            r#"pools[0].endpoints[0].address: "fd00::1" has no port; write "[fd00::1]:8080""#,
        ),
        (
            with(endpoint, json!("10.0.0.1:0")),
            "pools[0].endpoints[0].address: \"10.0.0.1:0\" has port 0; give 1 to 65535",
        ),
        (
            with(endpoint, json!("gpu-1:8080")),
            "a host name must be resolved first",
        ),
        (
            with("/pools/0/endpoints/-", json!({"address": "10.0.1.1:8080"})),
            "pools[0].endpoints[1].address: \"10.0.1.1:8080\" is taken",
        ),
        (
            with("/pools/0/endpoints/0/weight", json!(1001)),
            "pools[0].endpoints[0].weight: 1001 is out of range; give 0 (drained) to 1000",
        ),
        (
            with("/pools/0/endpoints/0/weight", json!(-1)),
            "pools[0].endpoints[0].weight: is -1; give an integer from 0 to 65535",
        ),
        (
            with("/pools/0/endpoints", json!([])),
            "pools[0].endpoints: has 0 entries; give 1 to 4096",
        ),
        (
            with("/pools/0/endpoints/0/adress", json!("x")),
            "pools[0].endpoints[0].adress: unknown field `adress`, expected one of `address`, `weight`, `zone`",
        ),
        (
            with("/pools/0/health", json!({"check": {"interval": "10"}})),
            "pools[0].health.check.interval: \"10\" is no duration; write a whole number and a unit, like \"250ms\"",
        ),
        (
            with("/pools/0/health", json!({"check": {"interval": "999ms"}})),
            "pools[0].health.check.interval: \"999ms\" is out of range; give 1s to 1h",
        ),
        (
            with(
                "/pools/0/health",
                json!({"check": {"interval": "1s", "timeout": "2s"}}),
            ),
            "pools[0].health.check.timeout: \"2s\" is out of range; give 10ms to 1s",
        ),
        (
            with("/pools/0/health", json!({"check": {"path": "health"}})),
            "pools[0].health.check.path: \"health\" is no path",
        ),
        (
            with("/pools/0/health", json!({"check": {"status": 99}})),
            "pools[0].health.check.status: 99 is out of range; give 100 to 599",
        ),
        (
            with(
                "/pools/0/health",
                json!({"breaker": {"error_percent": 100}}),
            ),
            "pools[0].health.breaker.error_percent: 100 is out of range; give 1 to 99",
        ),
        (
            with(
                "/pools/0/health",
                json!({"breaker": {"max_fails": 3, "open": "10s"}}),
            ),
            "pools[0].health.breaker.open: has no meaning beside `max_fails`; leave one of them out",
        ),
        (
            with(
                "/pools/0/health",
                json!({"breaker": {"fail_timeout": "10s"}}),
            ),
            "pools[0].health.breaker.fail_timeout: is for `max_fails` only",
        ),
        (
            with("/pools/0/load", json!({"metrics_path": "http://x/metrics"})),
            "pools[0].load.metrics_path: \"http://x/metrics\" is no path",
        ),
        (
            with("/routes/0/retry", json!({"first_byte": "0s"})),
            "routes[0].retry.first_byte: \"0s\" is out of range",
        ),
        (
            with("/routes/0/retry", json!({"on": ["5xx"]})),
            "unknown variant `5xx`, expected one of `connect_failure`",
        ),
        (
            with("/pools/0/name", json!("Small pool")),
            "pools[0].name: \"Small pool\" is no name",
        ),
        (
            with("/pools/1/name", json!("small")),
            "pools[1].name: \"small\" is taken by an earlier entry",
        ),
        (
            with("/pools/0/context_window", json!(0)),
            "pools[0].context_window: nothing fits 0 tokens",
        ),
        (
            with("/pools/0/balance", json!({"algorithm": "random"})),
            "pools[0].balance.algorithm: unknown variant `random`, expected one of `round_robin`",
        ),
        (
            with("/pools/0/balance", json!({"algorithm": "consistent_hash"})),
            "pools[0].balance.hash: is missing",
        ),
        (
            with("/pools/0/balance", json!({"hash": {"on": "prompt"}})),
            "pools[0].balance.hash: is for `algorithm: consistent_hash` only",
        ),
        (
            with(
                "/pools/0/balance",
                json!({"algorithm": "consistent_hash", "hash": {"on": "header"}}),
            ),
            "pools[0].balance.hash.header: is missing",
        ),
        (
            with(
                "/pools/0/balance",
                json!({"algorithm": "consistent_hash", "hash": {"on": "prompt", "header": "x"}}),
            ),
            "pools[0].balance.hash.header: is for `on: header` only",
        ),
        (
            with(
                "/pools/0/balance",
                json!({"algorithm": "consistent_hash", "hash": {"on": "tenant"}}),
            ),
            "pools[0].balance.hash.on: no tenant can be told",
        ),
        (
            with("/limits", json!({"prompt_key_bytes": 10})),
            "limits.prompt_key_bytes: no pool hashes prompts",
        ),
        (
            with("/limits", json!({"body_bytes": 5})),
            "limits.body_bytes: 5 is out of range; give 1024 to 67108864",
        ),
        (
            with("/routes", json!([])),
            "routes: has 0 entries; give 1 to 1024",
        ),
        (
            with("/routes/0/pools/0", json!("smal")),
            "routes[0].pools[0]: there is no pool \"smal\"; the pools are small, long",
        ),
        (
            with("/routes/0/pools/1", json!("small")),
            "routes[0].pools[1]: \"small\" is named twice",
        ),
        (
            with("/routes/0/pools", json!([])),
            "routes[0].pools: is empty",
        ),
        (
            with("/routes/0/attempts", json!(9)),
            "routes[0].attempts: 9 is out of range; give 1 to 8",
        ),
        (
            with(
                "/routes/0/match",
                json!({"input_tokens": {"min": 5, "max": 4}}),
            ),
            "routes[0].match.input_tokens: min 5 is above max 4",
        ),
        (
            with("/routes/0/match", json!({"models": [""]})),
            "routes[0].match.models[0]: is empty",
        ),
        (
            with("/routes/0/match", json!({"tenants": ["a"]})),
            "routes[0].match.tenants: no tenant can be told; say in `identity` how callers show who they are",
        ),
        (
            with(
                "/routes/0/match",
                json!({"path": {"exact": "/a", "prefix": "/b"}}),
            ),
            "routes[0].match.path: give one of `exact` and `prefix`",
        ),
        (
            with(
                "/routes/0/match",
                json!({"headers": [{"name": "x y", "present": true}]}),
            ),
            "routes[0].match.headers[0].name: \"x y\" is no header name",
        ),
        (
            with("/routes/0/match", json!({"headers": [{"name": "x"}]})),
            "routes[0].match.headers[0]: give one of",
        ),
        (
            with("/routes/0/match", json!({"realtime": true, "stream": true})),
            "routes[0].match.stream: a Realtime session",
        ),
        (
            with("/decision_header", json!({"callers": "tenants"})),
            "decision_header.tenants: is empty",
        ),
        (
            with(
                "/decision_header",
                json!({"callers": "all", "tenants": ["a"]}),
            ),
            "decision_header.tenants: ",
        ),
        (
            with("/identity", json!({"tenant_header": ""})),
            "identity.tenant_header: \"\" is no header name",
        ),
        (
            with("/identity", json!({"trusted_hops": 17})),
            "identity.trusted_hops: 17 is out of range; give 0 to 16",
        ),
        (
            with(
                "/identity",
                json!({"addresses": {"deny": ["10.0.0.0/8", "10.0.0.1/8"]}}),
            ),
            "identity.addresses.deny[1]: \"10.0.0.1/8\" has bits behind its prefix; the range is \"10.0.0.0/8\"",
        ),
        (
            with("/identity", json!({"addresses": {"allow": ["localhost"]}})),
            "identity.addresses.allow[0]: \"localhost\" is no range of addresses; write one like",
        ),
        (
            with("/identity", json!({"keys": {"tenants": []}})),
            "identity.keys.tenants: has 0 entries; give 1 to 1024",
        ),
        (
            with(
                "/identity",
                json!({"keys": {"tenants": [{"tenant": "a", "sha256": ["ab"]}]}}),
            ),
            "identity.keys.tenants[0].sha256[0]: is no SHA-256 digest of 64 hexadecimal digits; write what",
        ),
        (
            with(
                "/identity",
                json!({"keys": {"tenants": [
                    {"tenant": "a", "sha256": ["ab".repeat(32)]}, {"tenant": "b", "sha256": ["AB".repeat(32)]}
                ]}}),
            ),
            "identity.keys.tenants[1].sha256[0]: is taken by an earlier entry",
        ),
        (
            with(
                "/identity",
                json!({"signatures": {"keys": [{"id": "a", "tenant": "a", "secret": "short"}]}}),
            ),
            "identity.signatures.keys[0].secret: is not of 32 to 256 visible ASCII characters; write what",
        ),
        (
            with(
                "/identity",
                json!({"signatures": {"keys": [{"id": "a", "tenant": "a", "secret": 12345}]}}),
            ),
            "identity.signatures.keys[0].secret: is no text; write it in quotes",
        ),
        (
            with("/identity", json!({"anonymous": "refuse"})),
            "identity.anonymous: nobody is asked who they are",
        ),
        (
            with(
                "/identity",
                json!({"jwt_authn": {"payload": "p", "claim": ""}}),
            ),
            "identity.jwt_authn.claim: \"\" is no name",
        ),
        (
            with(
                "/identity",
                json!({"tenant_header": "x-t", "jwt_authn": {"payload": "p", "claim": "c"}}),
            ),
            "identity.tenant_header: is believed of anonymous callers only",
        ),
    ];
    all_are_refused(&cases);
    let mut aliased = with("/routes/0/alias", json!({"gpt-4o": "llama"}));
    aliased["routes"][0]["pools"] = json!(["small"]);
    assert!(
        refusal(&aliased)
            .starts_with("routes[0].alias.gpt-4o: none of the rule's pools serves \"llama\"")
    );
}

#[test]
fn a_value_of_another_kind_is_refused_where_it_stands() {
    let cases = [
        (
            with("/pools/0/name", json!(5)),
            "pools[0].name: is 5; give a string, in quotes",
        ),
        (
            with("/pools/0/models", json!(null)),
            "pools[0].models: is null; give a list, in brackets",
        ),
        (
            with("/pools/0/models/0", json!(["m"])),
            "pools[0].models[0]: is a list; give a string, in quotes",
        ),
        (
            with("/pools/0/load", json!({"weights": "no"})),
            "pools[0].load.weights: is \"no\"; give true or false",
        ),
        (
            with("/pools/0/endpoints/0", json!(true)),
            "pools[0].endpoints[0]: is true; give an object, in braces",
        ),
        (
            with("/pools/0/endpoints/0/weight", json!(65536)),
            "pools[0].endpoints[0].weight: is 65536; give an integer from 0 to 65535",
        ),
        (
            with("/pools/0/endpoints/0/weight", json!(0.5)),
            "pools[0].endpoints[0].weight: is no integer of 64 bits; give an integer from 0 to 65535",
        ),
        (
            with("/pools/0/endpoints/-", json!({"weight": 1})),
            "pools[0].endpoints[1]: missing field `address`",
        ),
        (
            with("/routes/0/match", json!({"input_tokens": {"mim": 5}})),
            "routes[0].match.input_tokens.mim: unknown field `mim`, expected `min` or `max`",
        ),
        (
            with("/routes/0/alias", json!({"a": 1})),
            "routes[0].alias.a: is 1; give a string, in quotes",
        ),
        (
            with("/routes/0/alias", json!([])),
            "routes[0].alias: is a list; give an object of strings",
        ),
        (
            with("/identity", json!({"tenant": "x"})),
            "identity.tenant: unknown field `tenant`, expected one of `tenant_header`, `trusted_hops`, `addresses`, `keys`, `signatures`, `jwt_authn`, `jwt`, `introspection`, `anonymous`",
        ),
        (
            with("/upgrades", json!({"forward": null})),
            "upgrades: is an object; give a string, in quotes",
        ),
    ];
    for (config, expected) in cases {
        assert_eq!(refusal(&config), expected);
    }
    let mut nothing = with("/pools/0/context_window", json!(null));
    nothing["pools"][0]["balance"] = json!({"hash": null});
    assert!(Config::from_json(nothing.to_string().as_bytes()).is_ok());
}

#[test]
fn a_field_that_stands_there_twice_is_refused() {
    let json = valid().to_string().replace(
        r#""context_window":"#,
        r#""context_window":1,"context_window":"#,
    );
    let refusal = Config::from_json(json.as_bytes())
        .expect_err(&json)
        .to_string();
    assert_eq!(
        refusal,
        "pools[0].context_window: duplicate field `context_window`"
    );
}

#[test]
fn broken_json_is_refused_at_its_path_and_its_place() {
    let refusal = Config::from_json(b"{\n \"pools\": [{\"name\": tru")
        .expect_err("no JSON")
        .to_string();
    assert_eq!(
        refusal,
        "pools[0].name: EOF while parsing a value at line 2 column 23"
    );
}

#[test]
fn an_alias_that_stands_there_twice_is_refused() {
    let json = valid().to_string().replace(
        r#""pools":["small","long"]"#,
        r#""alias":{"a":"qwen","a":"b"},"pools":["small","long"]"#,
    );
    let refusal = Config::from_json(json.as_bytes())
        .expect_err(&json)
        .to_string();
    assert_eq!(refusal, "routes[0].alias.a: duplicate field `a`");
}

#[test]
fn what_is_no_object_of_ours_is_refused_as_a_whole() {
    for (json, expected) in [
        ("", "configuration: is empty"),
        ("[]", "configuration: is a list; give an object, in braces"),
        ("{", "configuration: EOF"),
        ("{\"pools\":[]}", "missing field `routes`"),
        (
            "{\"pools\":[],\"routes\":[]} x",
            "configuration: trailing characters",
        ),
    ] {
        let refusal = Config::from_json(json.as_bytes())
            .expect_err(json)
            .to_string();
        assert!(refusal.contains(expected), "{json}: {refusal}");
    }
}

/// The schema in `envoy/` is what the types say. `JUNHENG_BLESS=1 cargo test --test all schema` writes it anew.
#[test]
fn the_schema_is_the_one_of_the_types() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/envoy/junheng.schema.json");
    let schema = format!("{:#}\n", Config::schema());
    if std::env::var_os("JUNHENG_BLESS").is_some() {
        std::fs::write(path, &schema).expect("the schema's file");
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        written == schema,
        "{path} is out of date; run: JUNHENG_BLESS=1 cargo test --test all schema"
    );
}
