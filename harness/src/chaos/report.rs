//! The figures of a run, for people and for programs.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::load::Sample;
use super::reckon::{self, Record, Verdict};
use super::schedule::{Attack, Kind};
use crate::front::Host;
use crate::stage::Role;

/// The least share of requests that has to be answered.
pub const AVAILABILITY: f64 = 0.9995;

/// What came of a run. Figures that need the balancer's gauges are none where these are missing;
/// requests are the innocent tenant's where nothing else is said.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// How many were sent.
    pub requests: u64,
    /// Those that were not answered by a complete 200.
    pub failed: u64,
    /// The share of the others, 0 to 1.
    pub availability: f64,
    /// Failures by cause ([`super::cause`]).
    pub failed_by_cause: BTreeMap<String, u64>,
    /// From a fault's order to its detection, over those that were detected.
    pub detect_ms_p99: Option<u64>,
    /// From a fault's healing to the endpoint's return, over those that returned.
    pub recover_ms_p99: Option<u64>,
    /// Requests that reached a faulty endpoint more than a second after it tripped ([`reckon`]).
    pub failed_after_trip: Option<u64>,
    /// Whether the run is a good one: availability of at least [`AVAILABILITY`], and nothing after a trip.
    pub held: bool,
    /// A gauge that was expected and never there.
    pub missing_metric: Option<String>,
    /// Faults that had to be detected and were not.
    pub undetected: Option<u64>,
    /// Faults that were detected and whose endpoint had not returned when the run ended.
    pub unrecovered: Option<u64>,
    /// The proxy.
    pub host: &'static str,
    /// What the schedule followed from.
    pub seed: u64,
    /// How long the load went on.
    pub seconds: u64,
    /// Half of the answers took less.
    pub latency_ms_p50: u64,
    /// And 99 of 100 took less.
    pub latency_ms_p99: u64,
    /// What was going to happen, a line each.
    pub schedule: Vec<String>,
    /// How each fault was dealt with.
    pub faults: Vec<FaultReport>,
    /// What each attack sent, and what the innocent noticed.
    pub attacks: Vec<AttackReport>,
    /// VMs that trapped, and why; on Envoy nobody tells.
    pub traps: Vec<String>,
}

/// How one fault was dealt with.
#[derive(Clone, Debug, Serialize)]
pub struct FaultReport {
    /// The endpoint's name.
    pub endpoint: String,
    /// What happened to it.
    pub kind: Kind,
    /// When, since the run began.
    pub from_ms: u64,
    /// When it was healed.
    pub until_ms: u64,
    /// Whether health has to see such a fault.
    pub must_be_detected: bool,
    /// Order to detection.
    pub detect_ms: Option<u64>,
    /// Healing to return.
    pub recover_ms: Option<u64>,
    /// Requests that reached the endpoint more than a second after it tripped.
    pub failed_after_trip: Option<u64>,
    /// Requests of all callers that ended between its order and a second after its healing.
    pub requests_meanwhile: u64,
    /// Those of them that failed, whichever of the faults of that time was to blame.
    pub failed_meanwhile: u64,
}

/// One attack.
#[derive(Clone, Debug, Serialize)]
pub struct AttackReport {
    /// What was sent.
    pub kind: Kind,
    /// When, since the run began.
    pub from_ms: u64,
    /// When it ended.
    pub until_ms: u64,
    /// Requests that it sent.
    pub requests: u64,
    /// What became of them, by cause; the rest was answered well.
    pub failed_by_cause: BTreeMap<String, u64>,
    /// Requests of the innocent that ended between its beginning and a second after its end.
    pub innocent_requests: u64,
    /// Those of them that failed.
    pub innocent_failed: u64,
}

impl Report {
    /// The figures of `record`, the run of `seed` on `host` over `cast`; `schedule` as
    /// [`super::words::lines`] has it.
    pub fn of(
        host: Host,
        seed: u64,
        schedule: Vec<String>,
        record: &Record,
        cast: &[Role],
        traps: Vec<String>,
    ) -> Report {
        let gauged = record.missing_gauge.is_none();
        let verdicts: Vec<Verdict> = record
            .trials
            .iter()
            .map(|trial| {
                let (history, arrivals) = (
                    &record.histories[trial.endpoint],
                    &record.arrivals[trial.endpoint],
                );
                reckon::judge(trial, history, arrivals, record.end)
            })
            .collect();
        let faults: Vec<FaultReport> = record
            .trials
            .iter()
            .zip(&verdicts)
            .map(|(trial, verdict)| {
                let (requests_meanwhile, failed_meanwhile) =
                    count(meanwhile(&record.samples, trial.from, trial.until));
                FaultReport {
                    endpoint: cast[trial.endpoint].name.clone(),
                    kind: trial.kind,
                    from_ms: millis(trial.from),
                    until_ms: millis(trial.until),
                    must_be_detected: trial.kind.must_be_detected(),
                    detect_ms: verdict.detect.map(millis),
                    recover_ms: verdict.recover.map(millis),
                    failed_after_trip: gauged.then_some(verdict.after_trip),
                    requests_meanwhile,
                    failed_meanwhile,
                }
            })
            .collect();
        let (requests, failed) = count(record.samples.iter());
        let availability = if requests == 0 {
            0.0
        } else {
            (requests - failed) as f64 / requests as f64
        };
        let seen = || faults.iter().filter(|fault| fault.must_be_detected);
        let failed_after_trip =
            gauged.then(|| verdicts.iter().map(|verdict| verdict.after_trip).sum());
        let p99 = |of: fn(&Verdict) -> Option<Duration>| {
            let judged = record.trials.iter().zip(&verdicts);
            let judged = judged.filter(|(trial, _)| trial.kind.must_be_detected());
            reckon::p99(judged.filter_map(|(_, verdict)| of(verdict)).collect()).map(millis)
        };
        let (latency_ms_p50, latency_ms_p99) = latencies(&record.samples);
        Report {
            requests,
            failed,
            availability,
            failed_by_cause: causes(record.samples.iter()),
            detect_ms_p99: p99(|verdict| verdict.detect),
            recover_ms_p99: p99(|verdict| verdict.recover),
            failed_after_trip,
            held: availability >= AVAILABILITY && failed_after_trip == Some(0),
            missing_metric: record.missing_gauge.clone(),
            undetected: gauged
                .then(|| seen().filter(|fault| fault.detect_ms.is_none()).count() as u64),
            unrecovered: gauged.then(|| {
                let detected = seen().filter(|fault| fault.detect_ms.is_some());
                detected.filter(|fault| fault.recover_ms.is_none()).count() as u64
            }),
            host: match host {
                Host::Embedded => "embedded",
                Host::Envoy => "envoy",
            },
            seed,
            seconds: record.end.as_secs(),
            latency_ms_p50,
            latency_ms_p99,
            schedule,
            faults,
            attacks: attacks(record),
            traps,
        }
    }
}

fn attacks(record: &Record) -> Vec<AttackReport> {
    let of = |attack: &Attack| {
        let own: Vec<Sample> = record
            .hostile
            .iter()
            .filter(|(kind, _)| *kind == attack.kind)
            .map(|(_, sample)| sample.clone())
            .collect();
        let own: Vec<&Sample> = meanwhile(&own, attack.from, attack.until).collect();
        let (innocent_requests, innocent_failed) =
            count(meanwhile(&record.samples, attack.from, attack.until));
        AttackReport {
            kind: attack.kind,
            from_ms: millis(attack.from),
            until_ms: millis(attack.until),
            requests: own.len() as u64,
            failed_by_cause: causes(own.into_iter()),
            innocent_requests,
            innocent_failed,
        }
    };
    record.attacks.iter().map(of).collect()
}

/// The samples that ended from `from` to a second after `until`.
fn meanwhile(samples: &[Sample], from: Duration, until: Duration) -> impl Iterator<Item = &Sample> {
    let window = from..until + Duration::from_secs(1);
    samples
        .iter()
        .filter(move |sample| window.contains(&sample.ended))
}

fn causes<'a>(samples: impl Iterator<Item = &'a Sample>) -> BTreeMap<String, u64> {
    let mut causes = BTreeMap::new();
    for cause in samples.filter_map(|one| one.failed.as_ref()) {
        *causes.entry(cause.clone()).or_default() += 1;
    }
    causes
}

fn count<'a>(samples: impl Iterator<Item = &'a Sample>) -> (u64, u64) {
    samples.fold((0, 0), |(all, failed), sample| {
        (all + 1, failed + u64::from(sample.failed.is_some()))
    })
}

fn latencies(samples: &[Sample]) -> (u64, u64) {
    let answered = samples.iter().filter(|sample| sample.failed.is_none());
    let mut took: Vec<Duration> = answered.map(|sample| sample.took).collect();
    took.sort_unstable();
    let at = |rank: usize| took.get(rank).copied().map_or(0, millis);
    (at(took.len() / 2), at(took.len() * 99 / 100))
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use State::{Admitting, Ramping, Tripped};

    use super::super::reckon::Trial;
    use super::super::standing::{History, State};
    use super::*;

    /// 20,000 requests in a minute, of which `failed` fail, and a kill from 5 s to 12 s that is seen at 5.4 s.
    fn report(failed: u64, arrivals: &[u64], missing_gauge: Option<&str>) -> Report {
        let sample = |number: u64| Sample {
            ended: Duration::from_millis(3 * number),
            took: Duration::from_millis(number % 100),
            failed: (number < failed).then(|| "truncated".to_owned()),
        };
        let refused = |millis: u64| Sample {
            ended: Duration::from_millis(millis),
            took: Duration::from_millis(1),
            failed: Some("500".to_owned()),
        };
        let mut history = History::default();
        for (at, state) in [(0, Admitting), (5_400, Tripped), (35_400, Ramping)] {
            history.note(Duration::from_millis(at), state);
        }
        let record = Record {
            samples: (0..20_000).map(sample).collect(),
            hostile: vec![
                (Kind::Poison, refused(10_500)),
                (Kind::Poison, refused(50_000)),
                (Kind::Tenant429, refused(11_000)),
            ],
            attacks: vec![Attack {
                kind: Kind::Poison,
                from: Duration::from_secs(10),
                until: Duration::from_secs(20),
            }],
            trials: vec![Trial {
                endpoint: 0,
                kind: Kind::Kill,
                from: Duration::from_secs(5),
                until: Duration::from_secs(12),
            }],
            incidents: Vec::new(),
            histories: vec![if missing_gauge.is_some() {
                History::default()
            } else {
                history
            }],
            missing_gauge: missing_gauge.map(str::to_owned),
            arrivals: vec![
                arrivals
                    .iter()
                    .map(|at| Duration::from_millis(*at))
                    .collect(),
            ],
            end: Duration::from_secs(60),
        };
        let address = ([127, 0, 0, 1], 80).into();
        let cast = [Role {
            pool: "p".into(),
            name: "p-1".into(),
            speed: "fast",
            configured: address,
            simulated: address,
        }];
        Report::of(Host::Envoy, 1, Vec::new(), &record, &cast, Vec::new())
    }

    #[test]
    fn a_run_holds_at_the_bound_of_availability_and_not_beyond() {
        let good = report(10, &[], None);
        assert_eq!((good.availability, good.held), (0.9995, true));
        assert_eq!(good.failed_by_cause["truncated"], 10);
        assert_eq!(
            (good.detect_ms_p99, good.recover_ms_p99),
            (Some(400), Some(23_400))
        );
        assert_eq!((good.latency_ms_p50, good.latency_ms_p99), (50, 99));
        assert!(!report(11, &[], None).held);
    }

    #[test]
    fn requests_of_an_attack_are_told_apart_and_spoil_no_run() {
        let attacked = report(10, &[], None);
        assert_eq!((attacked.requests, attacked.held), (20_000, true));
        let attack = &attacked.attacks[0];
        assert_eq!((attack.requests, attack.failed_by_cause["500"]), (1, 1));
        // One every 3 ms, from 10 s up to 21 s.
        assert_eq!(attack.innocent_requests, 3_666);
        assert_eq!(attack.innocent_failed, 0);
    }

    #[test]
    fn one_request_after_a_trip_spoils_a_run() {
        let spoilt = report(0, &[8_000], None);
        assert_eq!((spoilt.failed_after_trip, spoilt.held), (Some(1), false));
    }

    #[test]
    fn without_gauges_nothing_is_claimed_of_detection_and_no_run_holds() {
        let blind = serde_json::to_value(report(0, &[8_000], Some("junheng.x"))).unwrap();
        for figure in [
            "detect_ms_p99",
            "recover_ms_p99",
            "failed_after_trip",
            "undetected",
        ] {
            assert!(blind[figure].is_null(), "{figure}: {blind}");
        }
        assert_eq!(blind["held"], false);
        assert_eq!(blind["missing_metric"], "junheng.x");
        assert_eq!(blind["availability"], 1.0);
    }
}
