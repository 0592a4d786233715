//! `harness demo`.

use std::process::ExitCode;

use harness::front::Host;
use harness::tour::{self, Claim, Event};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

/// A scripted tour that checks what it shows.
///
/// Six simulated model servers in two pools behind a proxy of two workers: short and long prompts to
/// their pools, the spread of each algorithm, an endpoint that dies under load, refusals. Each claim
/// is printed with its figures and whether it held. Exits with 0 only if every claim held.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  harness demo                          on the embedded gateway
  harness demo --host envoy             on a real Envoy, installed if need be
  harness demo --seconds 60             longer loads, steadier figures
  harness demo --json | jq .claims      for programs")]
pub struct Args {
    /// The proxy that runs the artifact
    #[arg(long, value_enum, default_value_t = Host::Embedded)]
    host: Host,
    /// About how long the loads take together
    #[arg(long, value_name = "N", default_value_t = 12, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Print one JSON object instead of a tour
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let bar = if args.json {
        ProgressBar::hidden()
    } else {
        ProgressBar::new(1000)
    };
    bar.set_style(ProgressStyle::with_template("  {bar:40} {percent:>3} %")?);
    let mut show = |event: Event<'_>| match event {
        Event::Progress(share) => bar.set_position((share * 1000.0) as u64),
        _ if args.json => {}
        Event::Topic(topic) => bar.suspend(|| println!("\n{topic}")),
        Event::Chart(title, counts) => bar.suspend(|| print!("{}", chart(title, counts))),
        Event::Claim(claim) => bar.suspend(|| println!("{}", line(claim))),
    };
    let claims = runtime.block_on(tour::run(args.host, args.seconds, &mut show))?;
    bar.finish_and_clear();
    let held = claims.iter().filter(|claim| claim.held).count();
    if args.json {
        let host = match args.host {
            Host::Embedded => "embedded",
            Host::Envoy => "envoy",
        };
        println!(
            "{}",
            json!({"host": host, "held": held == claims.len(), "claims": claims})
        );
    } else {
        println!("\n{held} of {} claims held", claims.len());
    }
    Ok(if held == claims.len() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// A bar an endpoint, the longest 40 wide.
fn chart(title: &str, counts: &[(String, u64)]) -> String {
    let most = counts
        .iter()
        .map(|(_, count)| *count)
        .max()
        .unwrap_or(0)
        .max(1);
    counts
        .iter()
        .fold(format!("  {title}\n"), |chart, (name, count)| {
            let bar = "█".repeat((count * 40 / most) as usize);
            format!("{chart}    {name:12} {bar:40} {count}\n")
        })
}

fn line(claim: &Claim) -> String {
    let mark = if claim.held { '✓' } else { '✗' };
    let figures = match &claim.figures {
        Value::Null => String::new(),
        figures => {
            let text = figures.to_string();
            let cut = text
                .char_indices()
                .nth(300)
                .map_or(text.len(), |(at, _)| at);
            format!("\n      {}", &text[..cut])
        }
    };
    format!("  {mark} {}{figures}", claim.claim)
}
