//! From what was seen to the figures: how soon a fault was detected, how soon the endpoint was back, and what
//! still reached it in between.
//!
//! All times are since the run began. `detect` is the time from a fault's first order to the first reading of
//! probing, tripped or unhealthy before it was healed; `recover` is the time from its healing to the first
//! reading of admitting or ramping, for faults that were detected.
//!
//! `after_trip` counts requests of the model's API that reached the endpoint between a fault's order and its
//! healing, more than a second after its gauge began to show it out and while it did. Health checks and metrics are
//! not counted, nor is one request for each time that the gauge shows probing, which may have arrived up to two
//! readings before or after that. The servers count, so what never reaches them is not seen: a connection that
//! a killed endpoint refuses. A probe that begins and ends between two readings is taken for a failure to keep
//! away; with breakers that wait longer than a fault lasts, as the default does, no probe meets a fault.

use std::time::Duration;

use super::load::Sample;
use super::schedule::{Attack, Incident, Kind};
use super::standing::{History, State};

/// What an endpoint that is out may still get without blame.
const GRACE: Duration = Duration::from_secs(1);
/// Two readings of the gauges.
const BLUR: Duration = Duration::from_millis(100);

/// All that was seen in one run.
#[derive(Clone, Debug, Default)]
pub struct Record {
    /// Every request of the innocent tenant.
    pub samples: Vec<Sample>,
    /// Every request of an attack.
    pub hostile: Vec<(Kind, Sample)>,
    /// Every attack, as it was carried out.
    pub attacks: Vec<Attack>,
    /// Every fault.
    pub trials: Vec<Trial>,
    /// What happened to the gateway.
    pub incidents: Vec<(Duration, Incident)>,
    /// What the gauge of each endpoint showed.
    pub histories: Vec<History>,
    /// A gauge that was never there, if any.
    pub missing_gauge: Option<String>,
    /// When requests reached each endpoint.
    pub arrivals: Vec<Vec<Duration>>,
    /// When the schedule was over.
    pub end: Duration,
}

/// One fault as it was carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trial {
    /// Which endpoint of the fleet.
    pub endpoint: usize,
    /// What happened to it.
    pub kind: Kind,
    /// When it was ordered.
    pub from: Duration,
    /// When it was healed.
    pub until: Duration,
}

/// How one fault was dealt with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Order to detection.
    pub detect: Option<Duration>,
    /// Healing to return.
    pub recover: Option<Duration>,
    /// Requests that reached the endpoint when they no longer should have.
    pub after_trip: u64,
}

/// The verdict on `trial`, given its endpoint's `history` up to `end` and when requests arrived there.
pub fn judge(trial: &Trial, history: &History, arrivals: &[Duration], end: Duration) -> Verdict {
    let detected = history
        .spans(end)
        .find(|(_, to, state)| state.out() && *to > trial.from)
        .map(|(from, ..)| from.max(trial.from))
        .filter(|at| *at <= trial.until);
    let back = history
        .spans(end)
        .find(|(_, to, state)| state.back() && *to > trial.until)
        .map(|(from, ..)| from.max(trial.until));
    Verdict {
        detect: detected.map(|at| at - trial.from),
        recover: detected.and(back).map(|at| at - trial.until),
        after_trip: after_trip(trial, history, arrivals, end),
    }
}

fn after_trip(trial: &Trial, history: &History, arrivals: &[Duration], end: Duration) -> u64 {
    let mut count = 0;
    for (from, to) in outages(history, end) {
        let (first, last) = ((from + GRACE).max(trial.from), to.min(trial.until));
        let mut late: Vec<Duration> = arrivals
            .iter()
            .copied()
            .filter(|at| *at > first && *at < last)
            .collect();
        let probing = history
            .spans(end)
            .filter(|(_, _, state)| *state == State::Probing);
        for (begin, end, _) in probing {
            let window = begin.saturating_sub(BLUR)..end + BLUR;
            if let Some(probe) = late.iter().position(|at| window.contains(at)) {
                late.remove(probe);
            }
        }
        count += late.len() as u64;
    }
    count
}

/// From when to when the gauge showed the endpoint out, whatever the reasons in between.
fn outages(history: &History, end: Duration) -> Vec<(Duration, Duration)> {
    let mut outages: Vec<(Duration, Duration)> = Vec::new();
    for (from, to, state) in history.spans(end) {
        if !state.out() {
            continue;
        }
        match outages.last_mut() {
            Some((_, last)) if *last == from => *last = to,
            _ => outages.push((from, to)),
        }
    }
    outages
}

/// The 99th percentile by nearest rank; none of none.
pub fn p99(mut values: Vec<Duration>) -> Option<Duration> {
    values.sort_unstable();
    let rank = (values.len() * 99).div_ceil(100);
    values.get(rank.checked_sub(1)?).copied()
}

#[cfg(test)]
mod tests {
    use State::{Admitting, Probing, Ramping, Resting, Tripped, Unhealthy};

    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn history(changes: &[(u64, State)]) -> History {
        let mut history = History::default();
        for (at, state) in changes {
            history.note(ms(*at), *state);
        }
        history
    }

    /// A kill from 5 s to 12 s in a run of a minute.
    fn verdict(changes: &[(u64, State)], arrivals: &[u64]) -> Verdict {
        let trial = Trial {
            endpoint: 0,
            kind: Kind::Kill,
            from: ms(5_000),
            until: ms(12_000),
        };
        let arrivals: Vec<Duration> = arrivals.iter().map(|at| ms(*at)).collect();
        judge(&trial, &history(changes), &arrivals, ms(60_000))
    }

    #[test]
    fn detection_counts_from_the_order_and_recovery_from_the_healing() {
        let told = verdict(
            &[
                (0, Admitting),
                (5_400, Tripped),
                (35_400, Probing),
                (35_500, Ramping),
            ],
            &[],
        );
        assert_eq!(told.detect, Some(ms(400)));
        assert_eq!(told.recover, Some(ms(23_500)));
    }

    #[test]
    fn a_fault_that_nobody_noticed_is_neither_detected_nor_recovered_from() {
        for changes in [
            &[(0, Admitting)][..],
            &[(0, Admitting), (5_200, Resting), (9_000, Admitting)],
            &[(0, Admitting), (20_000, Unhealthy), (40_000, Ramping)],
            &[(0, Tripped), (3_000, Ramping)],
        ] {
            assert_eq!(verdict(changes, &[]), Verdict::default(), "{changes:?}");
        }
    }

    #[test]
    fn an_endpoint_that_does_not_come_back_has_no_time_of_recovery() {
        let told = verdict(&[(0, Admitting), (6_000, Unhealthy)], &[]);
        assert_eq!((told.detect, told.recover), (Some(ms(1_000)), None));
    }

    #[test]
    fn what_arrives_within_a_second_of_the_trip_or_after_the_healing_is_forgiven() {
        let changes = [(0, Admitting), (5_400, Tripped), (40_000, Ramping)];
        let told = verdict(&changes, &[5_100, 5_500, 6_400, 12_000, 30_000]);
        assert_eq!(told.after_trip, 0);
        assert_eq!(verdict(&changes, &[6_401, 9_000, 11_999]).after_trip, 3);
    }

    #[test]
    fn one_probe_is_allowed_each_time_that_the_gauge_shows_probing() {
        let changes = [
            (0, Admitting),
            (5_100, Tripped),
            (8_000, Probing),
            (8_100, Tripped),
            (10_000, Probing),
            (10_100, Tripped),
        ];
        assert_eq!(verdict(&changes, &[7_950, 10_050]).after_trip, 0);
        assert_eq!(verdict(&changes, &[7_950, 8_050, 10_050]).after_trip, 1);
        assert_eq!(verdict(&changes, &[9_000]).after_trip, 1);
    }

    #[test]
    fn the_second_of_grace_does_not_begin_anew_when_tripped_turns_to_unhealthy() {
        let changes = [(0, Admitting), (5_100, Tripped), (8_000, Unhealthy)];
        assert_eq!(verdict(&changes, &[8_500]).after_trip, 1);
    }

    #[test]
    fn an_endpoint_that_was_let_back_in_may_be_asked() {
        let changes = [
            (0, Admitting),
            (5_100, Tripped),
            (7_000, Ramping),
            (9_000, Tripped),
        ];
        assert_eq!(verdict(&changes, &[8_000, 9_900]).after_trip, 0);
    }

    #[test]
    fn the_99th_percentile_of_few_is_the_largest() {
        assert_eq!(p99(vec![]), None);
        assert_eq!(p99(vec![ms(3), ms(9), ms(1)]), Some(ms(9)));
        assert_eq!(p99((1..=200).map(ms).collect()), Some(ms(198)));
    }
}
