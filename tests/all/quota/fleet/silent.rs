//! What becomes of requests while the engine does not answer, or answers nonsense.

use std::time::Duration;

use serde_json::json;

use super::super::{ask, is_sent};
use super::{asked, config, grant, held, question, tokens, webdis};
use crate::on_both;
use crate::scenario::{On, Step, pass, proxy};

on_both! {
    what_is_on_loan_serves_without_an_engine
    without_an_answer_limits_go_by_their_on_error
    an_engine_that_failed_is_left_alone_for_a_second
    an_answer_that_never_comes_is_given_up
}

fn without_an_answer_limits_go_by_their_on_error(on: On) {
    for (status, body) in [
        (503, &b""[..]),
        (504, b"upstream request timeout"),
        (
            200,
            br#"{"EVAL":[false,"ERR max number of clients reached"]}"#,
        ),
        (200, b"garbage"),
        // Another question's.
        (200, br#"{"EVAL":["0123456789abcdef",106,0,0,0,0]}"#),
    ] {
        for on_error in ["allow", "deny", "local"] {
            let tokens = json!({"limit": 120, "per": "1h", "lease": 0});
            let quota =
                json!([{"name": "team", "scope": "fleet", "on_error": on_error, "tokens": tokens}]);
            let proxy = &mut *proxy(on, &config(quota, webdis()), 1);
            let stream = held(proxy, 0, 100);
            let (question, _) = question(proxy, 0);
            proxy.reply(0, &question, status, body);
            let first = proxy.later(stream).expect("an end of the wait");
            let (_, second) = ask(proxy, 0, &[], 100);
            let code = |step: Step| match step {
                Step::Forwarded(_) => "sent".to_owned(),
                Step::Refused(refused) => format!("{} {}", refused.status, refused.error("code")),
                Step::Held => "held".to_owned(),
            };
            let expected = match on_error {
                "allow" => ["sent", "sent"],
                "deny" => ["503 limit_unavailable"; 2],
                _ => ["sent", "429 rate_limit_exceeded"],
            };
            assert_eq!(
                [code(first), code(second)],
                expected,
                "{on_error} at {status}"
            );
            proxy.tick(0);
            assert_eq!(proxy.metric("junheng.quota_engine.failed"), 1);
            assert_eq!(proxy.metric("junheng.quota.team.unasked"), 2);
        }
    }
}

fn what_is_on_loan_serves_without_an_engine(on: On) {
    let quotas = json!([
        {"name": "all", "scope": "fleet", "on_error": "deny", "requests": {"limit": 9, "per": "1h", "lease": 1}},
        {"name": "each", "key": ["tenant"], "scope": "fleet", "on_error": "allow", "tokens": {"limit": 1000, "per": "1h", "lease": 0}},
    ]);
    let proxy = &mut *proxy(on, &config(quotas, webdis()), 1);
    let first = held(proxy, 0, 10);
    let (question, _) = question(proxy, 0);
    grant(proxy, 0, &question, 7);
    assert!(is_sent(&proxy.later(first).expect("an end")));
    for (tenant, expected) in [("acme", true), ("globex", false)] {
        let (stream, step) = ask(proxy, 0, &[("x-tenant", tenant)], 10);
        let step = match step {
            Step::Held => {
                let (question, _) = super::question(proxy, 0);
                proxy.reply(0, &question, 503, b"");
                proxy.later(stream).expect("an end")
            }
            step => step,
        };
        assert_eq!(is_sent(&step), expected, "{tenant}");
    }
}

fn an_engine_that_failed_is_left_alone_for_a_second(on: On) {
    let proxy = &mut *proxy(on, &tokens(10_000, 0), 1);
    held(proxy, 0, 10);
    let (question, _) = question(proxy, 0);
    proxy.reply(0, &question, 503, b"");
    proxy.advance(Duration::from_millis(999));
    assert!(is_sent(&ask(proxy, 0, &[], 10).1));
    proxy.advance(Duration::from_millis(1));
    // One tries it again, and the others do not wait for that.
    let tries = held(proxy, 0, 10);
    assert!(is_sent(&ask(proxy, 0, &[], 10).1));
    let (question, _) = super::question(proxy, 0);
    grant(proxy, 0, &question, 100);
    assert!(is_sent(&proxy.later(tries).expect("an end")));
    held(proxy, 0, 10);
    held(proxy, 0, 10);
    assert_eq!(asked(proxy, 0).len(), 2);
}

fn an_answer_that_never_comes_is_given_up(on: On) {
    let proxy = &mut *proxy(on, &tokens(10_000, 0), 1);
    let stream = held(proxy, 0, 10);
    let (question, _) = question(proxy, 0);
    pass(proxy, [0], Duration::from_millis(1150));
    assert_eq!(proxy.later(stream), None);
    pass(proxy, [0], Duration::from_millis(100));
    assert!(is_sent(&proxy.later(stream).expect("an end of the wait")));
    // Should it come after all, it is nobody's.
    grant(proxy, 0, &question, 100);
    assert_eq!(proxy.later(stream), None);
}
