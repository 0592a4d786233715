//! Limits of the whole fleet: requests are held for the engine's answer, and where there is none go as configured.

mod loans;
mod silent;

use std::time::Duration;

use serde_json::{Value, json};

use super::{INPUT, answer_using, ask, is_sent, number, text};
use crate::on_both;
use crate::scenario::{Asked, On, Proxy, Step, StreamId, chat_bytes, pass, proxy};

on_both! {
    a_request_is_held_until_it_is_granted
    what_is_granted_short_is_asked_for_again
    what_the_engine_refuses_is_refused_with_its_wait
    a_limit_of_this_proxys_own_stands_before_the_question
    all_limits_of_a_request_are_one_question
    what_no_waiting_cures_is_not_asked
    what_others_use_up_meanwhile_is_asked_for_as_well
    tokens_that_are_estimated_anew_meanwhile_are_asked_for
    who_finds_no_place_to_wait_is_refused
    a_request_without_a_body_waits_too
    a_rate_limit_service_is_asked_by_grpc
}

fn config(quotas: Value, engine: Value) -> Value {
    let mut config = super::config(quotas);
    config["quota_engine"] = engine;
    config
}

fn webdis() -> Value {
    json!({"webdis": {"cluster": "redis", "basic_auth": "junheng:s3cret"}, "timeout": "200ms"})
}

fn tokens(limit: u32, lease: u32) -> Value {
    let tokens = json!({"limit": limit, "per": "1h", "lease": lease});
    config(
        json!([{"name": "team", "scope": "fleet", "tokens": tokens}]),
        webdis(),
    )
}

/// What a question asks about a budget.
#[derive(Debug, PartialEq)]
struct Line {
    key: String,
    want: u64,
    ahead: u64,
    released: u64,
    used: u64,
}

/// The questions of a worker since the last time.
fn asked(proxy: &mut dyn Proxy, worker: usize) -> Vec<(Asked, Vec<Line>)> {
    let asked = proxy.errands(worker).into_iter();
    asked.map(|asked| (asked.clone(), lines(&asked))).collect()
}

fn lines(asked: &Asked) -> Vec<Line> {
    assert_eq!(
        (asked.cluster.as_str(), asked.path.as_str()),
        ("redis", "/")
    );
    let command = String::from_utf8(asked.body.clone()).expect("ASCII");
    let mut parts = command.split('/').skip(2);
    let count: usize = parts.next().expect("a count").parse().expect("a number");
    let keys: Vec<&str> = parts.by_ref().take(count).collect();
    let arguments: Vec<&str> = parts.collect();
    let (_, arguments) = arguments.split_last().expect("a mark");
    let number = |text: &str| text.parse().expect("a number");
    let lines = keys.iter().zip(arguments.chunks(7));
    lines
        .map(|(key, arguments)| Line {
            key: (*key).to_owned(),
            want: number(arguments[3]),
            ahead: number(arguments[4]),
            released: number(arguments[5]),
            used: number(arguments[6]),
        })
        .collect()
}

/// The one question of a worker since the last time.
#[track_caller]
fn question(proxy: &mut dyn Proxy, worker: usize) -> (Asked, Vec<Line>) {
    let mut all = asked(proxy, worker);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

/// What the engine says to a question, as webdis writes it.
fn say(asked: &Asked, numbers: &[i64]) -> Vec<u8> {
    let command = String::from_utf8(asked.body.clone()).expect("ASCII");
    let mark = command.rsplit('/').next().expect("a mark");
    let told: Vec<Value> = [Value::from(mark)]
        .into_iter()
        .chain(numbers.iter().copied().map(Value::from))
        .collect();
    json!({ "EVAL": told }).to_string().into_bytes()
}

/// Grants all that was asked for, of a budget that then has `left`.
fn grant(proxy: &mut dyn Proxy, worker: usize, asked: &Asked, left: i64) {
    let granted = |line: &Line| (line.want + line.ahead) as i64;
    let told: Vec<i64> = lines(asked)
        .iter()
        .flat_map(|line| [granted(line), 0, left, 1000, 60_000_000])
        .collect();
    proxy.reply(worker, asked, 200, &say(asked, &told));
}

#[track_caller]
fn held(proxy: &mut dyn Proxy, worker: usize, bound: u32) -> StreamId {
    let (stream, step) = ask(proxy, worker, &[], bound);
    assert_eq!(step, Step::Held);
    stream
}

fn a_request_is_held_until_it_is_granted(on: On) {
    let proxy = &mut *proxy(on, &tokens(10_000, 50), 1);
    let stream = held(proxy, 0, 100);
    let (asked, lines) = question(proxy, 0);
    assert_eq!(asked.header(":method"), "POST");
    assert_eq!(asked.header(":authority"), "webdis");
    assert_eq!(asked.header("authorization"), "Basic anVuaGVuZzpzM2NyZXQ=");
    assert_eq!(asked.timeout, Duration::from_millis(200));
    assert!(
        lines[0].key.starts_with("junheng:quota:team:tokens:"),
        "{lines:?}"
    );
    assert_eq!(
        (lines[0].want, lines[0].ahead),
        (u64::from(INPUT) + 100, 50)
    );
    pass(proxy, [0], Duration::from_millis(100));
    assert_eq!(proxy.later(stream), None);
    grant(proxy, 0, &asked, 9_000);
    let sent = proxy.later(stream).expect("an end of the wait").sent();
    assert_eq!(sent.endpoint(), "10.0.1.1:8080");
    let told = proxy.respond_with(stream, 200, 1, &[("content-type", "application/json")]);
    // What the fleet has, and what is on loan here.
    assert_eq!(number(&told, "x-ratelimit-remaining-tokens"), 9_050);
    assert_eq!(
        text(&told, "ratelimit-policy"),
        "\"team.tokens\";q=10000;w=3600;qu=\"tokens\""
    );
    proxy.close(stream);
}

/// As where the tokens of a request are estimated anew while it waits.
fn what_is_granted_short_is_asked_for_again(on: On) {
    let proxy = &mut *proxy(on, &tokens(10_000, 0), 1);
    for short in 1..=3 {
        let stream = held(proxy, 0, 1_000);
        for asked in 1..=3 {
            let (question, lines) = question(proxy, 0);
            let want = lines[0].want as i64;
            if asked == short {
                grant(proxy, 0, &question, 9_000);
                break;
            }
            let told = say(&question, &[want / 8, 0, 9_000, 0, 1]);
            proxy.reply(0, &question, 200, &told);
            assert_eq!(proxy.later(stream), None);
        }
        assert!(is_sent(&proxy.later(stream).expect("an end")));
    }
    // Nobody is held for ever.
    let stream = held(proxy, 0, 9_000);
    for _ in 0..3 {
        let (question, _) = question(proxy, 0);
        proxy.reply(0, &question, 200, &say(&question, &[1, 0, 9_000, 0, 1]));
    }
    let refused = proxy.later(stream).expect("an end").refused();
    assert_eq!(refused.error("code"), "limit_unavailable");
    proxy.tick(0);
    assert_eq!(proxy.metric("junheng.quota.team.unasked"), 0);
}

fn what_the_engine_refuses_is_refused_with_its_wait(on: On) {
    let proxy = &mut *proxy(on, &tokens(10_000, 0), 1);
    let stream = held(proxy, 0, 100);
    let (question, _) = question(proxy, 0);
    let told = say(&question, &[-1, 2_500_500, 77, 1000, 60_000_000]);
    proxy.reply(0, &question, 200, &told);
    let refused = proxy.later(stream).expect("an end of the wait").refused();
    assert_eq!(
        (refused.status, refused.error("code")),
        (429, "rate_limit_exceeded")
    );
    assert_eq!(refused.retry_after.as_deref(), Some("3"));
    assert_eq!(text(&refused.headers, "retry-after-ms"), "2501");
    assert_eq!(number(&refused.headers, "x-ratelimit-remaining-tokens"), 77);
    proxy.tick(0);
    assert_eq!(proxy.metric("junheng.quota.team.refused"), 1);
    assert_eq!(proxy.metric("junheng.quota.team.unasked"), 0);
    // The refusal is nobody's failure: the next one asks.
    held(proxy, 0, 100);
    super::fleet::question(proxy, 0);
}

fn a_limit_of_this_proxys_own_stands_before_the_question(on: On) {
    let quotas = json!([
        {"name": "own", "requests": {"limit": 1, "per": "1h"}},
        {"name": "team", "scope": "fleet", "requests": {"limit": 10, "per": "1h", "lease": 3}},
    ]);
    let proxy = &mut *proxy(on, &config(quotas, webdis()), 1);
    let first = held(proxy, 0, 10);
    // Not taken from its own before the fleet's is granted: another may be faster, and then this one is refused.
    let second = held(proxy, 0, 10);
    let questions = asked(proxy, 0);
    assert_eq!(questions.len(), 2);
    for (question, _) in &questions {
        grant(proxy, 0, question, 5);
    }
    assert!(is_sent(&proxy.later(first).expect("an end")));
    let refused = proxy.later(second).expect("an end").refused();
    assert!(refused.error("message").contains("`own`"), "{refused:?}");
    let (_, step) = ask(proxy, 0, &[], 10);
    assert!(step.refused().error("message").contains("`own`"));
    assert!(asked(proxy, 0).is_empty());
}

fn all_limits_of_a_request_are_one_question(on: On) {
    let quotas = json!([
        {"name": "all", "scope": "fleet", "requests": {"limit": 10, "per": "1h"}, "tokens": {"limit": 1000, "per": "1h"}},
        {"name": "each", "key": ["tenant"], "scope": "fleet", "tokens": {"limit": 1000, "per": "1h"}},
    ]);
    let proxy = &mut *proxy(on, &config(quotas, webdis()), 1);
    let stream = held(proxy, 0, 10);
    let (question, lines) = question(proxy, 0);
    let asked: Vec<_> = lines
        .iter()
        .map(|line| {
            let mut parts = line.key.split(':').skip(2);
            let name = parts.by_ref().take(2).collect::<Vec<_>>().join(".");
            (name, line.want, line.ahead)
        })
        .collect();
    let all = u64::from(INPUT) + 10;
    // A hundredth of the burst is taken ahead.
    let expected = [
        ("all.requests", 1, 0),
        ("all.tokens", all, 10),
        ("each.tokens", all, 10),
    ];
    assert_eq!(
        asked,
        expected.map(|(name, want, ahead)| (name.to_owned(), want, ahead))
    );
    // One of them has no room.
    let each = [[0, 0, 9, 0, 1], [0, 0, 900, 0, 1], [-1, 7_000_000, 3, 0, 1]];
    let told = say(&question, &each.concat());
    proxy.reply(0, &question, 200, &told);
    let refused = proxy.later(stream).expect("an end").refused();
    assert!(refused.error("message").contains("`each`"), "{refused:?}");
    assert_eq!(refused.retry_after.as_deref(), Some("7"));
}

fn what_no_waiting_cures_is_not_asked(on: On) {
    let proxy = &mut *proxy(on, &tokens(50, 0), 1);
    let (_, step) = ask(proxy, 0, &[], 100);
    let refused = step.refused();
    assert_eq!(
        (refused.status, refused.error("code")),
        (400, "request_above_limit")
    );
    let told = |(name, _): &(String, String)| name.contains("ratelimit");
    assert!(!refused.headers.iter().any(told), "{refused:?}");
    assert!(asked(proxy, 0).is_empty());
}

/// Three requests of the one limit are on loan, and twenty wait for the other.
fn what_others_use_up_meanwhile_is_asked_for_as_well(on: On) {
    let quotas = json!([
        {"name": "all", "scope": "fleet", "requests": {"limit": 100, "per": "1h", "lease": 3}},
        {"name": "each", "key": ["tenant"], "scope": "fleet", "tokens": {"limit": 1000, "per": "1h", "lease": 0}},
    ]);
    let proxy = &mut *proxy(on, &config(quotas, webdis()), 1);
    let open = |proxy: &mut dyn Proxy, tenant: u32| {
        ask(proxy, 0, &[("x-tenant", &format!("t{tenant}"))], 10).0
    };
    let first = open(proxy, 0);
    let (asked_first, _) = question(proxy, 0);
    grant(proxy, 0, &asked_first, 96);
    assert!(is_sent(&proxy.later(first).expect("an end")));
    let streams: Vec<_> = (1..=20).map(|tenant| open(proxy, tenant)).collect();
    for (number, (question, lines)) in asked(proxy, 0).into_iter().enumerate() {
        // Three have the lease's requests set aside, and lack only tokens.
        assert_eq!(lines.len(), if number < 3 { 1 } else { 2 });
        grant(proxy, 0, &question, 900);
    }
    for stream in streams {
        assert!(is_sent(&proxy.later(stream).expect("an end")));
    }
    proxy.tick(0);
    assert_eq!(proxy.metric("junheng.quota.all.unasked"), 0);
}

fn tokens_that_are_estimated_anew_meanwhile_are_asked_for(on: On) {
    let mut config = tokens(10_000_000, 0);
    config["pools"][0]["models"] = json!(["m"]);
    let proxy = &mut *proxy(on, &config, 1);
    let messages = json!([{"role": "user", "content": "word ".repeat(4000)}]);
    let body = json!({"model": "m", "max_tokens": 100, "messages": messages}).to_string();
    let open = |proxy: &mut dyn Proxy| {
        let (stream, step) = chat_bytes(proxy, 0, body.as_bytes());
        assert_eq!(step, Step::Held);
        let (question, mut lines) = question(proxy, 0);
        (stream, question, lines.remove(0).want)
    };
    let (first, asked_first, _) = open(proxy);
    grant(proxy, 0, &asked_first, 9_000_000);
    assert!(is_sent(&proxy.later(first).expect("an end")));
    let (second, asked_second, want) = open(proxy);
    // The first one's prompt was more than was estimated.
    answer_using(proxy, first, 2 * want as u32, 100);
    grant(proxy, 0, &asked_second, 9_000_000);
    assert_eq!(proxy.later(second), None);
    let (again, more) = question(proxy, 0);
    assert!(
        (1..want).contains(&more[0].want),
        "{more:?} beside {want}, which lies set aside"
    );
    grant(proxy, 0, &again, 9_000_000);
    assert!(is_sent(&proxy.later(second).expect("an end")));
    proxy.tick(0);
    assert_eq!(proxy.metric("junheng.quota.team.unasked"), 0);
}

/// Also where those who waited have left: what they asked is still to be answered.
fn who_finds_no_place_to_wait_is_refused(on: On) {
    let proxy = &mut *proxy(on, &tokens(100_000_000, 0), 1);
    for client in 0..1024 {
        let stream = held(proxy, 0, 10);
        if client % 2 == 0 {
            proxy.close(stream);
        }
    }
    let (_, step) = ask(proxy, 0, &[], 10);
    assert_eq!(step.refused().error("code"), "limit_unavailable");
    let first = asked(proxy, 0).swap_remove(1).0;
    grant(proxy, 0, &first, 90_000);
    held(proxy, 0, 10_000);
}

fn a_request_without_a_body_waits_too(on: On) {
    let quota = json!([{"name": "all", "scope": "fleet", "requests": {"limit": 10, "per": "1h"}}]);
    let proxy = &mut *proxy(on, &config(quota, webdis()), 1);
    let get = [
        (":method", "GET"),
        (":path", "/v1/models"),
        (":authority", "test"),
    ];
    let (stream, step) = proxy.open(0, &get, true);
    assert_eq!(step, Step::Held);
    let (first, _) = question(proxy, 0);
    grant(proxy, 0, &first, 9);
    assert!(is_sent(&proxy.later(stream).expect("an end")));

    // A body that nobody reads comes while the headers wait.
    let put = [
        (":method", "PUT"),
        (":path", "/v1/files/1"),
        (":authority", "test"),
    ];
    let (stream, step) = proxy.open(0, &put, false);
    assert_eq!(step, Step::Held);
    assert_eq!(proxy.body(stream, b"some", false), Step::Held);
    assert_eq!(proxy.body(stream, b" more", true), Step::Held);
    let (second, _) = question(proxy, 0);
    grant(proxy, 0, &second, 8);
    let sent = proxy.later(stream).expect("an end").sent();
    assert_eq!(sent.body, b"some more");
}

fn a_rate_limit_service_is_asked_by_grpc(on: On) {
    let tokens = json!({"limit": 1000, "per": "1h"});
    let quota =
        json!([{"name": "each", "scope": "fleet", "key": ["tenant", "model"], "tokens": tokens}]);
    let engine = json!({"rate_limit_service": {"cluster": "rls", "domain": "chat"}});
    let proxy = &mut *proxy(on, &config(quota, engine), 1);
    let (stream, step) = ask(proxy, 0, &[("x-tenant", "acme")], 94);
    assert_eq!(step, Step::Held);
    let mut all = proxy.errands(0);
    assert_eq!(all.len(), 1);
    let asked = all.remove(0);
    assert_eq!(asked.cluster, "rls");
    assert_eq!(
        asked.path,
        "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit"
    );
    assert_eq!(asked.header("content-type"), "application/grpc");
    assert_eq!(asked.header("te"), "trailers");
    assert_eq!(asked.header(":authority"), "ratelimit");
    let said = String::from_utf8_lossy(&asked.body).into_owned();
    for name in [
        "chat", "limit", "each", "unit", "tokens", "tenant", "acme", "model", "m",
    ] {
        assert!(said.contains(name), "{name} in {said:?}");
    }
    // OK, one status: OK, a limit, 800 left.
    let ok = b"\0\0\0\0\x0b\x08\x01\x12\x07\x08\x01\x12\0\x18\xa0\x06";
    proxy.reply(0, &asked, 200, ok);
    assert!(is_sent(&proxy.later(stream).expect("an end")));
    answer_using(proxy, stream, INPUT, 44);
    // 50 are left over, and the protocol takes nothing back.
    let (_, step) = ask(proxy, 0, &[("x-tenant", "acme")], 44);
    assert!(is_sent(&step), "{step:?}");
    let (stream, step) = ask(proxy, 0, &[("x-tenant", "acme")], 44);
    assert_eq!(step, Step::Held);
    let asked = proxy.errands(0).remove(0);
    // OVER_LIMIT, one status: OVER_LIMIT, 2 s.
    let over = b"\0\0\0\0\x0a\x08\x02\x12\x06\x08\x02\x22\x02\x08\x02";
    proxy.reply(0, &asked, 200, over);
    let refused = proxy.later(stream).expect("an end").refused();
    assert_eq!(
        (refused.status, refused.retry_after.as_deref()),
        (429, Some("2"))
    );
}
