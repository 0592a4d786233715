//! Goodput near and beyond a pool's capacity: Envoy with Junheng beside plain Envoy, before the
//! same servers.
//!
//! Four servers run four requests of 200 ms each at once and answer 503 to the next, so they serve
//! 80 requests a second. Closed-loop clients offer from half of that to three times as much. A
//! client that is refused waits as long as `Retry-After` says, or 50 ms where it says nothing, as
//! clients of model APIs do. Plain Envoy balances by least request; both have two workers, the
//! shipped bootstrap and no active checks.
//!
//! Both proxies run all the time and get the load in turn, one after the other for each row: what a
//! machine is busy with otherwise concerns both.

mod proxies;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::Result;
use http::StatusCode;
use serde::Serialize;
use tokio::task::JoinSet;

use crate::envoy::{Envoy, EnvoyOptions};
use crate::fleet::{Answer, CallError, Caller, Endpoint, EndpointSpec, Fleet, Order, Speed};

const ENDPOINTS: usize = 4;
const SLOTS: usize = 4;
const SERVICE: Duration = Duration::from_millis(200);
/// What a client waits whose refusal has no `Retry-After`.
const PAUSE: Duration = Duration::from_millis(50);

/// What to measure.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Numbers of clients, a row each.
    pub clients: Vec<usize>,
    /// Before each measurement, load that is not counted.
    pub warm_up: Duration,
    /// How long each measurement lasts.
    pub time: Duration,
}

/// The table.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Requests a second that the servers can answer.
    pub capacity: f64,
    /// In the order of the plan, with `Retry-After` first.
    pub rows: Vec<Row>,
}

/// One load.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// Closed-loop clients.
    pub clients: usize,
    /// Whether refusals carry `Retry-After: 1`.
    pub retry_after: bool,
    /// Good answers a second that these clients could get.
    pub possible: f64,
    /// Plain Envoy's figures.
    pub plain: Figures,
    /// Envoy's with Junheng.
    pub junheng: Figures,
}

/// What clients got from one proxy.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Figures {
    /// Good answers a second.
    pub goodput: f64,
    /// Other answers a second.
    pub refused: f64,
    /// Requests a second that the servers refused, those that the proxy then tried elsewhere
    /// included.
    pub shed: f64,
}

/// Runs the measurement. `progress` is called with each row.
pub async fn measure(plan: &Plan, mut progress: impl FnMut(&Row)) -> Result<Report> {
    let fleet = fleet()?;
    let addresses: Vec<_> = fleet.endpoints().iter().map(Endpoint::address).collect();
    let plain = Envoy::start(EnvoyOptions::new(proxies::plain(&addresses)?)).await?;
    let junheng = Envoy::start(EnvoyOptions::new(proxies::junheng(&addresses)?)).await?;
    let slot = 1.0 / SERVICE.as_secs_f64();
    let mut rows = Vec::new();
    for retry_after in [true, false] {
        for endpoint in fleet.endpoints() {
            endpoint.order(Order::Shed {
                slots: SLOTS,
                status: 503,
                retry_after: retry_after.then_some(1.0),
            })?;
        }
        for &clients in &plan.clients {
            let row = Row {
                clients,
                retry_after,
                possible: clients.min(ENDPOINTS * SLOTS) as f64 * slot,
                plain: load(&plain, &fleet, clients, plan).await,
                junheng: load(&junheng, &fleet, clients, plan).await,
            };
            progress(&row);
            rows.push(row);
        }
    }
    Ok(Report {
        capacity: (ENDPOINTS * SLOTS) as f64 * slot,
        rows,
    })
}

fn fleet() -> std::io::Result<Fleet> {
    let speed = Speed {
        // Two tokens: the first at once, the second when all of the time is over.
        decode_us: SERVICE.as_secs_f64() * 1e6,
        slots: SLOTS,
        ..Speed::INSTANT
    };
    let specs: Vec<_> = (1..=ENDPOINTS)
        .map(|number| EndpointSpec {
            answer_tokens: 2,
            ..EndpointSpec::new(format!("small-{number}"), speed)
        })
        .collect();
    Fleet::start(&specs)
}

#[derive(Default)]
struct Counts {
    stop: AtomicBool,
    good: AtomicU64,
    refused: AtomicU64,
}

async fn load(envoy: &Envoy, fleet: &Fleet, clients: usize, plan: &Plan) -> Figures {
    let counts = Arc::<Counts>::default();
    let caller = Arc::new(Caller::new(envoy.listener_address()));
    let mut running = JoinSet::new();
    for _ in 0..clients {
        running.spawn(client(Arc::clone(&caller), Arc::clone(&counts)));
    }
    let shed = || {
        let stats = fleet.endpoints().iter().map(Endpoint::stats);
        stats.map(|stats| stats.failures).sum::<u64>()
    };
    let look = || {
        let answers = [&counts.good, &counts.refused].map(|count| count.load(Relaxed));
        (Instant::now(), answers, shed())
    };
    tokio::time::sleep(plan.warm_up).await;
    let (began, [good_before, refused_before], shed_before) = look();
    tokio::time::sleep(plan.time).await;
    let (ended, [good, refused], shed) = look();
    counts.stop.store(true, Relaxed);
    running.join_all().await;
    let a_second = |count: u64| count as f64 / (ended - began).as_secs_f64();
    Figures {
        goodput: a_second(good - good_before),
        refused: a_second(refused - refused_before),
        shed: a_second(shed - shed_before),
    }
}

/// One request at a time until told to stop.
async fn client(caller: Arc<Caller>, counts: Arc<Counts>) {
    while !counts.stop.load(Relaxed) {
        match caller.chat("qwen2.5-7b", "wait").await {
            Ok(answer) if answer.status == StatusCode::OK => {
                counts.good.fetch_add(1, Relaxed);
            }
            answer => {
                counts.refused.fetch_add(1, Relaxed);
                tokio::time::sleep(pause(&answer)).await;
            }
        }
    }
}

fn pause(answer: &Result<Answer, CallError>) -> Duration {
    let told = answer.as_ref().ok().and_then(|answer| {
        let millis = answer
            .header("retry-after-ms")
            .and_then(|told| told.parse::<f64>().ok());
        let seconds = || answer.header("retry-after")?.parse::<f64>().ok();
        millis.map(|millis| millis / 1e3).or_else(seconds)
    });
    told.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .unwrap_or(PAUSE)
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "Good answers a second of {:.0}, in brackets refusals to clients and of servers",
            self.capacity
        )?;
        write!(
            f,
            "{:>7} {:>11} {:>8}  {:>22}  {:>22} {:>9}",
            "clients", "Retry-After", "possible", "plain Envoy", "with Junheng", "share"
        )?;
        for row in &self.rows {
            let figures =
                |one: &Figures| format!("{:.1} ({:.1}, {:.1})", one.goodput, one.refused, one.shed);
            write!(
                f,
                "\n{:7} {:>11} {:8.0}  {:>22}  {:>22} {:9.2}",
                row.clients,
                if row.retry_after { "1" } else { "-" },
                row.possible,
                figures(&row.plain),
                figures(&row.junheng),
                row.junheng.goodput / row.possible
            )?;
        }
        Ok(())
    }
}
