//! `harness demo`.

use std::process::ExitCode;

/// A scripted tour that checks what it shows.
#[derive(clap::Args)]
pub struct Args {}

pub fn run(_args: Args) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not built yet")
}
