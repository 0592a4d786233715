//! What a worker has on loan of the fleet's limits: what it asks for, what of that serves the next request, and what goes back.

use std::time::Duration;

use serde_json::json;

use super::super::{INPUT, answer_using, ask, is_sent};
use super::{asked, config, grant, held, question, say, tokens, webdis};
use crate::on_both;
use crate::scenario::{On, Step, pass, proxy};

on_both! {
    what_is_on_loan_is_not_asked_for
    what_was_not_used_goes_back
    what_was_used_beyond_is_reported
    what_a_limit_does_not_count_is_not_reported
    a_client_that_leaves_meanwhile_leaves_its_grant_behind
    workers_have_loans_of_their_own
    callers_have_loans_of_their_own
    however_many_ask_at_once_a_worker_takes_one_lease
    only_what_lacks_is_asked_for_and_no_lease_on_top_of_another
    what_was_set_aside_in_vain_serves_the_next_request
}

fn what_is_on_loan_is_not_asked_for(on: On) {
    let proxy = &mut *proxy(on, &tokens(100_000, 1_000), 1);
    let first = held(proxy, 0, 94);
    let (question, _) = question(proxy, 0);
    grant(proxy, 0, &question, 50_000);
    assert!(is_sent(&proxy.later(first).expect("an end")));
    for _ in 0..10 {
        let (stream, step) = ask(proxy, 0, &[], 94);
        assert!(is_sent(&step), "{step:?}");
        answer_using(proxy, stream, INPUT, 94);
    }
    assert!(asked(proxy, 0).is_empty());
    // All is used now; what was is told with the next question.
    held(proxy, 0, 94);
    let (_, lines) = super::question(proxy, 0);
    assert_eq!((lines[0].released, lines[0].used), (1_000, 1_000));
    assert_eq!(proxy.metric("junheng.quota_engine.asked"), 0);
    proxy.tick(0);
    assert_eq!(proxy.metric("junheng.quota_engine.asked"), 2);
}

fn what_was_not_used_goes_back(on: On) {
    let proxy = &mut *proxy(on, &tokens(100_000, 20), 1);
    let stream = held(proxy, 0, 4_096);
    let (question, _) = question(proxy, 0);
    grant(proxy, 0, &question, 50_000);
    assert!(is_sent(&proxy.later(stream).expect("an end")));
    answer_using(proxy, stream, INPUT, 96);
    pass(proxy, [0], Duration::from_millis(50));
    let (report, lines) = super::question(proxy, 0);
    assert_eq!((lines[0].want, lines[0].ahead), (0, 0));
    // Of what it had taken 4000 were not used; a lease stays here.
    assert_eq!((lines[0].released, lines[0].used), (4_102, 102));
    grant(proxy, 0, &report, 0);
    pass(proxy, [0], Duration::from_millis(4_900));
    assert!(asked(proxy, 0).is_empty());
    pass(proxy, [0], Duration::from_millis(100));
    let (_, lines) = super::question(proxy, 0);
    assert_eq!((lines[0].released, lines[0].used), (20, 0));
}

fn what_was_used_beyond_is_reported(on: On) {
    let proxy = &mut *proxy(on, &tokens(100_000, 0), 1);
    let stream = held(proxy, 0, 10);
    let (question, _) = question(proxy, 0);
    grant(proxy, 0, &question, 50_000);
    assert!(is_sent(&proxy.later(stream).expect("an end")));
    answer_using(proxy, stream, INPUT, 500);
    pass(proxy, [0], Duration::from_millis(50));
    let (report, lines) = super::question(proxy, 0);
    assert_eq!(
        (lines[0].released, lines[0].used),
        (u64::from(INPUT) + 10, u64::from(INPUT) + 500)
    );
    // Nobody heard it.
    proxy.reply(0, &report, 503, b"");
    pass(proxy, [0], Duration::from_millis(1_100));
    let (_, lines) = super::question(proxy, 0);
    assert_eq!((lines[0].released, lines[0].used), (0, 490));
}

fn what_a_limit_does_not_count_is_not_reported(on: On) {
    let requests = json!({"limit": 10, "per": "1h", "lease": 0});
    let quota = json!([{"name": "all", "scope": "fleet", "requests": requests}]);
    let proxy = &mut *proxy(on, &config(quota, webdis()), 1);
    let stream = held(proxy, 0, 94);
    let (first, lines) = question(proxy, 0);
    assert_eq!((lines.len(), lines[0].want), (1, 1));
    grant(proxy, 0, &first, 9);
    assert!(is_sent(&proxy.later(stream).expect("an end")));
    answer_using(proxy, stream, INPUT, 500);
    pass(proxy, [0], Duration::from_secs(5));
    let (_, lines) = question(proxy, 0);
    assert_eq!(lines.len(), 1);
    assert_eq!((lines[0].released, lines[0].used), (1, 1));
}

fn a_client_that_leaves_meanwhile_leaves_its_grant_behind(on: On) {
    let proxy = &mut *proxy(on, &tokens(100_000, 0), 1);
    let stream = held(proxy, 0, 94);
    let (question, _) = question(proxy, 0);
    proxy.close(stream);
    grant(proxy, 0, &question, 50_000);
    let (_, step) = ask(proxy, 0, &[], 94);
    assert!(is_sent(&step), "{step:?}");
    assert!(asked(proxy, 0).is_empty());
}

fn workers_have_loans_of_their_own(on: On) {
    let proxy = &mut *proxy(on, &tokens(100_000, 1_000), 2);
    for worker in 0..2 {
        let stream = held(proxy, worker, 10);
        let (question, lines) = question(proxy, worker);
        assert_eq!(lines[0].ahead, 1_000);
        grant(proxy, worker, &question, 100);
        assert!(is_sent(&proxy.later(stream).expect("an end")));
    }
}

fn callers_have_loans_of_their_own(on: On) {
    let tokens = json!({"limit": 1000, "per": "1h", "lease": 500});
    let quota = json!([{"name": "each", "scope": "fleet", "key": ["tenant"], "tokens": tokens}]);
    let proxy = &mut *proxy(on, &config(quota, webdis()), 1);
    let mut keys = Vec::new();
    for tenant in ["acme", "globex"] {
        let (stream, step) = ask(proxy, 0, &[("x-tenant", tenant)], 10);
        assert_eq!(step, Step::Held);
        let (question, lines) = question(proxy, 0);
        keys.push(lines[0].key.clone());
        grant(proxy, 0, &question, 100);
        assert!(is_sent(&proxy.later(stream).expect("an end")));
        assert!(is_sent(&ask(proxy, 0, &[("x-tenant", tenant)], 10).1));
    }
    assert_ne!(keys[0], keys[1]);
    assert!(!keys[0].contains("acme"), "{keys:?}");
}

fn however_many_ask_at_once_a_worker_takes_one_lease(on: On) {
    let proxy = &mut *proxy(on, &tokens(100_000, 1_000), 1);
    let streams = [0; 3].map(|_| held(proxy, 0, 10));
    let questions = asked(proxy, 0);
    let ahead: Vec<u64> = questions.iter().map(|(_, lines)| lines[0].ahead).collect();
    assert_eq!(ahead, [1_000, 0, 0]);
    for ((question, _), stream) in questions.iter().zip(streams) {
        grant(proxy, 0, question, 50_000);
        assert!(is_sent(&proxy.later(stream).expect("an end")));
    }
}

fn only_what_lacks_is_asked_for_and_no_lease_on_top_of_another(on: On) {
    let quota = json!([{"name": "all", "scope": "fleet", "requests": {"limit": 100, "per": "1h", "lease": 0},
        "tokens": {"limit": 100_000, "per": "1h", "lease": 500}}]);
    let proxy = &mut *proxy(on, &config(quota, webdis()), 1);
    for wants in [&[(1, 0), (16, 500)][..], &[(1, 0)], &[(1, 0)]] {
        let stream = held(proxy, 0, 10);
        let (question, lines) = question(proxy, 0);
        let asked: Vec<_> = lines.iter().map(|line| (line.want, line.ahead)).collect();
        assert_eq!(asked, wants);
        grant(proxy, 0, &question, 90);
        assert!(is_sent(&proxy.later(stream).expect("an end")));
    }
}

fn what_was_set_aside_in_vain_serves_the_next_request(on: On) {
    for (status, refusal) in [(200, true), (503, false)] {
        let proxy = &mut *proxy(on, &tokens(1000, 100), 1);
        let first = held(proxy, 0, 10);
        let (asked_first, _) = question(proxy, 0);
        grant(proxy, 0, &asked_first, 884);
        assert!(is_sent(&proxy.later(first).expect("an end")));
        let dear = held(proxy, 0, 100);
        let (asked_second, lines) = question(proxy, 0);
        assert_eq!((lines[0].want, lines[0].ahead), (6, 100));
        // Nobody else can use it up meanwhile.
        let third = held(proxy, 0, 10);
        let (asked_third, lines) = question(proxy, 0);
        assert_eq!((lines[0].want, lines[0].ahead), (16, 0));
        let refused = say(&asked_second, &[-1, 3_600_000, 0, 0, 0]);
        let said: &[u8] = if refusal { &refused } else { b"" };
        proxy.reply(0, &asked_second, status, said);
        let step = proxy.later(dear).expect("an end");
        assert_eq!(is_sent(&step), !refusal, "by its on_error");
        assert!(is_sent(&ask(proxy, 0, &[], 94).1), "the lease is there");
        grant(proxy, 0, &asked_third, 0);
        assert!(is_sent(&proxy.later(third).expect("an end")));
    }
}
