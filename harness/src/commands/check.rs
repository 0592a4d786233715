//! `harness check`.

use std::process::ExitCode;

/// Accept or refuse a configuration exactly as the artifact does.
#[derive(clap::Args)]
pub struct Args {}

pub fn run(_args: Args) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not built yet")
}
