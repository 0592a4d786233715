//! A schedule and a report for people.

use std::fmt;

use super::report::{AVAILABILITY, Report};
use super::schedule::{Incident, Schedule};
use crate::stage::Role;

/// A schedule in words, a line each, in order of time.
pub fn lines(schedule: &Schedule, cast: &[Role]) -> Vec<String> {
    let faults = schedule.faults.iter().map(|fault| {
        let line = format!(
            "{:5.1} s to {:5.1} s  {:12} {}",
            fault.from.as_secs_f64(),
            fault.until.as_secs_f64(),
            cast[fault.endpoint].name,
            fault.kind.name()
        );
        (fault.from, line)
    });
    let attacks = schedule.attacks.iter().map(|attack| {
        let line = format!(
            "{:5.1} s to {:5.1} s  {:12} {}",
            attack.from.as_secs_f64(),
            attack.until.as_secs_f64(),
            "attack",
            attack.kind.name()
        );
        (attack.from, line)
    });
    let incidents = schedule.incidents.iter().map(|(at, what)| {
        let line = format!("{:5.1} s             {}", at.as_secs_f64(), incident(*what));
        (*at, line)
    });
    let mut lines: Vec<_> = faults.chain(attacks).chain(incidents).collect();
    lines.sort();
    lines.into_iter().map(|(_, line)| line).collect()
}

/// An incident in words.
pub fn incident(incident: Incident) -> String {
    match incident {
        Incident::Trap => "a worker's VM traps".to_owned(),
        Incident::Step(hours) => format!("the wall clock steps by {hours:+} h"),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_none = |value: Option<u64>| value.map_or("-".to_owned(), |value| value.to_string());
        writeln!(
            f,
            "{:12} {:15} {:>8} {:>8} {:>10} {:>11} {:>10} {:>16}",
            "endpoint",
            "fault",
            "from s",
            "to s",
            "detect ms",
            "recover ms",
            "after trip",
            "failed meanwhile"
        )?;
        for fault in &self.faults {
            writeln!(
                f,
                "{:12} {:15} {:8.1} {:8.1} {:>10} {:>11} {:>10} {:>16}",
                fault.endpoint,
                fault.kind.name(),
                fault.from_ms as f64 / 1e3,
                fault.until_ms as f64 / 1e3,
                or_none(fault.detect_ms),
                or_none(fault.recover_ms),
                or_none(fault.failed_after_trip),
                fault.failed_meanwhile
            )?;
        }
        for attack in &self.attacks {
            let causes = attack.failed_by_cause.iter();
            let causes: Vec<_> = causes.map(|(cause, n)| format!("{n} x {cause}")).collect();
            writeln!(
                f,
                "{:12} {:15} {:8.1} {:8.1}  {} requests ({}); {} of {} innocent ones failed",
                "attack",
                attack.kind.name(),
                attack.from_ms as f64 / 1e3,
                attack.until_ms as f64 / 1e3,
                attack.requests,
                causes.join(", "),
                attack.innocent_failed,
                attack.innocent_requests
            )?;
        }
        writeln!(f)?;
        for trap in &self.traps {
            writeln!(f, "a VM trapped: it {trap}")?;
        }
        writeln!(
            f,
            "requests          {} ({} failed)",
            self.requests, self.failed
        )?;
        for (cause, count) in &self.failed_by_cause {
            writeln!(f, "                  {count} x {cause}")?;
        }
        writeln!(
            f,
            "availability      {:.5} (wanted: {AVAILABILITY})",
            self.availability
        )?;
        writeln!(
            f,
            "latency           {} ms in the middle, {} ms at p99",
            self.latency_ms_p50, self.latency_ms_p99
        )?;
        writeln!(
            f,
            "detect, p99       {} ms ({} not detected)",
            or_none(self.detect_ms_p99),
            or_none(self.undetected)
        )?;
        writeln!(
            f,
            "recover, p99      {} ms ({} not back at the end)",
            or_none(self.recover_ms_p99),
            or_none(self.unrecovered)
        )?;
        write!(
            f,
            "failed after trip {} (wanted: 0)",
            or_none(self.failed_after_trip)
        )
    }
}
