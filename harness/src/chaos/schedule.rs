//! What goes wrong and when: a pure function of a seed.
//!
//! The run is cut into waves of about a minute. In each, every pool loses some of its endpoints for some
//! seconds, and at least a third of them, one at the least, is left alone: with all endpoints of a pool out,
//! availability would measure the schedule and not the balancer. Faults begin in the first part of a wave, as
//! a breaker holds an endpoint out for 30 s after it tripped and only then looks again; the rest of the wave
//! is for coming back. In runs of less than a minute everything is shortened alike, and endpoints may still
//! be out when such a run ends.
//!
//! Kinds are dealt like cards rather than drawn one by one: no kind comes again before all have come.
//!
//! Attacks are no faults of an endpoint: all servers are well and one tenant sends what none of
//! them answers. Each kind of attack comes once in a wave, whatever else happens then.

use std::time::Duration;

pub use super::kind::Kind;
use crate::fleet::Order;
use crate::host::rng::Rng;

/// A wave in which nothing is shortened.
const WAVE: u64 = 60_000;
/// Until the first fault, so that there is a before.
const LEAD: u64 = 3_000;
/// After the last fault of a wave: 30 s of a tripped breaker and a little for the probe.
const CLEAR: u64 = 33_000;
/// From one change of a flapping endpoint to the next.
const FLAP: Duration = Duration::from_millis(1_500);

/// One endpoint's bad time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Which endpoint of the fleet.
    pub endpoint: usize,
    /// What happens to it.
    pub kind: Kind,
    /// Since the run began.
    pub from: Duration,
    /// When it is healed.
    pub until: Duration,
}

/// A tenant's bad behaviour, which no endpoint can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attack {
    /// What is sent.
    pub kind: Kind,
    /// Since the run began.
    pub from: Duration,
    /// When it ends.
    pub until: Duration,
}

/// What can happen to the embedded gateway itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incident {
    /// The VM of a worker traps in the middle of a request.
    Trap,
    /// The wall clock jumps by so many hours.
    Step(i64),
}

/// All that goes wrong in one run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schedule {
    /// In order of their beginning.
    pub faults: Vec<Fault>,
    /// In order of their beginning.
    pub attacks: Vec<Attack>,
    /// In order of time.
    pub incidents: Vec<(Duration, Incident)>,
}

/// Something to do at one moment of the run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Act {
    /// The fault of this number begins with this order.
    Strike(usize, Order),
    /// It goes on with this one.
    Continue(usize, Order),
    /// It ends with this one.
    Heal(usize, Order),
    /// The attack of this number begins.
    Attack(usize),
    /// It ends.
    Cease(usize),
    /// Something happens to the gateway.
    Incident(Incident),
}

impl Schedule {
    /// The schedule of `seed` for a run of `seconds` over `pools`, each a list of endpoints of the fleet, with
    /// faults of `kinds` only, and with incidents if they can be brought about.
    pub fn draw(
        seed: u64,
        seconds: u64,
        pools: &[Vec<usize>],
        kinds: &[Kind],
        incidents: bool,
    ) -> Schedule {
        let mut rng = Rng::new(seed);
        // Dice of their own, so that a seed means the same faults on either host.
        let mut dice = Rng::new(!seed);
        let mut attackers = Rng::new(seed.rotate_left(32));
        let (attacks, faults): (Vec<Kind>, Vec<Kind>) =
            kinds.iter().partition(|kind| kind.is_attack());
        let mut deck = Deck::new(&faults);
        let waves = (seconds * 1_000 / WAVE).max(1);
        let span = seconds * 1_000 / waves;
        let mut schedule = Schedule {
            faults: Vec::new(),
            attacks: Vec::new(),
            incidents: Vec::new(),
        };
        for wave in 0..waves {
            let begin = wave * span;
            // Milliseconds of a whole wave, shortened for this one.
            let short = |millis: u64| millis * span.min(WAVE) / WAVE;
            for endpoint in victims(pools, &mut rng) {
                let Some(kind) = deck.deal(&mut rng) else {
                    continue;
                };
                let (least, most) = kind.lengths();
                let length = between(&mut rng, least, most);
                let from = between(&mut rng, LEAD, WAVE - CLEAR - length);
                schedule.faults.push(Fault {
                    endpoint,
                    kind,
                    from: Duration::from_millis(begin + short(from)),
                    until: Duration::from_millis(begin + short(from + length)),
                });
            }
            for &kind in &attacks {
                let length = between(&mut attackers, 12_000, 15_000);
                let from = between(&mut attackers, LEAD, WAVE - CLEAR - length);
                schedule.attacks.push(Attack {
                    kind,
                    from: Duration::from_millis(begin + short(from)),
                    until: Duration::from_millis(begin + short(from + length)),
                });
            }
            if incidents {
                let sign = if dice.chance(0.5) { 1 } else { -1 };
                for (incident, least, most) in [
                    (Incident::Trap, 6_000, 54_000),
                    (Incident::Step(sign), 6_000, 27_000),
                    (Incident::Step(-sign), 30_000, 54_000),
                ] {
                    let at = begin + short(between(&mut dice, least, most));
                    schedule
                        .incidents
                        .push((Duration::from_millis(at), incident));
                }
            }
        }
        schedule.faults.sort_by_key(|fault| fault.from);
        schedule.attacks.sort_by_key(|attack| attack.from);
        schedule.incidents.sort_by_key(|(at, _)| *at);
        schedule
    }

    /// Everything that is to be done, in order of time.
    pub fn acts(&self) -> Vec<(Duration, Act)> {
        let mut acts: Vec<(Duration, Act)> = Vec::new();
        for (number, fault) in self.faults.iter().enumerate() {
            acts.push((fault.from, Act::Strike(number, fault.kind.strike())));
            if fault.kind == Kind::Flap {
                let mut at = fault.from + FLAP;
                for order in [Order::Revive, Order::Kill].into_iter().cycle() {
                    // The last change is the healing, and it has to be one.
                    if at + FLAP / 2 >= fault.until {
                        break;
                    }
                    acts.push((at, Act::Continue(number, order)));
                    at += FLAP;
                }
            }
            acts.push((fault.until, Act::Heal(number, fault.kind.heal())));
        }
        for (number, attack) in self.attacks.iter().enumerate() {
            acts.push((attack.from, Act::Attack(number)));
            acts.push((attack.until, Act::Cease(number)));
        }
        let incidents = self.incidents.iter();
        acts.extend(incidents.map(|(at, incident)| (*at, Act::Incident(*incident))));
        acts.sort_by_key(|(at, _)| *at);
        acts
    }
}

/// The endpoints that have to suffer in one wave.
fn victims(pools: &[Vec<usize>], rng: &mut Rng) -> Vec<usize> {
    let mut victims = Vec::new();
    for pool in pools {
        let mut pool = pool.clone();
        shuffle(&mut pool, rng);
        pool.truncate(pool.len() - (pool.len() / 3).max(1).min(pool.len()));
        victims.extend(pool);
    }
    shuffle(&mut victims, rng);
    victims
}

/// Kinds in random order, all of them before any comes again.
struct Deck<'a> {
    kinds: &'a [Kind],
    left: Vec<Kind>,
}

impl<'a> Deck<'a> {
    fn new(kinds: &'a [Kind]) -> Deck<'a> {
        Deck {
            kinds,
            left: Vec::new(),
        }
    }

    fn deal(&mut self, rng: &mut Rng) -> Option<Kind> {
        if self.left.is_empty() {
            self.left = self.kinds.to_vec();
            shuffle(&mut self.left, rng);
        }
        self.left.pop()
    }
}

fn shuffle<T>(items: &mut [T], rng: &mut Rng) {
    for last in (1..items.len()).rev() {
        items.swap(last, (rng.next() % (last as u64 + 1)) as usize);
    }
}

fn between(rng: &mut Rng, least: u64, most: u64) -> u64 {
    least + rng.next() % (most - least + 1)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn pools() -> Vec<Vec<usize>> {
        vec![vec![0, 1, 2], vec![3, 4, 5]]
    }

    fn draw(seed: u64, seconds: u64) -> Schedule {
        Schedule::draw(seed, seconds, &pools(), &Kind::ALL, true)
    }

    #[test]
    fn a_seed_has_one_schedule_and_another_seed_another() {
        assert_eq!(draw(7, 60), draw(7, 60));
        assert_ne!(draw(7, 60), draw(8, 60));
    }

    #[test]
    fn a_minute_holds_four_kinds_and_ten_minutes_all() {
        for seed in 0..500 {
            let kinds = |seconds| -> usize {
                let kinds = draw(seed, seconds).faults.into_iter().map(|f| f.kind);
                kinds.collect::<BTreeSet<_>>().len()
            };
            assert!(kinds(60) >= 4, "seed {seed}");
            assert_eq!(kinds(600), 8, "seed {seed}");
        }
    }

    #[test]
    fn one_endpoint_of_each_pool_is_always_well_and_back_from_its_last_fault() {
        for seed in 0..500 {
            let faults = draw(seed, 300).faults;
            for fault in &faults {
                let out = faults.iter().filter(|other| {
                    other.from <= fault.from && fault.from < other.until + 30 * SECOND
                });
                let out: BTreeSet<usize> = out.map(|fault| fault.endpoint).collect();
                for pool in pools() {
                    assert!(
                        pool.iter().any(|one| !out.contains(one)),
                        "seed {seed}: {faults:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn each_fault_is_healed_half_a_minute_before_the_end_and_lasts_to_be_noticed() {
        for seed in 0..500 {
            for seconds in [60, 90, 119, 600] {
                for fault in draw(seed, seconds).faults {
                    assert!(fault.until + 30 * SECOND <= SECOND * seconds as u32);
                    assert!(fault.until - fault.from >= 6 * SECOND, "{fault:?}");
                }
            }
        }
    }

    #[test]
    fn a_short_run_is_a_whole_one_in_little() {
        for seed in 0..100 {
            let faults = draw(seed, 20).faults;
            assert_eq!(faults.len(), 4);
            assert!(faults.iter().all(|fault| fault.until <= 9 * SECOND));
        }
    }

    #[test]
    fn acts_are_in_order_and_each_endpoint_is_healed_last() {
        for seed in 0..100 {
            let schedule = draw(seed, 120);
            let acts = schedule.acts();
            assert!(acts.is_sorted_by_key(|(at, _)| *at));
            for number in 0..schedule.faults.len() {
                let of = acts.iter().filter(|(_, act)| {
                    matches!(act, Act::Strike(n, _) | Act::Continue(n, _) | Act::Heal(n, _) if *n == number)
                });
                let of: Vec<_> = of.map(|(_, act)| *act).collect();
                assert!(matches!(of[0], Act::Strike(..)), "{of:?}");
                assert!(matches!(of.last(), Some(Act::Heal(..))), "{of:?}");
            }
        }
    }

    #[test]
    fn the_clock_ends_where_it_began_and_a_vm_dies_in_each_wave() {
        let incidents = draw(3, 180).incidents;
        let hours: i64 = incidents
            .iter()
            .map(|(_, what)| match what {
                Incident::Step(hours) => *hours,
                Incident::Trap => 0,
            })
            .sum();
        let traps = incidents
            .iter()
            .filter(|(_, what)| *what == Incident::Trap)
            .count();
        assert_eq!((hours, traps), (0, 3));
        let elsewhere = Schedule::draw(3, 180, &pools(), &Kind::ALL, false);
        assert!(elsewhere.incidents.is_empty());
        assert_eq!(elsewhere.faults, draw(3, 180).faults);
    }

    #[test]
    fn each_attack_comes_once_in_a_wave_and_ends_half_a_minute_before_it_does() {
        for seed in 0..100 {
            let attacks = draw(seed, 120).attacks;
            assert_eq!(attacks.len(), 4);
            for kind in [Kind::Poison, Kind::Tenant429] {
                let of = attacks.iter().filter(|attack| attack.kind == kind);
                let [first, second] = of.collect::<Vec<_>>()[..] else {
                    panic!("seed {seed}: {attacks:?}");
                };
                assert!(first.until <= 30 * SECOND && second.from >= 60 * SECOND);
                assert!(first.until - first.from >= 12 * SECOND);
            }
        }
        let without = Schedule::draw(7, 120, &pools(), &[Kind::Kill], false);
        assert!(without.attacks.is_empty());
        let alone = Schedule::draw(7, 60, &pools(), &[Kind::Poison], false);
        assert_eq!((alone.faults.len(), alone.attacks.len()), (0, 1));
    }

    #[test]
    fn the_only_endpoint_of_a_pool_is_spared() {
        let schedule = Schedule::draw(1, 60, &[vec![0], vec![1, 2]], &Kind::ALL, false);
        assert_eq!(schedule.faults.len(), 1);
        assert_ne!(schedule.faults[0].endpoint, 0);
    }
}
