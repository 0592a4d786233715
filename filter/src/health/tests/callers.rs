//! Whose failures they are, and what they prove.

use crate::values::units::Share;

use super::*;

/// An endpoint that has served `served`, and whose requests are now sent by caller 1.
fn serving(served: u32, proof: Proof) -> World {
    let mut world = World::new();
    world.caller = Caller(served);
    world.succeed(1_000);
    (world.caller, world.proof) = (Caller(1), proof);
    world
}

#[test]
fn one_callers_row_does_not_trip_an_endpoint_that_serves_others() {
    let mut world = serving(2, Proof::Unopposed);
    assert_eq!(world.fail(1_000), Outcome::Counted);
    let mut world = serving(2, Proof::ServedElsewhere);
    assert_eq!(world.fail(1_000), Outcome::Counted);
    let mut world = serving(2, Proof::ServedElsewhere);
    world.wait(61.0);
    assert_eq!(world.fail(19), Outcome::Counted);
    assert_eq!(
        world.fail(1),
        Outcome::Tripped,
        "four times five, proven, and no other was served for a minute"
    );
}

#[test]
fn one_callers_share_does_not_trip_an_endpoint_that_serves_others() {
    for proof in [Proof::Unopposed, Proof::ServedElsewhere] {
        let mut world = serving(2, proof);
        for _ in 0..1_000 {
            world.succeed(2);
            assert_eq!(world.fail(1), Outcome::Counted);
        }
        // Another caller's failures count, and with them some of the first one's.
        world.caller = Caller(3);
        let mut trips = 0;
        for _ in 0..2_000 {
            world.succeed(2);
            trips += u32::from(world.fail(1) == Outcome::Tripped);
        }
        assert_eq!(trips, 1, "{proof:?}");
    }
}

#[test]
fn one_callers_refusals_do_not_rest_an_endpoint_that_serves_others() {
    let mut world = serving(2, Proof::Unopposed);
    for _ in 0..5 {
        world.overload(Some(60));
        assert_eq!(world.standing(), Standing::In(Share::WHOLE));
    }
    world.caller = Caller(2);
    assert_eq!(world.overload(Some(5)), Outcome::Overloaded);
    assert_eq!(world.standing(), out(Why::Resting, 1_005.0));
}

#[test]
fn a_row_of_two_callers_trips_at_the_fifth() {
    for proof in [Proof::Unopposed, Proof::ServedElsewhere] {
        let mut world = serving(3, proof);
        world.fail(3);
        world.caller = Caller(2);
        assert_eq!(world.fail(1), Outcome::Counted);
        assert_eq!(world.fail(1), Outcome::Tripped);
    }
}

#[test]
fn the_only_caller_trips_at_the_fifth() {
    for proof in [Proof::Unopposed, Proof::ServedElsewhere, Proof::Unreached] {
        let mut world = serving(1, proof);
        assert_eq!(world.fail(5), Outcome::Tripped);
        let mut fresh = World::new();
        fresh.proof = proof;
        assert_eq!(fresh.fail(5), Outcome::Tripped);
    }
}

#[test]
fn what_was_not_reached_trips_whoever_asked() {
    assert_eq!(serving(2, Proof::Unreached).fail(5), Outcome::Tripped);
}

#[test]
fn half_of_all_requests_that_fail_by_themselves_do_not_trip() {
    for (served, of_two) in [(1, false), (2, false), (2, true)] {
        let mut world = serving(served, Proof::Unopposed);
        for request in 0..10_000u32 {
            world.wait(0.1);
            world.caller = Caller(if of_two && request % 2 == 0 {
                served
            } else {
                1
            });
            world.succeed(1);
            world.caller = Caller(1);
            world.fail(1);
        }
        // By chance some come in a row.
        assert_eq!(world.fail(10), Outcome::Counted);
    }
}

#[test]
fn a_server_that_dies_amid_poison_trips_when_chance_is_ruled_out() {
    let mut world = World::new();
    world.proof = Proof::Unopposed;
    for _ in 0..50 {
        world.succeed(4);
        world.fail(1);
    }
    world.succeed(4);
    assert_eq!(world.fail(8), Outcome::Counted);
    assert_eq!(world.fail(1), Outcome::Tripped, "0.2 to the ninth");
}

#[test]
fn a_caller_that_was_served_long_ago_is_no_other_caller() {
    let mut world = serving(2, Proof::Unopposed);
    world.wait(301.0);
    assert_eq!(world.fail(5), Outcome::Tripped);
}
