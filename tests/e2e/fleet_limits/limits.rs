//! Limits that two Envoys share, each with two workers: never above, whoever asks; and what becomes of requests while the
//! engine is gone or silent.

use harness::fleet::json_request;
use junheng::config::Budget;
use junheng::quota::fleet::redis::SCRIPT;
use junheng::quota::{Bucket, Hold, Rate};
use junheng::values::clock::Instant;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use std::time::Duration;

use super::rate_limit_service::RateLimitService;
use super::redis::{Redis, Webdis};
use crate::quota::{at_once, header, used};
use crate::world::{Spoken, World, cluster, eventually};

/// The workers of two Envoys.
const WORKERS: u64 = 4;
/// What a request of [`at_once`] may cost at most: its input is estimated at less than 10 tokens.
const DEAREST: u64 = 20;

/// Two Envoys under one configuration, before a fleet of endpoints each.
async fn two(engine: &Value, address: std::net::SocketAddr, quotas: &Value) -> [World; 2] {
    let start = async || {
        let spoken = match engine.get("webdis") {
            Some(_) => Spoken::Http1,
            None => Spoken::Http2,
        };
        World::beside(cluster("engine", address, spoken), |config| {
            config["quotas"] = quotas.clone();
            config["quota_engine"] = engine.clone();
        })
        .await
    };
    [start().await, start().await]
}

fn webdis() -> Value {
    json!({"webdis": {"cluster": "engine"}, "timeout": "5s"})
}

async fn redis() -> (Redis, Webdis) {
    let redis = Redis::start().await;
    let webdis = Webdis::start(redis.server.address()).await;
    (redis, webdis)
}

/// So many requests at each Envoy, all at once: the answers with the status 200, and the others.
async fn ask_both([one, other]: &[World; 2], requests: usize) -> (Vec<String>, Vec<String>) {
    let (mut answers, more) = tokio::join!(at_once(one, requests), at_once(other, requests));
    answers.extend(more);
    answers
        .into_iter()
        .partition(|answer| answer.starts_with("HTTP/1.1 200"))
}

/// What Redis has as taken from the one bucket there is.
async fn taken(webdis: &Webdis) -> f64 {
    let script = "local key = redis.call('KEYS', '*')[1]\n\
        if not key then return '0' end\n\
        local _, _, taken = struct.unpack('<dddddd', redis.call('GET', key))\n\
        return tostring(taken)";
    let taken = webdis.eval(script, &[], &[]).await;
    taken.as_str().expect("a text").parse().expect("a number")
}

#[tokio::test(flavor = "multi_thread")]
async fn two_envoys_hold_one_limit_within_their_leases() {
    for (requests, lease) in [(5, 0), (50, 0), (250, 0), (50, 40), (250, 100)] {
        let (_redis, engine) = redis().await;
        let limit = requests as u64 * DEAREST;
        let tokens = json!({"limit": limit, "per": "24h", "lease": lease});
        let quotas =
            json!([{"name": "all", "scope": "fleet", "on_error": "deny", "tokens": tokens}]);
        let worlds = two(&webdis(), engine.server.address(), &quotas).await;
        let (good, bad) = ask_both(&worlds, requests).await;
        for refused in bad {
            assert!(refused.starts_with("HTTP/1.1 429"), "{refused}");
            assert!(header(&refused, "retry-after-ms").is_some(), "{refused}");
        }
        let forwarded: u64 = worlds.iter().map(World::forwarded).sum();
        assert_eq!(forwarded, good.len() as u64);
        let all_used: u64 = good.iter().map(|answer| used(answer)).sum();
        assert!(all_used <= limit, "{all_used} of {limit}");
        // What was left over lies with nobody: at most a lease a worker, and less than one more request.
        let reserved = good.len() as u64 * DEAREST;
        assert!(
            reserved + WORKERS * lease + DEAREST > limit,
            "{} of {requests} twice, of {limit} with leases of {lease}",
            good.len()
        );
        // After drain, Redis knows to the token what was used. (Some of it has come back meanwhile, a few a minute.)
        let used = all_used as f64;
        let settled = |taken: &f64| *taken <= used && *taken > used - 2.0;
        eventually("settled", async || taken(&engine).await, settled).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_saves_the_way_to_redis() {
    let (_redis, engine) = redis().await;
    let requests = json!({"limit": 10_000, "per": "1h", "lease": 50});
    let quotas = json!([{"name": "all", "scope": "fleet", "requests": requests}]);
    let worlds = two(&webdis(), engine.server.address(), &quotas).await;
    for world in &worlds {
        let caller = world.caller();
        for _ in 0..200 {
            let body = r#"{"model":"qwen2.5-7b","max_tokens":1,"messages":[]}"#;
            let answer = caller
                .send(json_request("/v1/chat/completions", body))
                .await;
            assert_eq!(answer.expect("an answer").status, 200);
        }
        let metrics = world.envoy.metrics().await.expect("metrics");
        let asked = metrics.sum("junheng_quota_engine_asked", &[]);
        // One for each lease of 50 and the request that began it; reports of what lay idle may come on top.
        assert!((1.0..=20.0).contains(&asked), "{asked} questions");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_requests_go_as_configured_and_with_it_again_as_before() {
    let (mut redis, engine) = redis().await;
    let rule = |on_error: &str| {
        let requests = json!({"limit": 3, "per": "24h", "lease": 0});
        json!({
            "name": on_error, "scope": "fleet", "on_error": on_error, "requests": requests,
            "match": {"headers": [{"name": "x-on-error", "exact": on_error}]},
        })
    };
    let quotas = json!([rule("allow"), rule("deny"), rule("local")]);
    // Long enough for an answer on a busy machine: what is granted too late counts as used.
    let engine_config = json!({"webdis": {"cluster": "engine"}, "timeout": "2s"});
    let [world, _other] = two(&engine_config, engine.server.address(), &quotas).await;
    let caller = world.caller();
    let asked = async |on_error: &str| {
        let mut request = json_request(
            "/v1/chat/completions",
            r#"{"model":"qwen2.5-7b","max_tokens":1,"messages":[]}"#,
        );
        let value = on_error.parse().expect("a header's value");
        request.headers_mut().insert("x-on-error", value);
        let answer = caller.send(request).await.expect("an answer");
        answer.status.as_u16()
    };
    let four = async |on_error: &str| {
        let mut statuses = Vec::new();
        for _ in 0..4 {
            statuses.push(asked(on_error).await);
        }
        statuses
    };
    let as_configured = async |when: &str| {
        assert_eq!(four("allow").await, [200; 4], "{when}");
        assert_eq!(four("deny").await, [503; 4], "{when}");
    };

    redis.server.kill();
    as_configured("Redis is killed").await;
    assert_eq!(four("local").await, [200, 200, 200, 429]);
    redis.server.restart().await;
    // Webdis comes back to it a connection at a time: until then some are not answered, and so go as configured.
    for on_error in ["deny", "local"] {
        let mut passed = 0;
        let again = async || {
            passed += u32::from(asked(on_error).await == 200);
            passed
        };
        // Its own budget of three is used up: these are the fleet's.
        eventually("asked again", again, |passed| *passed == 3).await;
        assert_ne!(asked(on_error).await, 200, "{on_error}");
    }

    let failed = async || {
        let metrics = world.envoy.metrics().await.expect("metrics");
        metrics.sum("junheng_quota_engine_failed", &[])
    };
    let when_killed = eventually("counted", failed, |failed| *failed >= 1.0).await;
    redis.server.hold();
    as_configured("Redis is silent").await;
    // A worker that lets the engine rest since Redis was killed has not asked it again by now.
    let asked_in_vain = async || {
        assert_eq!(asked("deny").await, 503);
        failed().await
    };
    eventually("asked in vain", asked_in_vain, |failed| {
        *failed > when_killed
    })
    .await;
    redis.server.go_on();
    eventually(
        "asked again",
        async || asked("deny").await,
        |status| *status == 429,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_envoys_hold_one_limit_of_a_rate_limit_service() {
    let rules =
        json!([{"domain": "junheng", "keys": ["limit", "unit"], "limit": 1000, "unit": "day"}]);
    let mut service = RateLimitService::start(&rules).await;
    let tokens = json!({"limit": 1000, "per": "24h"});
    let quotas = json!([{"name": "all", "scope": "fleet", "on_error": "deny", "tokens": tokens}]);
    let engine = json!({"rate_limit_service": {"cluster": "engine"}, "timeout": "5s"});
    let worlds = two(&engine, service.server.address(), &quotas).await;
    let (good, bad) = ask_both(&worlds, 100).await;
    for refused in bad {
        assert!(refused.starts_with("HTTP/1.1 429"), "{refused}");
        assert_eq!(header(&refused, "x-ratelimit-limit-tokens"), Some("1000"));
    }
    let used: u64 = good.iter().map(|answer| used(answer)).sum();
    assert!(used <= 1000, "{used}");
    assert!(
        good.len() as u64 * DEAREST + WORKERS * DEAREST > 1000,
        "{} passed",
        good.len()
    );

    service.server.kill();
    let none = async || {
        let (good, bad) = ask_both(&worlds, 1).await;
        let denied = bad.iter().all(|answer| answer.starts_with("HTTP/1.1 503"));
        good.is_empty() && denied
    };
    eventually("what was left over is used up", none, |none| *none).await;
    service.server.restart().await;
    let again = async || ask_both(&worlds, 1).await.0.len();
    eventually("asked again", again, |good| *good == 2).await;
}

/// What the script says of a bucket at a time in microseconds.
async fn decide_at(engine: &Webdis, micros: u64, key: &str, numbers: [u64; 7]) -> Value {
    let clock = format!("{{{}, {}}}", micros / 1_000_000, micros % 1_000_000);
    let script = SCRIPT.replace("redis.call('TIME')", &clock);
    let words = numbers.map(|number| number.to_string());
    let [a, b, c, d, e, f, g] = words.each_ref().map(String::as_str);
    let words = [a, b, c, d, e, f, g, "mark"];
    engine.eval(&script, &[key], &words).await
}

/// What a dead worker had on loan makes others' refunds smaller, but for two hours at most, however many come and go.
#[tokio::test(flavor = "multi_thread")]
async fn redis_forgets_what_nobody_reports() {
    const SECOND: u64 = 1_000_000;
    let (_redis, engine) = redis().await;
    let step = async |second: u64, want: u64, released: u64, used: u64| {
        let numbers = [60, 60, 60, want, 0, released, used];
        decide_at(&engine, second * SECOND, "bucket", numbers).await
    };
    assert_eq!(step(0, 60, 0, 0).await[1], 60, "and never heard of again");
    for minute in 1..=121 {
        assert_eq!(step(60 * minute, 4, 0, 0).await[1], 4);
        step(60 * minute + 10, 0, 4, 1).await;
    }
    let much_later = 60 * 122;
    assert_eq!(step(much_later, 40, 0, 0).await[1], 40);
    assert_eq!(step(much_later, 0, 40, 0).await[3], 60, "all of it is back");
}

/// The script against the bucket that this proxy's own limits have, at times that doubles hold exactly. Where the bucket gets full
/// meanwhile, which here forgets what is held, there may be less left in Redis; never more.
#[tokio::test(flavor = "multi_thread")]
async fn the_script_in_redis_and_the_bucket_here_are_one_algorithm() {
    const LIMIT: u32 = 64;
    const STEP: u64 = 15_625_000;
    let rate = Rate::of(&Budget {
        limit: LIMIT,
        per: Duration::from_secs(16),
        burst: LIMIT,
        lease: 0,
    });
    let (_redis, engine) = redis().await;
    let mut runner = TestRunner::deterministic();
    for longest_pause in [40u64, 4_000] {
        // How long until it happens; what is asked for; of which one before how much was used, if one ends.
        let ended = proptest::option::of((0usize..8, 0u64..60));
        let step = (0..longest_pause, 0u64..40, ended);
        let mut bucket = Bucket::default();
        let (mut now, mut held) = (0, Vec::new());
        for number in 0..500 {
            let (pause, want, ended) = step.new_tree(&mut runner).expect("a step").current();
            now += pause * STEP;
            let at = Instant::from_nanos(now);
            let (mut released, mut used) = (0, 0);
            if let Some((place, ends)) = ended.filter(|(place, _)| *place < held.len()) {
                let hold: Hold = held.remove(place);
                bucket = bucket.settle(&rate, at, hold, ends);
                (released, used) = (hold.cost, ends);
            }
            let numbers = [LIMIT.into(), 16, LIMIT.into(), want, 0, released, used];
            let key = format!("bucket {longest_pause}");
            let said = decide_at(&engine, now / 1000, &key, numbers).await;
            let granted = said[1].as_i64().expect("a number") == want as i64;
            let (after, outcome) = bucket.reserve(&rate, at, want);
            if granted && want > 0 {
                bucket = after;
                held.push(outcome.unwrap_or_else(|why| panic!("step {number}: {said}, {why:?}")));
            }
            let (left, said_left) = (bucket.left(&rate, at), said[3].as_u64());
            let full = bucket.until_full(&rate, at).as_nanos().div_ceil(1000) as u64;
            if longest_pause < 64 {
                assert_eq!(
                    granted || want == 0,
                    outcome.is_ok() || want == 0,
                    "step {number}: {said}"
                );
                assert_eq!(said_left, Some(left), "step {number}: {said}");
                assert_eq!(said[5], json!(full), "step {number}: {said}");
            }
            assert!(said_left <= Some(left), "step {number}: {said} for {left}");
        }
    }
}
