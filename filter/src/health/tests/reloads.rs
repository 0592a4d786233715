//! What is stored, read under the rules of another configuration.

use crate::values::units::Share;

use super::*;

impl World {
    fn reload(&mut self, rules: Rules) {
        self.rules = rules;
        self.state = self.state.under(&self.rules, self.now());
    }
}

const OFF: fn() -> Rules = || Rules {
    breaks: false,
    checks: false,
    ..Rules::default()
};

#[test]
fn without_a_breaker_a_trip_means_nothing_and_nothing_trips() {
    for mut world in [World::tripped(), World::probing().0, World::ramping()] {
        world.rules = OFF();
        assert_eq!(world.standing(), Standing::In(Share::WHOLE), "at once");
        world.reload(OFF());
        assert_eq!(world.standing(), Standing::In(Share::WHOLE));
        assert_eq!(world.fail(100), Outcome::Unchanged);
        assert!(!world.state.needs_roll(&world.rules, world.now()));
        world.reload(Rules::default());
        assert_eq!(
            world.standing(),
            Standing::In(Share::WHOLE),
            "and it stays undone"
        );
    }
}

#[test]
fn without_checks_what_they_found_means_nothing() {
    let mut world = World::new();
    world.check("fff");
    world.rules = OFF();
    assert_eq!(world.standing(), Standing::In(Share::WHOLE), "at once");
    world.reload(OFF());
    world.reload(Rules::default());
    assert_eq!(world.standing(), Standing::In(Share::WHOLE));
}

#[test]
fn a_trip_lasts_no_longer_than_the_rules_of_today_say() {
    let long = Rules {
        trip: Trip::ErrorRate(ErrorRate {
            tripped: Duration::from_secs(3_600),
            ..ErrorRate::default()
        }),
        ..Rules::default()
    };
    let mut world = World::under(long);
    world.fail(5);
    assert_eq!(world.standing(), out(Why::Tripped, 4_600.0));
    world.reload(Rules::default());
    assert_eq!(world.standing(), out(Why::Tripped, 1_030.0));
}

#[test]
fn under_the_same_rules_nothing_changes() {
    for world in [World::tripped(), World::probing().0, World::ramping()] {
        assert_eq!(world.state.under(&world.rules, world.now()), world.state);
    }
}
