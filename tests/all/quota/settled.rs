//! When what was reserved is settled: for the same worker, for others, and where the configuration is replaced.

use std::time::Duration;

use super::{INPUT, answer_using, ask, config, is_sent, left, number, tokens};
use crate::on_both;
use crate::scenario::{On, Proxy, Step, Wasm, pass, proxy};

on_both! {
    after_drain_the_bucket_is_the_limit_less_what_was_used
    what_was_not_used_is_there_for_the_same_worker_at_once_and_for_others_on_the_tick
    much_that_was_not_used_is_there_for_all_workers_at_once
    a_reservation_takes_along_what_was_settled_before
    what_was_used_beyond_is_gone_for_all_workers_at_once
}

/// Asks for all of a limit of 1000 tokens.
fn all(proxy: &mut dyn Proxy, worker: usize) -> Step {
    ask(proxy, worker, &[], 1000 - INPUT).1
}

fn after_drain_the_bucket_is_the_limit_less_what_was_used(on: On) {
    let proxy = &mut *proxy(on, &config(tokens(10_000)), 2);
    let used = [(7, 0), (3, 100), (6, 41), (12, 100), (1, 1)];
    let open: Vec<_> = (0..used.len())
        .map(|at| ask(proxy, at % 2, &[], 100).0)
        .collect();
    for (stream, (input, output)) in open.into_iter().zip(used) {
        answer_using(proxy, stream, input, output);
    }
    pass(proxy, 0..2, Duration::from_millis(50));
    assert_eq!(left(proxy), 10_000 - 271);
    assert_eq!(proxy.metric("junheng.quota.team.tokens"), 271);
    assert_eq!(proxy.metric("junheng.quota.team.estimated"), 0);
}

/// Requests on worker 0 that reserve each of `costs`, all at once, and cost nothing in the end.
fn give_back(proxy: &mut dyn Proxy, costs: &[u32]) {
    let ask = |cost: &u32| ask(proxy, 0, &[], cost - INPUT).0;
    let open: Vec<_> = costs.iter().map(ask).collect();
    for stream in open {
        proxy.respond(stream, 500, 1);
        proxy.close(stream);
    }
}

fn what_was_not_used_is_there_for_the_same_worker_at_once_and_for_others_on_the_tick(on: On) {
    for ticks in [false, true] {
        let proxy = &mut *proxy(on, &config(tokens(1000)), 2);
        give_back(proxy, &[62]);
        if ticks {
            proxy.tick(0);
        }
        assert_eq!(is_sent(&all(proxy, 1)), ticks);
        assert_eq!(is_sent(&all(proxy, 0)), !ticks);
    }
}

/// A sixteenth of the burst, at once or bit by bit: who is refused for it is told a wait that is as much too long.
fn much_that_was_not_used_is_there_for_all_workers_at_once(on: On) {
    for parts in [&[63][..], &[1000], &[40, 40]] {
        let proxy = &mut *proxy(on, &config(tokens(1000)), 2);
        give_back(proxy, parts);
        assert!(is_sent(&all(proxy, 1)), "{parts:?}");
    }
}

fn a_reservation_takes_along_what_was_settled_before(on: On) {
    let proxy = &mut *proxy(on, &config(tokens(1000)), 2);
    let (stream, _) = ask(proxy, 0, &[], 44);
    answer_using(proxy, stream, INPUT, 4);
    assert!(is_sent(&ask(proxy, 0, &[], 94).1));
    for _ in 0..2 {
        let refused = all(proxy, 1).refused();
        assert_eq!(
            number(&refused.headers, "x-ratelimit-remaining-tokens"),
            1000 - (INPUT + 4) - (INPUT + 94)
        );
        // It is not settled twice.
        proxy.tick(0);
    }
}

fn what_was_used_beyond_is_gone_for_all_workers_at_once(on: On) {
    let proxy = &mut *proxy(on, &config(tokens(1000)), 2);
    let (stream, _) = ask(proxy, 0, &[], 4);
    answer_using(proxy, stream, INPUT, 994);
    let (_, step) = ask(proxy, 1, &[], 4);
    assert_eq!(step.refused().error("code"), "rate_limit_exceeded");
}

#[test]
fn a_configuration_that_is_replaced_settles_what_it_had_reserved() {
    let config = config(tokens(1000));
    let proxy = &mut Wasm::new(&config, 2);
    let ended = ask(proxy, 0, &[], 44).0;
    let goes_on = ask(proxy, 0, &[], 44).0;
    answer_using(proxy, ended, INPUT, 4);
    proxy.replace(&config);
    let remaining = |proxy: &mut dyn Proxy| {
        let refused = all(proxy, 1).refused();
        number(&refused.headers, "x-ratelimit-remaining-tokens")
    };
    assert_eq!(remaining(proxy), 1000 - (INPUT + 4) - (INPUT + 44));
    answer_using(proxy, goes_on, INPUT, 4);
    assert_eq!(remaining(proxy), 1000 - 2 * (INPUT + 4));
}
