//! `harness overload`.

use std::process::ExitCode;
use std::time::Duration;

use harness::overload::{self, Plan};
use indicatif::{ProgressBar, ProgressStyle};

/// Measure goodput near and beyond a pool's capacity.
///
/// Four simulated servers of four slots and 200 ms a request, so of 80 requests a second, each
/// answering 503 beyond its slots. Closed-loop clients ask through Envoy with Junheng and through
/// plain Envoy (least request), in turn; a refused client waits as long as Retry-After says, or 50
/// ms where there is none. Prints good answers a second with and without Retry-After.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  harness overload                       half the capacity to three times as much; some minutes
  harness overload --clients 15 --json   one load, figures as JSON")]
pub struct Args {
    /// Numbers of clients, separated by commas; 16 fill all slots
    #[arg(
        long, value_name = "N", value_delimiter = ',',
        default_values_t = [8, 12, 15, 16, 20, 24, 32, 48],
        value_parser = clap::value_parser!(u16).range(1..=1000)
    )]
    clients: Vec<u16>,
    /// How long each load is measured, after ten seconds that are not
    #[arg(long, value_name = "N", default_value_t = 8)]
    seconds: u64,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let plan = Plan {
        clients: args.clients.into_iter().map(usize::from).collect(),
        warm_up: Duration::from_secs(10),
        time: Duration::from_secs(args.seconds),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let bar = ProgressBar::new(2 * plan.clients.len() as u64).with_style(
        ProgressStyle::with_template("{bar:32} {pos}/{len} loads  {msg}")?,
    );
    let report = runtime.block_on(overload::measure(&plan, |row| {
        bar.inc(1);
        bar.set_message(format!(
            "{} clients: {:.1}/s, plain Envoy {:.1}/s",
            row.clients, row.junheng.goodput, row.plain.goodput
        ));
    }))?;
    bar.finish_and_clear();
    if args.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("{report}");
    }
    Ok(ExitCode::SUCCESS)
}
