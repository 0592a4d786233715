//! How an endpoint comes back from a trip.

use super::*;

#[test]
fn a_probe_is_due_when_the_trip_is_over_and_only_one() {
    let mut world = World::tripped();
    world.wait(29.9);
    assert_eq!(world.probe(), None);
    world.wait(0.1);
    assert_eq!(world.standing(), Standing::DueForProbe);
    assert!(world.probe().is_some());
    assert_eq!(world.standing(), out(Why::Probing, 1_060.0));
    assert_eq!(world.probe(), None);
}

#[test]
fn a_good_probe_ramps_and_a_bad_one_trips_again() {
    let (mut world, token) = World::probing();
    world.wait(2.0);
    assert_eq!(world.probed(token, ProbeEnd::Failed(500)), Outcome::Tripped);
    assert_eq!(world.standing(), out(Why::Tripped, 1_062.0));
    world.wait(30.0);
    let token = world.probe().unwrap();
    assert_eq!(world.probed(token, ProbeEnd::Passed), Outcome::Ramping);
    let shares = [0.0, 15.0, 15.0, 29.9, 0.1].map(|seconds| {
        world.wait(seconds);
        match world.standing() {
            Standing::In(share) => (share.thousandths(), world.standing().code()),
            other => panic!("{other:?}"),
        }
    });
    assert_eq!(shares, [(100, 1), (250, 1), (500, 1), (998, 1), (1000, 0)]);
}

#[test]
fn a_lost_probe_is_replaced_and_its_late_answer_is_told_from_its_replacements() {
    for late in [
        ProbeEnd::Passed,
        ProbeEnd::Failed(500),
        ProbeEnd::Overloaded(None),
    ] {
        let (mut world, lost) = World::probing();
        world.wait(30.0);
        let replacement = world.probe().unwrap();
        assert_eq!(world.probed(lost, late), Outcome::Unchanged);
        assert_eq!(world.standing(), out(Why::Probing, 1_090.0));
        assert_eq!(
            world.probed(replacement, ProbeEnd::Passed),
            Outcome::Ramping
        );
        assert_eq!(world.probed(lost, late), Outcome::Unchanged);
        assert_eq!(
            world.probed(replacement, ProbeEnd::Failed(500)),
            Outcome::Unchanged
        );
    }
}

#[test]
fn a_late_answer_counts_while_the_probe_has_no_replacement() {
    let (mut world, token) = World::probing();
    world.wait(500.0);
    assert_eq!(world.standing(), Standing::DueForProbe);
    assert_eq!(world.probed(token, ProbeEnd::Passed), Outcome::Ramping);
}

#[test]
fn a_probe_that_is_given_back_is_followed_after_as_long_as_it_waited() {
    for (waited, due) in [
        (0.0, 1_030.0),
        (4.0, 1_038.0),
        (20.0, 1_060.0),
        (40.0, 1_060.0),
    ] {
        let (mut world, token) = World::probing();
        world.wait(waited);
        let end = ProbeEnd::Abandoned(Duration::from_secs_f64(waited));
        assert_eq!(world.probed(token, end), Outcome::GivenBack);
        let now = world.seconds;
        if now < due {
            assert_eq!(world.standing(), out(Why::Tripped, due));
            world.wait(due - now);
        }
        let next = world.probe().expect("another is due");
        assert_eq!(world.probed(token, ProbeEnd::Passed), Outcome::Unchanged);
        assert_eq!(world.probed(next, ProbeEnd::Passed), Outcome::Ramping);
    }
}

#[test]
fn a_token_of_an_earlier_trip_is_never_anothers() {
    let (mut world, first) = World::probing();
    world.probed(first, ProbeEnd::Failed(500));
    world.wait(30.0);
    world.probe().unwrap();
    assert_eq!(world.probed(first, ProbeEnd::Passed), Outcome::Unchanged);
}

#[test]
fn the_window_begins_afresh_with_the_ramp_and_failures_count_from_then_on() {
    let mut world = World::new();
    assert_eq!(world.alternate(10), Outcome::Tripped);
    world.wait(30.0);
    let token = world.probe().unwrap();
    world.probed(token, ProbeEnd::Passed);
    assert_eq!(world.alternate(9), Outcome::Counted);
    assert_eq!(world.alternate(1), Outcome::Tripped, "ten of twenty");
}

#[test]
fn requests_placed_before_the_ramp_do_not_fail_into_it() {
    let mut world = World::ramping();
    let back = world.seconds;
    for waited in [1.0, 20.0, 50.0] {
        world.wait(waited);
        assert_eq!(world.fail_placed(back - 0.001), Outcome::Unchanged);
    }
    for _ in 0..4 {
        assert_eq!(world.fail_placed(back), Outcome::Counted);
    }
    assert_eq!(world.fail_placed(back), Outcome::Tripped);
}
