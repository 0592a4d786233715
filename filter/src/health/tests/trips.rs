//! How an endpoint is judged, and left.

use crate::values::units::Share;

use super::*;

#[test]
fn a_fresh_endpoint_is_in_with_its_whole_share() {
    assert_eq!(World::new().standing(), Standing::In(Share::WHOLE));
}

#[test]
fn the_deciding_failure_trips_and_none_before_it() {
    // 4/19 are too few requests; 5/20; 5/25 and 200/1000 are not more than 20 %; 6/26, 200/999, 201/1001.
    for (successes, deciding) in [(15, 5), (20, 6), (799, 200), (800, 201)] {
        let mut world = World::new();
        world.rules.trip = Trip::ErrorRate(ErrorRate {
            in_a_row: 0,
            ..ErrorRate::default()
        });
        world.succeed(successes);
        assert_eq!(world.fail(deciding), Outcome::Tripped, "of {successes}");
    }
}

#[test]
fn five_failures_in_a_row_trip_and_a_success_by_any_worker_ends_the_row() {
    let mut world = World::new();
    world.fail(4);
    world.succeed(1);
    assert_eq!(world.fail(4), Outcome::Counted);
    assert_eq!(world.fail(1), Outcome::Tripped);
    assert_eq!(world.standing(), out(Why::Tripped, 1_030.0));
}

#[test]
fn the_window_slides() {
    let mut world = World::new();
    world.alternate(9);
    world.wait(300.0);
    assert_eq!(
        world.alternate(9),
        Outcome::Counted,
        "18 of 36 and not of 36"
    );
    world.succeed(1);
    assert_eq!(world.fail(1), Outcome::Tripped, "the twentieth within it");
}

#[test]
fn late_outcomes_change_nothing_while_tripped_or_probing() {
    let mut worlds = [World::tripped(), World::probing().0];
    for world in &mut worlds {
        let standing = world.standing();
        assert_eq!(world.fail(1), Outcome::Unchanged);
        assert!(!world.state.needs_roll(&world.rules, at(5_000.0)));
        world.succeed(100);
        assert_eq!(world.standing(), standing);
    }
}

#[test]
fn max_fails_and_fail_timeout_replace_the_error_rate() {
    let rule = |max_fails| Rules {
        trip: Trip::FailTimeout(FailTimeout {
            max_fails,
            fail_timeout: Duration::from_secs(10),
        }),
        ..Rules::default()
    };
    let mut world = World::under(rule(3));
    world.alternate(2);
    world.wait(10.0);
    assert_eq!(
        world.alternate(2),
        Outcome::Counted,
        "not within ten seconds"
    );
    world.succeed(1_000);
    assert_eq!(world.fail(1), Outcome::Tripped);
    assert_eq!(world.standing(), out(Why::Tripped, 1_020.0));
    assert_eq!(World::under(rule(0)).fail(1_000), Outcome::Counted);
}

#[test]
fn a_success_needs_a_roll_once_a_bucket() {
    let mut world = World::new();
    assert!(world.state.needs_roll(&world.rules, world.now()));
    let mut rolls = 0;
    for _ in 0..1_000 {
        rolls += u32::from(world.state.needs_roll(&world.rules, world.now()));
        world.succeed(1);
        world.wait(0.1);
    }
    assert_eq!(rolls, 10);
}

#[test]
fn each_standing_has_its_code() {
    let mut resting = World::new();
    resting.overload(None);
    let mut unhealthy = World::new();
    unhealthy.check("fff");
    let mut due = World::tripped();
    due.wait(30.0);
    let worlds = [
        World::new(),
        World::ramping(),
        World::probing().0,
        World::tripped(),
        due,
        resting,
        unhealthy,
    ];
    assert_eq!(
        worlds.map(|world| world.standing().code()),
        [0, 1, 2, 3, 3, 4, 5]
    );
}
