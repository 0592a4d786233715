//! What a module costs Envoy: CPU per request and requests per second, over plain Envoy.
//!
//! Six Envoys run side by side: plain, with a module that does nothing, with a Lua filter that only
//! measures the body, with a module that places requests as Junheng does and reads nothing of them, with
//! Junheng, and with Junheng that asks for an API key and counts requests and tokens for two limits. All have the
//! same bootstrap but for that filter, one worker, and the same backends, and get the same requests. Load goes to
//! one at a time, in many short rounds of rotating order, and the figures are medians; what Junheng adds to plain
//! Envoy, and what key and limits add to Junheng, are the medians of the differences *within* a round. A long
//! run of each in turn would compare minutes of a machine that is never twice the same.
//!
//! CPU time is the kernel's own account of Envoy's threads (`/proc/<pid>/task/*/schedstat`, in
//! nanoseconds), not the wall clock: other programs slow Envoy down but add nothing to it.

mod backend;
mod body;
mod callgrind;
mod cpu;
mod hostcalls;
mod load;
mod report;
pub(crate) mod variant;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};

pub use body::chat;
pub use callgrind::{Counts, Instructions, count};
pub use report::{Figures, Report};

use crate::envoy::{Envoy, EnvoyOptions};
use report::{Round, Sample};
use variant::Variant;

/// What to measure.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Bytes of the request's body, exactly.
    pub body_bytes: usize,
    /// Whether the answer is streamed as events.
    pub stream: bool,
    /// How long to measure, all Envoys together.
    pub time: Duration,
}

/// How far a measurement is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Rounds done.
    pub done: usize,
    /// Rounds in all.
    pub of: usize,
    /// What Junheng added in the last round, microseconds a request.
    pub added_cpu_us: f64,
}

/// One variant's turn in a round: long against scheduling noise, short against drift.
const TURN: Duration = Duration::from_millis(200);
/// Before each turn, load that is not counted: connections and caches come back.
const WARM_UP: Duration = Duration::from_millis(40);
/// Before the first round, load on each that is not counted: V8 compiles a module quickly first, and
/// again, well, what turns out to run often.
const SETTLE: Duration = Duration::from_millis(1000);
/// Fewer rounds make no median.
const LEAST_ROUNDS: usize = 5;
/// Endpoints of the shipped bootstrap: each is one listener of the same backend.
const SHIPPED_ENDPOINTS: std::ops::RangeInclusive<u16> = 9001..=9006;

/// Runs the measurement. `progress` is told after each round.
pub async fn measure(plan: &Plan, mut progress: impl FnMut(Progress)) -> Result<Report> {
    let backends = backend::start(SHIPPED_ENDPOINTS.count(), plan.stream)?;
    let body = body::chat(plan.body_bytes, plan.stream);
    let request = load::request(&body);
    let mut running = Vec::new();
    for variant in Variant::ALL {
        let bootstrap = variant.bootstrap(plan.body_bytes, &backends)?;
        let options = EnvoyOptions {
            concurrency: 1,
            ..EnvoyOptions::new(bootstrap)
        };
        let envoy = Envoy::start(options)
            .await
            .with_context(|| format!("{} Envoy", variant.name()))?;
        running.push((variant, envoy));
    }
    for (variant, envoy) in &running {
        let answered = load::probe(envoy.listener_address(), &request).await;
        answered.with_context(|| {
            format!(
                "{} Envoy did not answer the measured request",
                variant.name()
            )
        })?;
        load::run(
            envoy.listener_address(),
            &request,
            Duration::ZERO,
            SETTLE,
            || Ok(Duration::ZERO),
        )
        .await?;
    }

    let count = rounds_in(plan.time);
    let mut rounds = Vec::with_capacity(count);
    for number in 0..count {
        let mut round = Round::default();
        for turn in 0..running.len() {
            if let Some((variant, envoy)) = running.get((number + turn) % running.len()) {
                round.set(*variant, take_turn(envoy, &request).await?);
            }
        }
        progress(Progress {
            done: number + 1,
            of: count,
            added_cpu_us: round.added_cpu_us(),
        });
        rounds.push(round);
    }
    let calls = [false, true].map(|limited| hostcalls::returning_data(&body, limited));
    let [calls, limited_calls] = calls;
    Ok(Report::new(plan, &rounds, calls?, limited_calls?))
}

async fn take_turn(envoy: &Envoy, request: &[u8]) -> Result<Sample> {
    let listener: SocketAddr = envoy.listener_address();
    let pid = envoy.pid();
    let counted = load::run(listener, request, WARM_UP, TURN, move || {
        cpu::of_process(pid)
    })
    .await?;
    Ok(Sample::new(counted))
}

fn rounds_in(time: Duration) -> usize {
    let round = (TURN + WARM_UP) * u32::try_from(Variant::ALL.len()).unwrap_or(u32::MAX);
    let rounds = time.as_millis() / round.as_millis();
    usize::try_from(rounds)
        .unwrap_or(usize::MAX)
        .max(LEAST_ROUNDS)
}
