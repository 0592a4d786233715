//! `harness chaos`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use harness::artifact;
use harness::chaos::report::Report;
use harness::chaos::schedule::Kind;
use harness::chaos::standing::State;
use harness::chaos::{self, Event, Plan};
use harness::config::Config;
use harness::front::Host;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Break endpoints under load, on a schedule, and measure what callers notice.
///
/// A simulated model server for each endpoint of the configuration, a proxy before them, and 24
/// callers that always have one request each in the air: chats to every pool, short and long, whole
/// and streamed. Meanwhile a schedule that follows from --seed kills, slows, hangs, resets, fails,
/// flaps and overloads endpoints or lets their streams open with an error, and heals them; at least
/// a third of each pool, one endpoint at the least, is always left alone. On the embedded gateway
/// it also ends a worker's VM by a trap and steps the wall clock by an hour, forth and back.
///
/// In each wave hostile tenants attack, too: poison is requests that every server answers 500,
/// tenant_429 a tenant that every server answers 429. What they get is reported apart; availability
/// is that of the innocent tenant. A configuration without `identity` gets a header that tells the
/// tenants apart.
///
/// A request has failed unless a complete answer of 200 came within 15 s. Detection is the time from a fault's
/// order until the balancer's gauge junheng.endpoint.POOL.IP:PORT.state shows it, recovery the time from
/// its healing until the gauge shows the endpoint back; slow endpoints need not be detected.
/// failed_after_trip counts the requests that reached a faulty endpoint, as its server saw them, while the gauge
/// showed it out and more than 1 s after that began. Health checks do not count, nor does one probe for each time
/// that the gauge shows probing; connections that a killed endpoint refuses reach no server.
///
/// Exits with 0 only if availability is at least 0.9995 and failed_after_trip is 0; with 2 if the gauges that
/// tell are missing. Under a minute endpoints may still be out at the end, as a tripped one is for 30 s.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  harness chaos                              a minute on the embedded gateway
  harness chaos --host envoy --seed 7        the schedule of seed 7 on a real Envoy
  harness chaos --only kill,hang             only these kinds of fault
  harness chaos --seconds 600 --json | jq .availability")]
pub struct Args {
    /// The proxy that runs the artifact
    #[arg(long, value_enum, default_value_t = Host::Embedded)]
    host: Host,
    /// What the schedule follows from
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// How long the load goes on
    #[arg(long, value_name = "N", default_value_t = 60, value_parser = clap::value_parser!(u64).range(10..=86_400))]
    seconds: u64,
    /// Print one JSON object instead of a report
    #[arg(long)]
    json: bool,
    /// A plugin configuration or an Envoy bootstrap, JSON or YAML; envoy/envoy.yaml without it
    #[arg(long, value_name = "F")]
    config: Option<PathBuf>,
    /// Where the timeline is drawn; target/chaos.svg without it
    #[arg(long, value_name = "PATH")]
    svg: Option<PathBuf>,
    /// Only these kinds of fault and attack, separated by commas
    #[arg(long, value_name = "KINDS", value_enum, value_delimiter = ',')]
    only: Vec<Kind>,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let config = args.config.as_deref();
    let plan = Plan {
        host: args.host,
        config: config.map_or_else(Config::shipped, Config::read)?,
        seed: args.seed,
        seconds: args.seconds,
        kinds: if args.only.is_empty() {
            Kind::ALL.to_vec()
        } else {
            args.only
        },
    };
    let bar = ProgressBar::with_draw_target(Some(1000), ProgressDrawTarget::stderr()).with_style(
        ProgressStyle::with_template("  {bar:32} {percent:>3} %  {msg}")?,
    );
    let mut show = |event: Event<'_>| match event {
        Event::Schedule(lines) => bar.suspend(|| {
            eprintln!("The schedule of seed {}:", args.seed);
            for line in lines {
                eprintln!("  {line}");
            }
            eprintln!();
        }),
        Event::Did(at, what) => {
            bar.suspend(|| eprintln!("  {:5.1} s  {what}", at.as_secs_f64()));
        }
        Event::Progress {
            share,
            requests,
            failed,
            states,
        } => {
            bar.set_position((share * 1000.0) as u64);
            let marks: String = states.iter().map(|state| mark(*state)).collect();
            bar.set_message(format!("{requests} requests, {failed} failed  {marks}"));
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let outcome = runtime.block_on(chaos::run(&plan, &mut show))?;
    bar.finish_and_clear();
    let path = args
        .svg
        .unwrap_or_else(|| artifact::target_dir().join("chaos.svg"));
    if args.json {
        println!("{}", serde_json::to_string(&outcome.report)?);
    } else {
        println!("{}", outcome.report);
    }
    std::fs::write(&path, outcome.svg)
        .with_context(|| format!("cannot write {}; choose with --svg", path.display()))?;
    eprintln!("timeline          {}", path.display());
    Ok(verdict(&outcome.report))
}

fn verdict(report: &Report) -> ExitCode {
    if let Some(name) = &report.missing_metric {
        eprintln!(
            "error: there is no metric {name}: detection, recovery and failed_after_trip are unknown; \
             they need a module that publishes each endpoint's state"
        );
        return ExitCode::from(2);
    }
    if report.held {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// One endpoint's state in one letter.
fn mark(state: Option<State>) -> char {
    match state {
        None => '?',
        Some(State::Admitting) => '·',
        Some(State::Ramping) => 'r',
        Some(State::Probing) => 'p',
        Some(State::Tripped) => 'T',
        Some(State::Resting) => 'z',
        Some(State::Unhealthy) => 'U',
    }
}
