//! What the balancer thinks of each endpoint, read from its gauges while everything goes on.
//!
//! The gauge is the balancer's own word, so detection is measured where it matters and not where a request
//! happened to fail. It is read twenty times a second: a figure in milliseconds is late by at most that much.

use std::future::Future;
use std::time::Duration;

use serde::Serialize;

use crate::envoy::AdminError;
use crate::front::Front;
use crate::host::Metric;
use crate::stage::Role;

/// An endpoint's standing, by the number that its gauge shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// 0: gets its share.
    Admitting,
    /// 1: on the way back to it.
    Ramping,
    /// 2: one request finds out whether it is well again.
    Probing,
    /// 3: left alone after failures.
    Tripped,
    /// 4: asked to be spared for a while.
    Resting,
    /// 5: failed its health checks.
    Unhealthy,
}

impl State {
    /// All of them, in the order of their numbers.
    pub const ALL: [State; 6] = [
        State::Admitting,
        State::Ramping,
        State::Probing,
        State::Tripped,
        State::Resting,
        State::Unhealthy,
    ];

    /// The state that a gauge of `value` shows.
    pub fn of(value: i64) -> Option<State> {
        State::ALL.get(usize::try_from(value).ok()?).copied()
    }

    /// Whether it says that the endpoint was found broken.
    pub fn out(self) -> bool {
        matches!(self, State::Probing | State::Tripped | State::Unhealthy)
    }

    /// Whether it says that the endpoint takes part again.
    pub fn back(self) -> bool {
        matches!(self, State::Admitting | State::Ramping)
    }

    /// Its name, as reports have it.
    pub fn name(self) -> &'static str {
        match self {
            State::Admitting => "admitting",
            State::Ramping => "ramping",
            State::Probing => "probing",
            State::Tripped => "tripped",
            State::Resting => "resting",
            State::Unhealthy => "unhealthy",
        }
    }
}

/// The gauge of one endpoint, as the module names it.
pub fn gauge(role: &Role) -> String {
    format!("junheng.endpoint.{}.{}.state", role.pool, role.simulated)
}

/// Where gauges are read.
pub trait Gauges {
    /// The value of each gauge of `names`; none where there is no such gauge.
    fn read(&self, names: &[String]) -> impl Future<Output = Result<Vec<Option<i64>>, AdminError>>;
}

impl Gauges for Front {
    async fn read(&self, names: &[String]) -> Result<Vec<Option<i64>>, AdminError> {
        match self {
            Front::Embedded(gateway) => {
                let host = gateway.host();
                let gauges = names.iter().map(|name| match host.metric(name) {
                    Some(Metric::Gauge(value)) => Some(value),
                    _ => None,
                });
                Ok(gauges.collect())
            }
            Front::Envoy(envoy) => {
                let page = envoy.admin("/stats?filter=junheng.endpoint.*state").await?;
                Ok(names.iter().map(|name| on_page(&page, name)).collect())
            }
        }
    }
}

/// The value of a module's gauge on Envoy's page of statistics.
fn on_page(page: &str, name: &str) -> Option<i64> {
    page.lines().find_map(|line| {
        let line = line.strip_prefix("wasmcustom.")?;
        line.strip_prefix(name)?.strip_prefix(": ")?.parse().ok()
    })
}

/// What the gauge of one endpoint showed, and since when.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Each change, in order of time.
    pub changes: Vec<(Duration, State)>,
}

impl History {
    /// Takes a reading down; only changes are kept.
    pub fn note(&mut self, at: Duration, state: State) {
        if self.changes.last().is_none_or(|(_, last)| *last != state) {
            self.changes.push((at, state));
        }
    }

    /// What it showed and from when to when, the last up to `end`.
    pub fn spans(&self, end: Duration) -> impl Iterator<Item = (Duration, Duration, State)> + '_ {
        let ends = self.changes.iter().skip(1).map(|(at, _)| *at);
        let ends = ends.chain(std::iter::once(end));
        self.changes
            .iter()
            .zip(ends)
            .map(|((from, state), to)| (*from, to, *state))
    }
}

/// Reads all gauges once and takes them down; a gauge that is missing leaves no trace.
pub async fn look(
    gauges: &impl Gauges,
    names: &[String],
    now: impl FnOnce() -> Duration,
    histories: &mut [History],
) -> Result<(), AdminError> {
    let values = gauges.read(names).await?;
    let at = now();
    for (value, history) in values.into_iter().zip(histories) {
        if let Some(state) = value.and_then(State::of) {
            history.note(at, state);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Gauges that show one row after the other.
    struct Scripted(Vec<[Option<i64>; 2]>, Cell<usize>);

    impl Gauges for Scripted {
        async fn read(&self, _names: &[String]) -> Result<Vec<Option<i64>>, AdminError> {
            let row = self.1.replace(self.1.get() + 1);
            Ok(self.0[row].to_vec())
        }
    }

    #[tokio::test]
    async fn changes_are_kept_with_their_time_and_missing_gauges_leave_no_trace() {
        let rows = vec![
            [Some(0), None],
            [Some(0), None],
            [Some(3), None],
            [Some(9), None],
            [Some(2), None],
            [Some(1), None],
        ];
        let count = rows.len();
        let gauges = Scripted(rows, Cell::new(0));
        let mut histories = vec![History::default(); 2];
        for tick in 0..count as u64 {
            let now = || Duration::from_millis(50 * tick);
            look(&gauges, &[], now, &mut histories).await.unwrap();
        }
        let millis: Vec<_> = histories[0]
            .spans(Duration::from_secs(1))
            .map(|(from, to, state)| (from.as_millis(), to.as_millis(), state))
            .collect();
        assert_eq!(
            millis,
            [
                (0, 100, State::Admitting),
                (100, 200, State::Tripped),
                (200, 250, State::Probing),
                (250, 1000, State::Ramping)
            ]
        );
        assert!(histories[1].changes.is_empty());
    }

    #[test]
    fn a_gauge_is_found_on_envoys_page_by_its_whole_name() {
        let page = "wasmcustom.junheng.endpoint.small.127.0.0.1:80.state: 3\n\
                    wasmcustom.junheng.endpoint.small.127.0.0.1:8080.state: 5\n";
        let of = |port: u16| {
            let name = format!("junheng.endpoint.small.127.0.0.1:{port}.state");
            on_page(page, &name)
        };
        assert_eq!((of(80), of(8080), of(808)), (Some(3), Some(5), None));
    }
}
