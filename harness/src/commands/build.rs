//! `harness build`.

use std::process::ExitCode;

/// Build the artifact and say what came out.
#[derive(clap::Args)]
pub struct Args {}

pub fn run(_args: Args) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not built yet")
}
