//! Limits and who keeps those of the fleet: what is refused, and in which words.

use std::time::Duration;

use junheng::config::{Config, EngineProtocol, OnError};
use serde_json::{Value, json};

use super::{all_are_refused, with};

/// A limit of the fleet, and its engine.
fn fleet(quota: Value, engine: Value) -> Value {
    let mut config = with("/quotas", json!([quota]));
    config["quota_engine"] = engine;
    config
}

fn webdis() -> Value {
    json!({"webdis": {"cluster": "webdis"}})
}

fn service() -> Value {
    json!({"rate_limit_service": {"cluster": "ratelimit"}})
}

#[test]
fn a_mistake_in_a_limit_names_its_path_and_its_remedy() {
    let cases = [
        (
            with("/quotas", json!([{"name": "a"}])),
            "quotas[0]: limits nothing; give `requests`, `tokens` or both",
        ),
        (
            with(
                "/quotas",
                json!([{"name": "a", "key": ["model", "user"], "requests": {"limit": 1, "per": "1s"}}]),
            ),
            "quotas[0].key[1]: \"user\" is no part of a key; give `tenant`, `model`, `route`, `address` or `header:NAME`",
        ),
        (
            with(
                "/quotas",
                json!([{"name": "a", "key": ["model", "model"], "requests": {"limit": 1, "per": "1s"}}]),
            ),
            "quotas[0].key[1]: \"model\" is named twice; name it once",
        ),
        (
            with(
                "/quotas",
                json!([{"name": "a", "key": ["tenant"], "requests": {"limit": 1, "per": "1s"}}]),
            ),
            "quotas[0].key: no tenant can be told; say in `identity` how callers show who they are",
        ),
        (
            with(
                "/quotas",
                json!([{"name": "a", "tokens": {"limit": 0, "per": "1s"}}]),
            ),
            "quotas[0].tokens.limit: 0 is out of range; give 1 to 4294967295",
        ),
        (
            with(
                "/quotas",
                json!([{"name": "a", "tokens": {"limit": 1, "per": "2d"}}]),
            ),
            "quotas[0].tokens.per: \"2d\" is no duration",
        ),
        (
            with(
                "/quotas",
                json!([{"name": "a", "callers": 9, "tokens": {"limit": 1, "per": "1s"}}]),
            ),
            "quotas[0].callers: is for limits with a `key` only; leave it out",
        ),
        (
            with(
                "/quotas",
                json!([{"name": "a", "cut_streams": true, "requests": {"limit": 1, "per": "1s"}}]),
            ),
            "quotas[0].cut_streams: is for limits of `tokens` only; leave it out",
        ),
        (
            with(
                "/quotas",
                json!([{"name": "a", "requests": {"limit": 1, "per": "24h", "burst": 400}}]),
            ),
            "quotas[0].requests.burst: 400 come back in more than a year at this rate",
        ),
        (
            with(
                "/quotas",
                json!([{"name": "a", "default_output": 500, "tokens": {"limit": 500, "per": "1s"}}]),
            ),
            "quotas[0].default_output: 500 is not below the burst of `tokens`, 500",
        ),
    ];
    all_are_refused(&cases);
}

#[test]
fn a_mistake_in_a_limit_of_the_fleet_names_its_path_and_its_remedy() {
    let budget = json!({"limit": 1000, "per": "1m"});
    let quota = |more: Value| {
        let mut quota = json!({"name": "a", "tokens": budget});
        for (name, value) in more.as_object().expect("an object") {
            quota[name] = value.clone();
        }
        quota
    };
    let of_fleet = quota(json!({"scope": "fleet"}));
    let leased = |lease: u32| {
        quota(json!({"scope": "fleet", "tokens": {"limit": 1000, "per": "1m", "lease": lease}}))
    };
    let cases = [
        (
            with("/quotas", json!([of_fleet])),
            "quotas[0].scope: nobody keeps limits of the fleet; set `quota_engine`",
        ),
        (
            with("/quotas", json!([quota(json!({"scope": "world"}))])),
            "quotas[0].scope: unknown variant `world`, expected `proxy` or `fleet`",
        ),
        (
            with("/quotas", json!([quota(json!({"on_error": "deny"}))])),
            "quotas[0].on_error: is for `scope: fleet` only; leave it out",
        ),
        (
            with(
                "/quotas",
                json!([quota(
                    json!({"tokens": {"limit": 1, "per": "1s", "lease": 1}})
                )]),
            ),
            "quotas[0].tokens.lease: is for `scope: fleet` only; leave it out",
        ),
        (
            fleet(leased(1001), webdis()),
            "quotas[0].tokens.lease: 1001 is out of range; give 0 to 1000",
        ),
        (
            fleet(leased(1), service()),
            "quotas[0].tokens.lease: a rate limit service takes nothing back; leave it out",
        ),
        (
            fleet(
                quota(
                    json!({"scope": "fleet", "tokens": {"limit": 1000, "per": "1m", "burst": 2000}}),
                ),
                service(),
            ),
            "quotas[0].tokens.burst: a rate limit service knows no bursts beside the limit; leave it out",
        ),
        (
            fleet(quota(json!({})), webdis()),
            "quota_engine: no limit has `scope: fleet`; leave it out",
        ),
        (
            fleet(of_fleet.clone(), json!({})),
            "quota_engine: is nobody; give `webdis` or `rate_limit_service`",
        ),
        (
            fleet(
                of_fleet.clone(),
                json!({"webdis": {"cluster": "a"}, "rate_limit_service": {"cluster": "b"}}),
            ),
            "quota_engine: is two, `webdis` and `rate_limit_service`; a limit is kept by one",
        ),
        (
            fleet(of_fleet.clone(), json!({"webdis": {"cluster": ""}})),
            "quota_engine.webdis.cluster: \"\" cannot stand in a header",
        ),
        (
            fleet(
                of_fleet.clone(),
                json!({"webdis": {"cluster": "a", "prefix": "a:b"}}),
            ),
            "quota_engine.webdis.prefix: \"a:b\" is no name",
        ),
        (
            fleet(
                of_fleet.clone(),
                json!({"webdis": {"cluster": "a", "basic_auth": "nobody"}}),
            ),
            "quota_engine.webdis.basic_auth: is not `user:password`",
        ),
        (
            fleet(
                of_fleet.clone(),
                json!({"webdis": {"cluster": "a"}, "timeout": "1m"}),
            ),
            "quota_engine.timeout: \"1m\" is out of range; give 10ms to 5s",
        ),
    ];
    all_are_refused(&cases);
}

#[test]
fn a_limit_of_the_fleet_has_the_documented_defaults() {
    let quota = json!({"name": "a", "scope": "fleet", "requests": {"limit": 150, "per": "1m"}, "tokens": {"limit": 90, "per": "1m"}});
    let config = Config::from_json(fleet(quota.clone(), webdis()).to_string().as_bytes());
    let config = config.expect("valid");
    let [quota_read] = &config.quotas[..] else {
        panic!("one limit");
    };
    assert_eq!(quota_read.fleet, Some(OnError::Local));
    let lease = |budget: &Option<junheng::config::Budget>| budget.expect("a budget").lease;
    assert_eq!(
        (lease(&quota_read.requests), lease(&quota_read.tokens)),
        (1, 0)
    );
    let engine = config.quota_engine.expect("an engine");
    assert_eq!(engine.service.timeout, Duration::from_millis(100));
    assert_eq!(engine.service.authority, "webdis");
    assert!(
        matches!(engine.protocol, EngineProtocol::Webdis { prefix, authorization: None } if prefix == "junheng")
    );

    let config = Config::from_json(fleet(quota, service()).to_string().as_bytes());
    let engine = config.expect("valid").quota_engine.expect("an engine");
    assert_eq!(engine.service.authority, "ratelimit");
    assert!(
        matches!(engine.protocol, EngineProtocol::RateLimitService { domain } if domain == "junheng")
    );
}
