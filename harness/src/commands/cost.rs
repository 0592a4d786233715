//! `harness cost`.

use std::process::ExitCode;

/// Measure what Junheng adds to Envoy.
#[derive(clap::Args)]
pub struct Args {}

pub fn run(_args: Args) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not built yet")
}
