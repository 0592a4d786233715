//! Overload and active checks, and how they meet the breaker.

use crate::values::units::Share;

use super::*;

#[test]
fn an_overloaded_endpoint_rests_as_long_as_it_asked_and_never_shorter() {
    let mut world = World::new();
    for (asked, rests) in [
        (Some(10), 10.0),
        (Some(3), 10.0),
        (None, 10.0),
        (Some(600), 60.0),
    ] {
        world.overload(asked);
        assert_eq!(world.standing(), out(Why::Resting, 1_000.0 + rests));
    }
    world.wait(60.0);
    assert_eq!(world.standing(), Standing::In(Share::WHOLE));
    for unusable in [None, Some(0)] {
        assert_eq!(world.overload(unusable), Outcome::Overloaded);
        assert_eq!(world.standing(), out(Why::Resting, world.seconds + 1.0));
        world.wait(1.0);
    }
}

#[test]
fn an_endpoint_that_carries_others_is_bounded_and_does_not_rest() {
    let mut world = World::new();
    assert_eq!(world.refuse(5, Some(60)), Outcome::Overloaded);
    assert_eq!(world.standing(), Standing::In(Share::WHOLE));
    assert_eq!(world.bound(), Some(4));
    world.succeed(16);
    assert_eq!(world.bound(), Some(5));
    world.succeed(1_000);
    assert_eq!(world.bound(), Some(5), "no five were in flight");
    let step = world.state.reached(5);
    assert_eq!(world.store(step), Outcome::Overloaded);
    assert_eq!(world.bound(), Some(6));
    world.wait(300.0);
    assert_eq!(world.bound(), None);
}

#[test]
fn overload_is_neither_failure_nor_success() {
    let mut world = World::new();
    world.fail(4);
    for _ in 0..100 {
        world.overload(Some(5));
    }
    assert_eq!(world.fail(1), Outcome::Tripped, "the row was not broken");
}

#[test]
fn a_rest_outlasts_a_shorter_trip() {
    let mut world = World::new();
    world.overload(Some(50));
    world.fail(5);
    assert_eq!(world.standing(), out(Why::Tripped, 1_050.0));
    world.wait(40.0);
    assert_eq!(world.standing(), out(Why::Resting, 1_050.0));
    assert_eq!(world.probe(), None);
    world.wait(10.0);
    assert!(world.probe().is_some());
}

#[test]
fn a_probe_that_meets_overload_is_sent_again_after_the_rest() {
    let (mut world, token) = World::probing();
    let end = ProbeEnd::Overloaded(Some(Duration::from_secs(7)));
    assert_eq!(world.probed(token, end), Outcome::Overloaded);
    assert_eq!(world.standing(), out(Why::Tripped, 1_037.0));
    world.wait(7.0);
    assert!(world.probe().is_some());
}

#[test]
fn failed_checks_take_out_whatever_the_breaker_says_and_the_way_back_is_a_ramp() {
    let mut world = World::new();
    world.alternate(9);
    assert_eq!(world.check("fff"), Outcome::Unavailable);
    let out = Standing::Out {
        why: Why::Unhealthy,
        until: None,
    };
    assert_eq!(world.standing(), out);
    assert_eq!(world.check("p"), Outcome::Counted);
    assert_eq!(world.check("p"), Outcome::Ramping);
    assert_eq!(world.standing(), Standing::In(LEAST_SHARE));
    assert_eq!(world.alternate(9), Outcome::Counted, "in a new window");
    assert_eq!(world.check("pppfp"), Outcome::Counted);
}

#[test]
fn passed_checks_do_not_undo_a_trip() {
    let mut world = World::tripped();
    world.wait(30.0);
    world.check("fff");
    assert_eq!(
        world.probe(),
        None,
        "no request goes to a server that is down"
    );
    assert_eq!(world.check("pp"), Outcome::Available);
    assert_eq!(world.standing(), Standing::DueForProbe);
}
