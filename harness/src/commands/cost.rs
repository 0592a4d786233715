//! `harness cost`.

use std::process::ExitCode;
use std::time::Duration;

use clap::ValueEnum;
use harness::cost::{self, Plan};
use indicatif::{ProgressBar, ProgressStyle};

/// Measure what Junheng adds to Envoy.
///
/// Runs six Envoys with one worker each: plain, with a module that does nothing, with a Lua filter
/// that measures the body, with a module that places requests as Junheng does and reads nothing of them
/// (so that what is left is Junheng's own), with Junheng, and with Junheng that asks for an API key and
/// counts requests and tokens for two limits; loads them in turn, in many short rounds, and prints the medians of CPU time a request (from /proc, so Linux only), requests a second and latency.
///
/// The budget: Junheng adds at most 15 us of CPU at 1k and 50 us at 256k, and serves at least 0.80 of
/// plain Envoy's requests a second. API key and limits add at most 8 us of CPU to that at 1k.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  harness cost                       a chat request of 1 KiB
  harness cost --body 256k --json    a long prompt, figures as JSON
  harness cost --stream              answers as server-sent events, 33 a request
  harness cost --instructions        the same, counted under valgrind; some minutes

Figures hold for a machine that is doing little else; run longer (--seconds 60) when in doubt.")]
pub struct Args {
    /// The proxy to measure. Only Envoy can be: its cost is the one that users pay
    #[arg(long, value_enum, default_value_t = Host::Envoy)]
    host: Host,
    /// Size of the request's body
    #[arg(long, value_enum, default_value_t = Body::K1)]
    body: Body,
    /// Answer with a stream of events instead of one document
    #[arg(long)]
    stream: bool,
    /// Count instructions and pages of code under valgrind instead of measuring time: alike on
    /// any machine
    #[arg(long, conflicts_with = "seconds")]
    instructions: bool,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
    /// How long to measure, all Envoys together
    #[arg(long, value_name = "N", default_value_t = 20)]
    seconds: u64,
}

#[derive(Clone, Copy, ValueEnum)]
enum Host {
    Envoy,
}

#[derive(Clone, Copy, ValueEnum)]
enum Body {
    #[value(name = "1k")]
    K1,
    #[value(name = "32k")]
    K32,
    #[value(name = "256k")]
    K256,
}

impl Body {
    fn bytes(self) -> usize {
        let kib = match self {
            Self::K1 => 1,
            Self::K32 => 32,
            Self::K256 => 256,
        };
        kib * 1024
    }
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Host::Envoy = args.host;
    let plan = Plan {
        body_bytes: args.body.bytes(),
        stream: args.stream,
        time: Duration::from_secs(args.seconds),
    };
    // One thread for load and backends: the other core is Envoy's.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    if args.instructions {
        let bar = ProgressBar::new_spinner();
        let counted = runtime.block_on(cost::count(&plan, |variant| {
            bar.set_message(format!("counting {variant}"));
            bar.tick();
        }))?;
        bar.finish_and_clear();
        return print(&counted, args.json);
    }
    let bar = ProgressBar::new(0).with_style(ProgressStyle::with_template(
        "{bar:32} {pos}/{len} rounds  {msg}",
    )?);
    bar.set_message("building the modules, starting six Envoys");
    let report = runtime.block_on(cost::measure(&plan, |progress| {
        bar.set_length(progress.of as u64);
        bar.set_position(progress.done as u64);
        bar.set_message(format!("junheng {:+.1} us", progress.added_cpu_us));
    }))?;
    bar.finish_and_clear();
    print(&report, args.json)
}

fn print(
    report: &(impl serde::Serialize + std::fmt::Display),
    json: bool,
) -> anyhow::Result<ExitCode> {
    if json {
        println!("{}", serde_json::to_string(report)?)
    } else {
        println!("{report}")
    }
    Ok(ExitCode::SUCCESS)
}
