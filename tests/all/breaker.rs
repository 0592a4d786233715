//! The breaker in a process of several workers: against a plain reference model over many random
//! histories, and one probe for any number of simultaneous arrivals.
//!
//! `JUNHENG_TRACES` sets how many histories; a million take about a minute.

mod process;
mod reference;
mod trace;

use std::time::Duration;

use junheng::health::{Caller, Failure, Outcome, Proof, Rules, Standing};
use junheng::values::{clock::Instant, rng::Rng};

use process::{Input, Shared, Step, arrive};
use trace::{Coverage, Trace};

#[test]
fn random_histories_go_as_a_plain_model_says() {
    let traces = std::env::var("JUNHENG_TRACES").map_or(20_000, |traces| {
        traces.parse().expect("JUNHENG_TRACES is a number")
    });
    let mut seen = Coverage::default();
    for seed in 0..traces {
        Trace::new(seed).run(&mut seen);
    }
    println!("{traces} traces: {seen:?}");
    let least = [
        seen.stores_lost,
        seen.tripped,
        seen.ramping,
        seen.overloaded,
        seen.unavailable,
        seen.available,
        seen.probes_replaced,
        seen.probes_too_late,
        seen.probes_given_back,
        seen.counter_restarts,
    ];
    assert!(least.iter().all(|&times| times > traces / 100), "{seen:?}");
}

#[test]
fn a_thousand_simultaneous_arrivals_over_eight_workers_let_one_probe_through() {
    let rules = Rules::default();
    for seed in 0..20 {
        let mut rng = Rng::new(seed);
        let mut shared = tripped(&rules);
        let mut at = |seconds: u64| {
            let now = Instant::from_nanos(seconds * 1_000_000_000);
            arrive(&mut shared, &rules, now, (8, 125), &mut rng).len()
        };
        assert_eq!(at(129), 0, "tripped");
        assert_eq!(at(130), 1);
        assert_eq!(at(159), 0, "the probe may still come back");
        assert_eq!(at(160), 1, "a lost probe is replaced after thirty seconds");
    }
}

#[test]
fn a_probe_that_was_not_stored_was_not_sent() {
    let rules = Rules::default();
    let mut shared = tripped(&rules);
    let now = Instant::from_nanos(130_000_000_000);
    let [first, second] =
        [0, 1].map(|_| Step::take(Input::Probe(Caller(1)), &rules, now, &shared, 0));
    assert_eq!(first.outcome, second.outcome, "each believes it is the one");
    assert!(second.store(&mut shared));
    assert!(!first.store(&mut shared));
    let again = Step::take(Input::Probe(Caller(1)), &rules, now, &shared, 0);
    assert_eq!(again.outcome, Outcome::Unchanged);
}

/// An endpoint that tripped at 100 s.
fn tripped(rules: &Rules) -> Shared {
    let mut shared = Shared::new();
    let now = Instant::from_nanos(100_000_000_000);
    let failed = Input::Failed(Failure {
        placed: now,
        caller: Caller(1),
        proof: Proof::ServedElsewhere,
        status: 500,
    });
    for _ in 0..5 {
        assert!(Step::take(failed, rules, now, &shared, 0).store(&mut shared));
    }
    let later = now.after(Duration::from_secs(30));
    let (state, _) = shared.read();
    assert_eq!(state.standing(rules, later), Standing::DueForProbe);
    shared
}
