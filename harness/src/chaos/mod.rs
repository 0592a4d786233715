//! A bad day, on order: steady load on a proxy while a seeded schedule breaks endpoints and heals them.
//!
//! What a balancer is worth shows when endpoints fail, and by how little of it reaches a caller. Everything
//! that goes wrong follows from a seed ([`schedule`]), so that a bad run can be had again; everything
//! that is reported was seen from outside: by the callers, at the servers, on the balancer's own gauges.
//!
//! Real endpoints behind a real proxy rather than a simulation in virtual time: connections that are refused,
//! that break in the middle of a stream or that hang are where proxies differ from models of them.

pub mod cause;
pub mod kind;
pub mod load;
pub mod reckon;
pub mod report;
pub mod schedule;
pub mod standing;
pub mod timeline;
pub mod words;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::time::MissedTickBehavior;

use crate::artifact;
use crate::config::Config;
use crate::envoy::AdminError;
use crate::fleet::{Caller, Order, TENANT_HEADER};
use crate::front::{self, Front, Host};
use crate::stage::{Role, Stage};
use load::Load;
use reckon::{Record, Trial};
use report::Report;
use schedule::{Act, Attack, Incident, Kind, Schedule};
use standing::{History, State};

/// Real servers take 0.2 s for an answer of 24 tokens; at this scale a minute shows tens of thousands.
const SCALE: f64 = 0.05;
/// Workers of the embedded gateway. One whose VM died answers 503 for a second, as in Envoy, and no module can
/// help that: what callers notice of it is a share of one in so many.
const WORKERS: usize = 8;
/// Between two readings of the gauges.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// A worker's VM dies at this hostcall, as it sets a header of a request or of its answer. The main thread's VM,
/// which serves no requests but may make calls of its own, never makes it.
const TRAP_AT: &str = "proxy_replace_header_map_value";
const HOUR_NANOS: i64 = 3_600_000_000_000;

/// What to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The proxy.
    pub host: Host,
    /// Its configuration; simulated servers stand for its endpoints.
    pub config: Config,
    /// What the schedule follows from.
    pub seed: u64,
    /// How long the load goes on.
    pub seconds: u64,
    /// What may happen to endpoints.
    pub kinds: Vec<Kind>,
}

/// Something to show while it goes on.
#[derive(Debug)]
pub enum Event<'a> {
    /// What is going to happen, a line a fault or incident.
    Schedule(&'a [String]),
    /// An order was carried out.
    Did(Duration, &'a str),
    /// How far it has come.
    Progress {
        /// From 0 to 1.
        share: f64,
        /// Requests that are over.
        requests: u64,
        /// Those of them that failed.
        failed: u64,
        /// What the gauges show, an endpoint each.
        states: &'a [Option<State>],
    },
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The figures.
    pub report: Report,
    /// The picture, an SVG document.
    pub svg: String,
}

/// Why there is no outcome.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no proxy, or no fleet.
    #[error(transparent)]
    Front(#[from] front::Error),
    /// No fault can be had without taking a whole pool out.
    #[error("{0}: no pool has two endpoints, so none can be spared; give a pool a second endpoint")]
    NothingToSpare(String),
    /// Envoy stopped telling its gauges.
    #[error(transparent)]
    Gauges(#[from] AdminError),
}

/// Carries out `plan`. It takes its seconds and, at the end, as long as the last answers do.
pub async fn run(plan: &Plan, show: &mut dyn FnMut(Event<'_>)) -> Result<Outcome, Error> {
    let stage = Stage::set(&adapted(&plan.config), SCALE)?;
    let schedule = Schedule::draw(
        plan.seed,
        plan.seconds,
        &pools(&stage.cast),
        &plan.kinds,
        plan.host == Host::Embedded,
    );
    if schedule.faults.is_empty() && schedule.attacks.is_empty() {
        let file = plan.config.file().display().to_string();
        return Err(Error::NothingToSpare(file));
    }
    let lines = words::lines(&schedule, &stage.cast);
    show(Event::Schedule(&lines));
    for endpoint in stage.fleet.endpoints() {
        for order in [
            Order::Poison {
                status: 500,
                in_stream: false,
            },
            Order::LimitTenant { retry_after: 60.0 },
        ] {
            endpoint.order(order).map_err(front::Error::Fleet)?;
        }
    }
    let traps = Arc::default();
    let front = open(plan.host, &stage, &traps).await?;
    let record = Run::new(&stage, &front, &schedule)
        .through(plan.seconds, show)
        .await?;
    let traps = traps.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let report = Report::of(plan.host, plan.seed, lines, &record, &stage.cast, traps);
    let svg = timeline::draw(&record, &stage.cast, &report);
    Ok(Outcome { report, svg })
}

/// The configuration with a bound on how long an answer may take to begin, for routes without one:
/// simulated answers take a tenth of a second, and an endpoint that hangs is to be left before its
/// callers give up. Where it identifies no caller, a header tells the tenants apart.
fn adapted(config: &Config) -> Config {
    let mut document = config.document();
    if let Some(document) = document.as_object_mut() {
        let identity = || json!({"tenant_header": TENANT_HEADER});
        document.entry("identity").or_insert_with(identity);
    }
    let routes = document.get_mut("routes").and_then(Value::as_array_mut);
    for route in routes
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
    {
        let retry = route.entry("retry").or_insert_with(|| json!({}));
        for bound in ["first_byte", "answer"] {
            if let Some(retry) = retry.as_object_mut() {
                retry.entry(bound).or_insert_with(|| json!("2s"));
            }
        }
    }
    config.with_document(&document)
}

/// The endpoints of each pool, by their numbers in `cast`.
fn pools(cast: &[Role]) -> Vec<Vec<usize>> {
    let mut pools: Vec<(&str, Vec<usize>)> = Vec::new();
    for (number, role) in cast.iter().enumerate() {
        match pools.iter_mut().find(|(name, _)| *name == role.pool) {
            Some((_, endpoints)) => endpoints.push(number),
            None => pools.push((&role.pool, vec![number])),
        }
    }
    pools.into_iter().map(|(_, endpoints)| endpoints).collect()
}

async fn open(
    host: Host,
    stage: &Stage,
    traps: &Arc<Mutex<Vec<String>>>,
) -> Result<Front, front::Error> {
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    match host {
        Host::Envoy => stage.open(host, anywhere).await,
        Host::Embedded => {
            let module = front::module(&artifact::build()?)?;
            let heard = Arc::clone(traps);
            let gateway = front::embedded_with(&module, &stage.config, anywhere, |options| {
                options.workers = WORKERS;
                options.on_trap = Arc::new(move |trap| {
                    let told = format!("{} in {}", trap.reason, trap.callback);
                    heard
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push(told);
                });
            })?;
            Ok(Front::Embedded(gateway))
        }
    }
}

/// One run, while it goes on.
struct Run<'a> {
    stage: &'a Stage,
    front: &'a Front,
    began: Instant,
    acts: Vec<(Duration, Act)>,
    trials: Vec<Trial>,
    attacks: Vec<Attack>,
    incidents: Vec<(Duration, Incident)>,
    histories: Vec<History>,
}

impl<'a> Run<'a> {
    fn new(stage: &'a Stage, front: &'a Front, schedule: &Schedule) -> Run<'a> {
        let trials = schedule.faults.iter().map(|fault| Trial {
            endpoint: fault.endpoint,
            kind: fault.kind,
            from: fault.from,
            until: fault.until,
        });
        Run {
            stage,
            front,
            began: Instant::now(),
            acts: schedule.acts(),
            trials: trials.collect(),
            attacks: schedule.attacks.clone(),
            incidents: Vec::new(),
            histories: vec![History::default(); stage.cast.len()],
        }
    }

    async fn through(
        mut self,
        seconds: u64,
        show: &mut dyn FnMut(Event<'_>),
    ) -> Result<Record, Error> {
        let time = Duration::from_secs(seconds);
        let gauges: Vec<String> = self.stage.cast.iter().map(standing::gauge).collect();
        let endpoints = self.stage.fleet.endpoints();
        let arrivals: Vec<_> = endpoints.iter().map(|one| one.arrivals()).collect();
        let pools = self.stage.config.pools().map_err(front::Error::Config)?;
        let load = Load::start(Caller::new(self.front.address()), &pools, self.began);
        let mut acts = std::mem::take(&mut self.acts).into_iter().peekable();
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while self.began.elapsed() < time {
            while let Some((_, act)) = acts.next_if(|(at, _)| *at <= self.began.elapsed()) {
                self.act(act, &load, show)?;
            }
            let began = self.began;
            let now = || began.elapsed();
            standing::look(self.front, &gauges, now, &mut self.histories).await?;
            let (requests, failed) = load.so_far();
            show(Event::Progress {
                share: self.began.elapsed().as_secs_f64() / time.as_secs_f64(),
                requests,
                failed,
                states: &self.states(),
            });
            ticks.tick().await;
        }
        let (samples, hostile) = load.stop().await;
        let missing = gauges.iter().zip(&self.histories);
        let missing = missing.filter(|(_, history)| history.changes.is_empty());
        Ok(Record {
            samples,
            hostile,
            attacks: self.attacks,
            trials: self.trials,
            incidents: self.incidents,
            missing_gauge: missing.map(|(name, _)| name.clone()).next(),
            histories: self.histories,
            arrivals: arrivals
                .iter()
                .map(|arrivals| {
                    let since_began = |at: Instant| at.duration_since(self.began);
                    arrivals.try_iter().map(since_began).collect()
                })
                .collect(),
            end: time,
        })
    }

    /// Does what is to be done, and takes down when that really was.
    fn act(
        &mut self,
        act: Act,
        load: &Load,
        show: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), front::Error> {
        let did = match act {
            Act::Strike(number, order) => {
                self.order(number, order)?;
                self.trials[number].from = self.began.elapsed();
                format!("{}: {}", self.name(number), self.trials[number].kind.name())
            }
            Act::Continue(number, order) => return self.order(number, order),
            Act::Heal(number, order) => {
                self.order(number, order)?;
                self.trials[number].until = self.began.elapsed();
                format!("{}: healed", self.name(number))
            }
            Act::Attack(number) => {
                let attack = &mut self.attacks[number];
                load.attack(attack.kind, true);
                attack.from = self.began.elapsed();
                format!("attack: {}", attack.kind.name())
            }
            Act::Cease(number) => {
                let attack = &mut self.attacks[number];
                load.attack(attack.kind, false);
                attack.until = self.began.elapsed();
                format!("attack: {} ends", attack.kind.name())
            }
            Act::Incident(incident) => {
                if let Front::Embedded(gateway) = self.front {
                    match incident {
                        Incident::Trap => gateway.host().trap_next(TRAP_AT),
                        Incident::Step(hours) => {
                            gateway.host().options().clock.step_wall(hours * HOUR_NANOS)
                        }
                    }
                    self.incidents.push((self.began.elapsed(), incident));
                }
                words::incident(incident)
            }
        };
        show(Event::Did(self.began.elapsed(), &did));
        Ok(())
    }

    fn order(&self, number: usize, order: Order) -> Result<(), front::Error> {
        let endpoint = self.stage.fleet.endpoint(self.trials[number].endpoint);
        endpoint.order(order).map_err(front::Error::Fleet)
    }

    fn name(&self, number: usize) -> &str {
        &self.stage.cast[self.trials[number].endpoint].name
    }

    fn states(&self) -> Vec<Option<State>> {
        let last = |history: &History| history.changes.last().map(|(_, state)| *state);
        self.histories.iter().map(last).collect()
    }
}
