//! From rounds to figures: medians, and differences within a round.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::Plan;
use super::load::Counted;
use super::variant::Variant;

/// The figures of one Envoy.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Figures {
    /// CPU time a request, microseconds, all of Envoy's threads; median of the rounds.
    pub cpu_us: f64,
    /// Requests per second with one worker; median of the rounds.
    pub rps: f64,
    /// Median latency, microseconds, under full load.
    pub p50_us: f64,
    /// 99th percentile of the latency, microseconds, under full load.
    pub p99_us: f64,
}

/// A finished measurement; serialised, it is what `harness cost --json` prints.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Size of the request's body, such as `32k`.
    pub body: String,
    /// Whether answers were streamed.
    pub stream: bool,
    /// Rounds measured.
    pub rounds: usize,
    /// Envoy without a filter.
    pub plain: Figures,
    /// Envoy with a module that does nothing.
    pub noop: Figures,
    /// Envoy with a Lua filter that measures the body.
    pub lua: Figures,
    /// Envoy with a module that holds the body and names cluster and endpoints, and reads nothing.
    pub route: Figures,
    /// Envoy with Junheng.
    pub junheng: Figures,
    /// Envoy with Junheng that asks for an API key and counts each request for two limits.
    pub limits: Figures,
    /// CPU time a request that Junheng adds to plain Envoy, microseconds.
    pub added_cpu_us: f64,
    /// CPU time a request that an API key and two limits add to Junheng, microseconds.
    pub limits_added_cpu_us: f64,
    /// Requests per second with Junheng over those of plain Envoy.
    pub rps_ratio: f64,
    /// Hostcalls that return data, a request, counted by the harness' own host.
    pub host_calls_returning_data: u64,
    /// The same, with an API key and two limits.
    pub limits_host_calls_returning_data: u64,
}

/// One turn of one Envoy.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    cpu_us: f64,
    rps: f64,
    latencies: Vec<Duration>,
}

impl Sample {
    /// What a turn's counts say per request.
    pub fn new(counted: Counted) -> Self {
        let requests = counted.latencies.len().max(1) as f64;
        Self {
            cpu_us: counted.cpu.as_secs_f64() * 1e6 / requests,
            rps: requests / counted.wall.as_secs_f64(),
            latencies: counted.latencies,
        }
    }
}

/// A turn of each Envoy.
#[derive(Debug, Clone, Default)]
pub struct Round(BTreeMap<Variant, Sample>);

impl Round {
    /// Keeps the turn of `variant`.
    pub fn set(&mut self, variant: Variant, sample: Sample) {
        self.0.insert(variant, sample);
    }

    /// CPU time that Junheng added in this round, microseconds a request.
    pub fn added_cpu_us(&self) -> f64 {
        self.cpu_us_between(Variant::Plain, Variant::Junheng)
    }

    /// CPU time that an API key and two limits added to that, microseconds a request.
    fn limits_added_cpu_us(&self) -> f64 {
        self.cpu_us_between(Variant::Junheng, Variant::Limits)
    }

    fn cpu_us_between(&self, less: Variant, more: Variant) -> f64 {
        self.of(more, |turn| turn.cpu_us) - self.of(less, |turn| turn.cpu_us)
    }

    fn rps_ratio(&self) -> f64 {
        self.of(Variant::Junheng, |turn| turn.rps) / self.of(Variant::Plain, |turn| turn.rps)
    }

    fn of(&self, variant: Variant, figure: impl Fn(&Sample) -> f64) -> f64 {
        self.0.get(&variant).map_or(f64::NAN, figure)
    }
}

impl Report {
    /// Sums up the rounds of `plan`, and adds the counts of hostcalls, without an API key and limits and with them.
    pub fn new(
        plan: &Plan,
        rounds: &[Round],
        host_calls_returning_data: u64,
        limits_host_calls_returning_data: u64,
    ) -> Self {
        let figures = |variant| figures(rounds, variant);
        Self {
            body: size(plan.body_bytes),
            stream: plan.stream,
            rounds: rounds.len(),
            plain: figures(Variant::Plain),
            noop: figures(Variant::Noop),
            lua: figures(Variant::Lua),
            route: figures(Variant::Route),
            junheng: figures(Variant::Junheng),
            limits: figures(Variant::Limits),
            added_cpu_us: tenths(median(rounds.iter().map(Round::added_cpu_us))),
            limits_added_cpu_us: tenths(median(rounds.iter().map(Round::limits_added_cpu_us))),
            rps_ratio: (median(rounds.iter().map(Round::rps_ratio)) * 1000.0).round() / 1000.0,
            host_calls_returning_data,
            limits_host_calls_returning_data,
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answers = if self.stream { "streamed" } else { "whole" };
        writeln!(
            out,
            "body {}, answers {answers}, {} rounds, one worker\n",
            self.body, self.rounds
        )?;
        writeln!(
            out,
            "{:<10}{:>12}{:>10}{:>10}{:>10}{:>12}",
            "", "cpu us/req", "added", "req/s", "p50 us", "p99 us"
        )?;
        let rows = [
            ("plain", &self.plain),
            ("noop", &self.noop),
            ("lua", &self.lua),
            ("route", &self.route),
            ("junheng", &self.junheng),
            ("limits", &self.limits),
        ];
        for (name, row) in rows {
            let added = row.cpu_us - self.plain.cpu_us;
            let Figures {
                cpu_us,
                rps,
                p50_us,
                p99_us,
            } = row;
            writeln!(
                out,
                "{name:<10}{cpu_us:>12.1}{added:>+10.1}{rps:>10.0}{p50_us:>10.0}{p99_us:>12.0}"
            )?;
        }
        writeln!(
            out,
            "\nJunheng adds {:.1} us of CPU a request (median within rounds)",
            self.added_cpu_us
        )?;
        writeln!(
            out,
            "and serves {:.3} of plain Envoy's requests a second,",
            self.rps_ratio
        )?;
        writeln!(
            out,
            "with {} hostcalls a request that return data.",
            self.host_calls_returning_data
        )?;
        write!(
            out,
            "An API key and two limits add {:.1} us to that, and {} such hostcalls.",
            self.limits_added_cpu_us,
            self.limits_host_calls_returning_data
                .saturating_sub(self.host_calls_returning_data)
        )
    }
}

fn figures(rounds: &[Round], variant: Variant) -> Figures {
    let turns = || rounds.iter().filter_map(|round| round.0.get(&variant));
    let mut latencies: Vec<_> = turns()
        .flat_map(|turn| turn.latencies.iter().copied())
        .collect();
    latencies.sort_unstable();
    Figures {
        cpu_us: tenths(median(turns().map(|turn| turn.cpu_us))),
        rps: median(turns().map(|turn| turn.rps)).round(),
        p50_us: percentile_us(&latencies, 50),
        p99_us: percentile_us(&latencies, 99),
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    let at = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    if values.len() % 2 == 1 {
        at(middle)
    } else {
        f64::midpoint(at(middle.wrapping_sub(1)), at(middle))
    }
}

fn percentile_us(sorted: &[Duration], percent: usize) -> f64 {
    let at = sorted.get(sorted.len() * percent / 100).or(sorted.last());
    at.map_or(f64::NAN, |latency| (latency.as_secs_f64() * 1e6).round())
}

fn tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

pub(super) fn size(bytes: usize) -> String {
    if bytes.is_multiple_of(1024) {
        format!("{}k", bytes / 1024)
    } else {
        bytes.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(plain: f64, junheng: f64, limits: f64) -> Round {
        let turn = |cpu_us| Sample {
            cpu_us,
            rps: 1e6 / cpu_us,
            latencies: vec![Duration::from_micros(100)],
        };
        Round(BTreeMap::from([
            (Variant::Plain, turn(plain)),
            (Variant::Junheng, turn(junheng)),
            (Variant::Limits, turn(limits)),
        ]))
    }

    #[test]
    fn a_machine_that_slows_down_half_way_does_not_change_what_is_added() {
        let rounds = [
            round(50.0, 60.0, 65.0),
            round(50.0, 60.0, 64.0),
            round(90.0, 100.0, 106.0),
            round(95.0, 105.0, 110.0),
        ];
        let plan = Plan {
            body_bytes: 1024,
            stream: false,
            time: Duration::ZERO,
        };
        let report = Report::new(&plan, &rounds, 7, 9);
        assert_eq!((report.body.as_str(), report.added_cpu_us), ("1k", 10.0));
        assert_eq!(report.limits_added_cpu_us, 5.0);
        assert_eq!(report.plain.p99_us, 100.0);
        let told = report.to_string();
        assert!(told.ends_with("add 5.0 us to that, and 2 such hostcalls."));
    }

    #[test]
    fn the_median_of_an_even_count_lies_between_the_middle_two() {
        assert_eq!(median([4.0, 1.0, 3.0, 2.0].into_iter()), 2.5);
        assert_eq!(median([9.0, 1.0, 3.0].into_iter()), 3.0);
    }
}
