//! What an operator and a caller see of endpoints that are left out.

use std::time::Duration;

use serde_json::{Value, json};

use super::{BODY, config, fail_until_tripped, open};
use crate::on_both;
use crate::scenario::{On, Proxy, answer, chat_bytes, pass, proxy};

on_both! {
    each_change_is_one_line_with_its_reason
    failed_checks_are_told_with_their_answer
    a_caller_that_may_see_decisions_is_told_why_none_is_left
}

const ENDPOINT: &str = "10.0.0.1:80";

/// The lines about endpoints.
fn lines(proxy: &dyn Proxy) -> Vec<String> {
    let lines = proxy.logs().into_iter();
    lines.filter(|line| line.contains("endpoint ")).collect()
}

fn reason(proxy: &dyn Proxy) -> i64 {
    proxy.metric(&format!("junheng.endpoint.p.{ENDPOINT}.reason"))
}

fn each_change_is_one_line_with_its_reason(on: On) {
    let mut proxy = proxy(on, &config("round_robin", 2, json!({"pools": ["p"]})), 2);
    pass(&mut *proxy, 0..2, Duration::from_millis(100));
    assert!(lines(&*proxy).is_empty());
    fail_until_tripped(&mut *proxy, ENDPOINT);
    pass(&mut *proxy, 0..2, Duration::from_secs(2));
    assert_eq!(reason(&*proxy), 1);
    pass(&mut *proxy, 0..2, Duration::from_secs(29));
    let (probe, order) = open(&mut *proxy, 0);
    assert_eq!(order[0], ENDPOINT);
    answer(&mut *proxy, probe, 200);
    pass(&mut *proxy, 0..2, Duration::from_secs(62));
    assert_eq!(reason(&*proxy), 0);
    let told = |what: &str| format!("junheng: pool p: endpoint {ENDPOINT} {what}");
    assert_eq!(
        lines(&*proxy),
        [
            told("left out: 5 requests or more failed in a row, the last with status 500"),
            told("is back: its probe was answered; its share grows for 60 s"),
            told("takes its whole share again"),
        ]
    );
}

fn checked(endpoints: usize) -> Value {
    let mut document = config("round_robin", endpoints, json!({"pools": ["p"]}));
    let health = json!({"check": {"interval": "1s", "timeout": "500ms"}});
    document["pools"][0]["health"] = health;
    document["decision_header"] = json!({"callers": "all"});
    document
}

/// Lets time pass in which checks of `failing` are answered with `status`, and all others well.
fn check(proxy: &mut dyn Proxy, failing: &[&str], status: u16, seconds: u64) {
    for _ in 0..seconds * 20 {
        pass(proxy, 0..2, Duration::from_millis(50));
        for worker in 0..2 {
            for asked in proxy.errands(worker) {
                let fails = failing.contains(&asked.endpoint.as_str());
                proxy.reply(worker, &asked, if fails { status } else { 200 }, b"");
            }
        }
    }
}

fn failed_checks_are_told_with_their_answer(on: On) {
    let mut proxy = proxy(on, &checked(2), 2);
    check(&mut *proxy, &[ENDPOINT], 500, 5);
    assert_eq!(reason(&*proxy), 5);
    check(&mut *proxy, &[], 500, 4);
    let told = |what: &str| format!("junheng: pool p: endpoint {ENDPOINT} {what}");
    assert_eq!(
        lines(&*proxy),
        [
            told("left out: GET /health answered 500 three times"),
            told("is back: its checks pass; its share grows for 60 s"),
        ]
    );
}

fn a_caller_that_may_see_decisions_is_told_why_none_is_left(on: On) {
    for shown in [true, false] {
        let mut document = checked(3);
        if !shown {
            document["decision_header"] = json!({"callers": "none"});
        }
        let mut proxy = proxy(on, &document, 2);
        let sick = ["10.0.0.2:80", "10.0.0.3:80"];
        check(&mut *proxy, &sick, 500, 5);
        for request in 0..5 {
            let (stream, order) = open(&mut *proxy, request % 2);
            assert_eq!(order, [ENDPOINT]);
            proxy.respond_for(stream, 503, 1);
            proxy.close(stream);
        }
        check(&mut *proxy, &sick, 500, 1);
        let (stream, step) = chat_bytes(&mut *proxy, 0, BODY);
        let refused = step.refused();
        proxy.close(stream);
        assert_eq!(
            (refused.status, refused.error("code")),
            (503, "no_endpoint")
        );
        let why = "No endpoint can take the request at the moment (2 unhealthy, 1 tripped); \
                   try again later.";
        assert_eq!(refused.error("message") == why, shown, "{refused:?}");
        assert_eq!(refused.error("message").contains("unhealthy"), shown);
    }
}
