use std::rc::Rc;

use proptest::prelude::*;

use super::*;

fn id(key: u128) -> LoanId {
    LoanId {
        limit: 0,
        key: Key(key),
    }
}

fn nothing() -> Shared {
    Rc::new([])
}

fn at(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

/// As much as is on loan in most tests.
const KEEPS: Costs = [100; BUDGETS];

/// What an engine has lent of tokens, by the lines that it was told.
#[derive(Default)]
struct Engine {
    lent: i64,
    used: i64,
}

impl Engine {
    fn report(&mut self, line: &Line) {
        if line.budget == 1 {
            self.lent -= line.released as i64;
            self.used += line.used as i64;
        }
    }

    fn lend(&mut self, loans: &mut Loans, key: u128, want: u64, now: Instant) {
        let line = loans.line(id(key), 1, (want, 0), &nothing());
        self.report(&line);
        self.lent += want as i64;
        loans.grant(&line, want, None, now);
    }
}

#[test]
fn what_is_not_used_is_free_for_the_next_request() {
    let mut loans = Loans::default();
    Engine::default().lend(&mut loans, 1, 100, at(0));
    assert!(loans.take(id(1), &[0, 100], at(0)).is_some());
    assert!(!loans.covers(id(1), &[0, 1]));
    loans.settle(
        id(1),
        (&[0, 100], &[0, 30]),
        &KEEPS,
        &nothing(),
        (at(0), at(0)),
    );
    assert!(loans.covers(id(1), &[0, 70]));
    assert!(!loans.covers(id(1), &[0, 71]));
    assert!(!loans.covers(id(2), &[0, 1]));
    assert!(loans.covers(id(2), &[0, 0]));
}

#[test]
fn what_is_more_than_a_lease_goes_back_at_once_and_the_rest_when_it_is_idle() {
    let mut loans = Loans::default();
    Engine::default().lend(&mut loans, 1, 100, at(0));
    assert!(loans.take(id(1), &[0, 100], at(0)).is_some());
    loans.settle(
        id(1),
        (&[0, 100], &[0, 30]),
        &KEEPS,
        &nothing(),
        (at(0), at(0)),
    );
    let lines = loans.due(&|_| [20; 2], at(50));
    let told: Vec<_> = lines
        .iter()
        .map(|line| (line.released, line.used))
        .collect();
    assert_eq!(told, [(80, 30)]);
    assert!(loans.due(&|_| [20; 2], at(4999)).is_empty());
    let lines = loans.due(&|_| [20; 2], at(5000));
    let told: Vec<_> = lines
        .iter()
        .map(|line| (line.released, line.used))
        .collect();
    assert_eq!(told, [(20, 0)]);
    assert!(loans.due(&|_| [20; 2], at(9999)).is_empty());
}

#[test]
fn what_is_not_used_is_free_up_to_a_lease_and_the_rest_goes_back_on_the_tick() {
    let mut loans = Loans::default();
    Engine::default().lend(&mut loans, 1, 100, at(0));
    assert!(loans.take(id(1), &[0, 100], at(0)).is_some());
    let costs = (&[0, 100], &[0, 30]);
    loans.settle(id(1), costs, &[0, 20], &nothing(), (at(0), at(60_000)));
    assert!(loans.covers(id(1), &[0, 20]));
    assert!(!loans.covers(id(1), &[0, 21]), "it may have drained");
    let lines = loans.due(&|_| [20; 2], at(60_000));
    assert_eq!((lines[0].released, lines[0].used), (80, 30));
}

#[test]
fn what_is_set_aside_is_nobodys_until_it_is_put_back_as_old_as_it_was() {
    let mut loans = Loans::default();
    Engine::default().lend(&mut loans, 1, 100, at(0));
    let aside = loans.set_aside(id(1), &[7, 60], &nothing(), at(1));
    assert_eq!(aside.costs, [0, 60]);
    assert!(!loans.covers(id(1), &[0, 41]));
    let rest = loans.set_aside(id(1), &[0, 60], &nothing(), at(1));
    assert_eq!(rest.costs, [0, 40]);
    assert!(loans.due(&|_| [100; 2], at(5_000)).is_empty());
    assert!(loans.loans.is_empty());
    loans.put_back(&aside, at(5_001));
    loans.put_back(&rest, at(5_001));
    assert!(loans.covers(id(1), &[0, 100]));
    let again = loans.set_aside(id(1), &[0, 1], &nothing(), at(5_002));
    assert_eq!(again.since, at(0));
}

#[test]
fn what_was_used_beyond_is_told_at_once_and_again_if_nobody_heard_it() {
    let mut loans = Loans::default();
    Engine::default().lend(&mut loans, 1, 10, at(0));
    assert!(loans.take(id(1), &[0, 10], at(0)).is_some());
    loans.settle(
        id(1),
        (&[0, 10], &[0, 25]),
        &KEEPS,
        &nothing(),
        (at(0), at(0)),
    );
    let lines = loans.due(&|_| [100; 2], at(50));
    assert_eq!((lines[0].released, lines[0].used), (10, 25));
    loans.on_unreported(&lines[0], at(60));
    let lines = loans.due(&|_| [100; 2], at(100));
    assert_eq!((lines[0].released, lines[0].used), (0, 15));
}

#[test]
fn the_one_that_was_touched_least_lately_makes_room_and_is_reported() {
    let mut loans = Loans::default();
    let mut engine = Engine::default();
    for key in 0..MOST as u128 {
        engine.lend(&mut loans, key, 5, at(key as u64));
    }
    assert!(loans.take(id(0), &[0, 1], at(MOST as u64)).is_some());
    engine.lend(&mut loans, 1 << 100, 5, at(MOST as u64));
    assert_eq!(loans.loans.len(), MOST);
    assert!(loans.covers(id(0), &[0, 4]));
    assert!(!loans.covers(id(1), &[0, 1]));
    let lines = loans.due(&|_| [100; 2], at(MOST as u64));
    let told: Vec<_> = lines.iter().map(|line| (line.id, line.released)).collect();
    assert_eq!(told, [(id(1), 5)]);
}

#[test]
fn what_comes_back_after_its_loan_follows_it() {
    let mut loans = Loans::default();
    Engine::default().lend(&mut loans, 1, 100, at(0));
    assert!(loans.take(id(1), &[0, 90], at(0)).is_some());
    let lines = loans.due(&|_| [50; 2], at(5_000));
    assert_eq!((lines[0].released, lines[0].used), (10, 0));
    loans.settle(
        id(1),
        (&[0, 90], &[0, 30]),
        &KEEPS,
        &nothing(),
        (at(0), at(6_000)),
    );
    assert!(!loans.covers(id(1), &[0, 1]));
    let lines = loans.due(&|_| [50; 2], at(6_000));
    assert_eq!((lines[0].released, lines[0].used), (90, 30));
}

#[test]
fn nothing_lies_on_loan_longer_than_half_its_term() {
    let mut loans = Loans::default();
    Engine::default().lend(&mut loans, 1, 100, at(0));
    for second in (0..1_800).step_by(4) {
        assert!(loans.take(id(1), &[0, 0], at(second * 1_000)).is_some());
        assert!(loans.due(&|_| [100; 2], at(second * 1_000)).is_empty());
    }
    let lines = loans.due(&|_| [100; 2], at(1_800_000));
    assert_eq!((lines[0].released, lines[0].used), (100, 0));
}

#[test]
fn strangers_hold_no_more_memory_than_there_is_room_for() {
    let mut loans = Loans::default();
    for key in 0..3 * MOST as u128 {
        Engine::default().lend(&mut loans, key, 5, at(0));
    }
    assert_eq!((loans.loans.len(), loans.ousted.len()), (MOST, MOST_LINES));
    assert!(loans.due(&|_| [0; 2], at(0)).len() <= MOST_LINES + BUDGETS);
}

proptest! {
    /// However requests, reports and pauses follow each other, the engine's book is right once all is settled: everything that was
    /// used is told, and nothing stays lent.
    #[test]
    fn the_books_agree_in_the_end(
        steps in prop::collection::vec((0u128..3, 0u64..50, 0u64..80, 0u64..8000), 1..60),
    ) {
        let (mut loans, mut engine) = (Loans::default(), Engine::default());
        let (mut now, mut used_in_all) = (0, 0);
        let mut running = Vec::new();
        for (key, cost, used, pause) in steps {
            now += pause;
            if !loans.covers(id(key), &[0, cost]) {
                engine.lend(&mut loans, key, cost, at(now));
            }
            prop_assert!(loans.take(id(key), &[0, cost], at(now)).is_some());
            running.push((key, cost, used, now));
            if running.len() > 2 {
                let (key, cost, used, taken) = running.remove(0);
                loans.settle(id(key), (&[0, cost], &[0, used]), &KEEPS, &nothing(), (at(taken), at(now)));
                used_in_all += used as i64;
            }
            for line in loans.due(&|_| [10; 2], at(now)) {
                engine.report(&line);
            }
        }
        for (key, cost, used, taken) in running {
            loans.settle(id(key), (&[0, cost], &[0, used]), &KEEPS, &nothing(), (at(taken), at(now)));
            used_in_all += used as i64;
        }
        prop_assert!(now < 1_800_000);
        for line in loans.due(&|_| [0; 2], at(now + 5000)) {
            engine.report(&line);
        }
        prop_assert_eq!(engine.used, used_in_all);
        prop_assert_eq!(engine.lent, 0);
        prop_assert!(loans.loans.is_empty());
    }
}
