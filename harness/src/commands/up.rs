//! `harness up`.

use std::process::ExitCode;

/// Start a fleet and a gateway, and keep them until Ctrl-C.
#[derive(clap::Args, Default)]
pub struct Args {}

pub fn run(_args: Args) -> anyhow::Result<ExitCode> {
    anyhow::bail!("not built yet")
}
