//! What an operator sees of an endpoint: metrics at each change, and a line in the log with the
//! reason.
//!
//! All workers follow what changes, and the leader tells it; so one that takes the lead over tells
//! nothing twice and misses nothing. A line at most a second is written for an endpoint: one that
//! comes and goes faster shows only where it stands then.

use std::net::SocketAddr;
use std::time::Duration;

use log::Level;

use crate::config::Pool;
use crate::health::{Cause, TripRule};
use crate::ports::{Host, Kind, Meter};
use crate::report::metrics;
use crate::values::clock::Instant;

/// Where an endpoint stands, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stand {
    /// [`Standing::code`](crate::health::Standing::code).
    pub code: u8,
    /// Whether it is tripped and takes traffic all the same.
    pub spared: bool,
    /// Why it tripped last.
    pub cause: Cause,
    /// The status of the last check that failed; 0 where none came.
    pub check_status: u16,
    /// The most requests in flight that it is trusted with.
    pub bound: Option<u32>,
}

/// What was told about one endpoint, and how.
pub(super) struct Announced {
    state: Option<Meter>,
    reason: Option<Meter>,
    bound: Option<Meter>,
    /// What the metrics show; `None` if another worker may have set them.
    shown: Option<[u64; 3]>,
    told: Stand,
    last: Option<Instant>,
}

const ADMITTING: u8 = 0;
const RAMPING: u8 = 1;
const PROBING: u8 = 2;
const TRIPPED: u8 = 3;
const RESTING: u8 = 4;
const UNHEALTHY: u8 = 5;

/// Between two lines about an endpoint.
const PAUSE: Duration = Duration::from_secs(1);

impl Announced {
    pub fn new(pool: &str, address: &str, host: &mut dyn Host) -> Announced {
        Announced {
            state: host.define(Kind::Gauge, &metrics::endpoint_state(pool, address)),
            reason: host.define(Kind::Gauge, &metrics::endpoint_reason(pool, address)),
            bound: host.define(Kind::Gauge, &metrics::endpoint_bound(pool, address)),
            shown: None,
            told: Stand::default(),
            last: None,
        }
    }

    /// Another worker sets the metrics, or has set them.
    pub fn forget_metrics(&mut self) {
        self.shown = None;
    }

    /// Tells where the endpoint stands, if that is new and this worker leads.
    pub fn tell(
        &mut self,
        stand: Stand,
        endpoint: (&Pool, SocketAddr),
        leads: bool,
        now: Instant,
        host: &mut dyn Host,
    ) {
        if leads {
            self.show(&stand, host);
        }
        if stand == self.told || (leads && self.last.is_some_and(|last| now.since(last) < PAUSE)) {
            return;
        }
        let before = std::mem::replace(&mut self.told, stand);
        let (pool, address) = endpoint;
        if leads && let Some((level, what)) = line(&before, &stand, pool) {
            self.last = Some(now);
            log::log!(level, "pool {}: endpoint {address} {what}", pool.name);
        }
    }

    /// Whether nothing but another step of the endpoint's state changes where it stands, and all is
    /// told.
    pub fn is_calm(&self, stand: &Stand) -> bool {
        let plainly_in = stand.code == ADMITTING && !stand.spared && stand.bound.is_none();
        plainly_in && self.told == *stand
    }

    fn show(&mut self, stand: &Stand, host: &mut dyn Host) {
        let code = if stand.spared { RAMPING } else { stand.code };
        let shows = [
            code.into(),
            reason(stand).into(),
            stand.bound.unwrap_or_default().into(),
        ];
        let meters = [self.state, self.reason, self.bound];
        for (at, (meter, value)) in meters.into_iter().zip(shows).enumerate() {
            let known = self.shown.and_then(|shown| shown.get(at).copied());
            if let Some(meter) = meter.filter(|_| known != Some(value)) {
                host.record(meter, value);
            }
        }
        self.shown = Some(shows);
    }
}

/// The value of the metric `reason`.
fn reason(stand: &Stand) -> u8 {
    match stand.code {
        PROBING | TRIPPED => match stand.cause.rule {
            TripRule::Row => 1,
            TripRule::Share => 2,
            TripRule::Count => 3,
            TripRule::Probe => 4,
        },
        UNHEALTHY => 5,
        RESTING => 6,
        _ if stand.bound.is_some() => 6,
        _ => 0,
    }
}

/// What changed between `before` and `now`, in words.
#[cold]
#[inline(never)]
fn line(before: &Stand, now: &Stand, pool: &Pool) -> Option<(Level, String)> {
    let was_tripped = matches!(before.code, TRIPPED | PROBING);
    match now.code {
        UNHEALTHY if before.code != UNHEALTHY => {
            let check = pool.check.as_ref()?;
            let (path, answer) = (&check.path, answer(now.check_status));
            let times = times(check.unhealthy_after);
            Some((
                Level::Warn,
                format!("left out: GET {path} {answer} {times}"),
            ))
        }
        TRIPPED | PROBING if !was_tripped || before.cause != now.cause => {
            let cause = tripped(&now.cause, pool);
            let what = match now.spared {
                true => format!(
                    "trips ({cause}) and stays in: the breaker keeps out at most {} % of a pool",
                    pool.max_ejected_percent
                ),
                false => format!("left out: {cause}"),
            };
            Some((Level::Warn, what))
        }
        TRIPPED | PROBING if before.spared != now.spared => {
            let what = match now.spared {
                true => "takes traffic again, tripped as it is: others have tripped before it",
                false => "left out: it is tripped, and no longer needed",
            };
            Some((Level::Warn, what.to_owned()))
        }
        RESTING if before.code != RESTING => {
            let what = "rests: it refused a request while it carried no other";
            Some((Level::Warn, what.to_owned()))
        }
        RAMPING if before.code > RAMPING => {
            let why = match before.code {
                UNHEALTHY => "its checks pass",
                _ => "its probe was answered",
            };
            let seconds = pool.ramp.as_secs();
            let what = format!("is back: {why}; its share grows for {seconds} s");
            Some((Level::Info, what))
        }
        ADMITTING if before.code != ADMITTING => {
            Some((Level::Info, "takes its whole share again".to_owned()))
        }
        _ => bounded(before.bound, now.bound),
    }
}

fn bounded(before: Option<u32>, now: Option<u32>) -> Option<(Level, String)> {
    match (before, now) {
        (None, Some(bound)) => {
            let what = format!("is overloaded: at most {bound} requests in flight for now");
            Some((Level::Warn, what))
        }
        (Some(_), None) => Some((Level::Info, "is no longer bounded".to_owned())),
        _ => None,
    }
}

fn tripped(cause: &Cause, pool: &Pool) -> String {
    use crate::config::Breaker;
    let last = match cause.status {
        0 => "without an answer".to_owned(),
        status => format!("with status {status}"),
    };
    match (cause.rule, pool.breaker) {
        (
            TripRule::Row,
            Some(Breaker::Window {
                failures_in_a_row, ..
            }),
        ) => {
            format!("{failures_in_a_row} requests or more failed in a row, the last {last}")
        }
        (TripRule::Share, Some(Breaker::Window { error_percent, .. })) => {
            format!("more than {error_percent} % of its requests failed, the last {last}")
        }
        (TripRule::Count, Some(Breaker::FailTimeout { max_fails, .. })) => {
            format!("{max_fails} requests failed, the last {last}")
        }
        (TripRule::Probe, _) => format!("its probe failed {last}"),
        // It tripped under another configuration.
        _ => format!("requests failed, the last {last}"),
    }
}

fn answer(status: u16) -> String {
    match status {
        0 => "was not answered".to_owned(),
        status => format!("answered {status}"),
    }
}

fn times(count: u8) -> String {
    match count {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        3 => "three times".to_owned(),
        more => format!("{more} times"),
    }
}
