use std::collections::BTreeMap;

use super::*;
use crate::config::Budget;
use crate::values::rng::Rng;

const HOUR: Duration = Duration::from_secs(3600);
const START: Instant = Instant::from_nanos(1 << 40);

fn rates(requests: Option<u32>, tokens: Option<u32>) -> Rates {
    [requests, tokens].map(|limit| {
        limit.map(|limit| {
            Rate::of(&Budget {
                limit,
                per: HOUR,
                burst: limit,
                lease: 0,
            })
        })
    })
}

/// A table as the store keeps it.
struct Kept {
    table: Table,
    rates: Rates,
    sets: BTreeMap<u32, Vec<u8>>,
}

impl Kept {
    fn new(table: Table, rates: Rates) -> Kept {
        let sets = (0..table.sets()).map(|set| (set, table.empty())).collect();
        Kept { table, rates, sets }
    }

    fn reserve(&mut self, key: u128, costs: Costs, now: Instant) -> Reserved {
        let set = self.table.set_of(Key(key));
        let (new, reserved) =
            self.table
                .reserve(&self.sets[&set], &self.rates, Key(key), &costs, now);
        if let Some(new) = new {
            assert_eq!(new.len(), self.sets[&set].len(), "a set grew");
            self.sets.insert(set, new);
        }
        reserved
    }

    fn settle(&mut self, key: u128, (place, holds): (Place, Holds), used: Costs, now: Instant) {
        let set = self.table.set_of(Key(key));
        let new = self.table.settle(
            &self.sets[&set],
            &self.rates,
            (Key(key), place, holds),
            &used,
            now,
        );
        self.sets.insert(set, new);
    }
}

#[test]
fn both_budgets_are_taken_or_none() {
    let mut kept = Kept::new(Table::SINGLE, rates(Some(10), Some(100)));
    let first = kept.reserve(1, [1, 80], START);
    assert!(first.outcome.is_ok());
    assert_eq!(first.left.map(|left| left.unwrap().units), [9, 20]);
    let second = kept.reserve(2, [1, 30], START);
    assert_eq!(second.outcome, Err((1, Refused::After(HOUR / 10))));
    assert_eq!(second.left, first.left, "without a key all are one");
}

#[test]
fn a_million_strange_keys_take_nothing_from_a_caller_and_give_it_nothing() {
    let table = Table::of(64);
    let mut kept = Kept::new(table, rates(None, Some(100)));
    let mut rng = Rng::new(9);
    let mut key = || u128::from(rng.bits()) << 64 | u128::from(rng.bits());
    let tenant = key();
    assert!(kept.reserve(tenant, [0, 90], START).outcome.is_ok());
    for _ in 0..1_000_000 {
        kept.reserve(key(), [0, 1], START);
    }
    assert_eq!(kept.sets.len(), table.sets() as usize);
    let mut more = 0;
    while kept.reserve(tenant, [0, 1], START).outcome.is_ok() {
        more += 1;
    }
    assert_eq!(more, 10, "the tenant has what it had");
    // Each of the strangers that has no way of its own shares what one may take.
    let mut shared = 0;
    for _ in 0..10_000 {
        shared += u32::from(kept.reserve(key(), [0, 1], START).outcome.is_ok());
    }
    assert_eq!(shared, 0);
}

#[test]
fn who_owes_in_the_overflow_gets_no_fresh_bucket() {
    let mut kept = Kept::new(Table::of(1), rates(None, Some(100)));
    let mut places = Vec::new();
    for stranger in 1..=8u128 {
        places.push(kept.reserve(stranger, [0, 1], START).outcome.unwrap());
    }
    assert!(kept.reserve(99, [0, 100], START).outcome.is_ok());
    // All strangers' buckets are full again: ways are free, but the overflow is not.
    let later = START.after(HOUR / 2);
    assert_eq!(
        kept.reserve(99, [0, 51], later).outcome,
        Err((1, Refused::After(HOUR / 100)))
    );
    let last = START.after(HOUR);
    let (place, _) = kept.reserve(99, [0, 100], last).outcome.unwrap();
    assert_ne!(place, Place(8), "now it has one of its own");
}

#[test]
fn a_hold_in_a_place_that_was_given_away_gives_nothing_back() {
    let mut kept = Kept::new(Table::of(1), rates(None, Some(100)));
    let held = kept.reserve(1, [0, 100], START).outcome.unwrap();
    let later = START.after(HOUR);
    kept.reserve(2, [0, 60], later).outcome.unwrap();
    kept.settle(1, held, [0, 0], later);
    assert_eq!(kept.reserve(2, [0, 0], later).left[1].unwrap().units, 40);
    // What it used beyond its hold is its own debt, not the other's.
    kept.settle(1, held, [0, 170], later);
    assert_eq!(kept.reserve(2, [0, 0], later).left[1].unwrap().units, 40);
    assert_eq!(kept.reserve(1, [0, 0], later).left[1].unwrap().units, 30);
}

#[test]
fn a_value_of_another_shape_is_an_empty_one() {
    let table = Table::of(1);
    let (_, reserved) = table.reserve(b"what?", &rates(Some(5), None), Key(3), &[1, 0], START);
    assert!(reserved.outcome.is_ok());
}

/// Its way has gone to another caller, and the caller has another by now, with a reservation of its own there.
#[test]
fn a_hold_that_has_drained_wins_no_refund_in_another_bucket() {
    let rate = Rate::of(&Budget {
        limit: 100,
        per: Duration::from_secs(1),
        burst: 100,
        lease: 0,
    });
    let mut kept = Kept::new(Table::of(8), [None, Some(rate)]);
    let later = START.after(Duration::from_secs(1));
    let first = kept.reserve(1, [1, 100], START).outcome.unwrap();
    kept.reserve(2, [1, 100], later).outcome.unwrap();
    kept.reserve(1, [1, 100], later).outcome.unwrap();
    assert!(kept.reserve(1, [1, 100], later).outcome.is_err());
    kept.settle(1, first, [0, 0], later);
    assert!(kept.reserve(1, [1, 100], later).outcome.is_err());
}
