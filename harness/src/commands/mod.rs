//! One file a command; this one only says which there are.

mod build;
mod chaos;
mod check;
mod cost;
mod demo;
mod overload;
mod up;

use std::io;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Try, check, build and measure Junheng, the load balancer for AI traffic in one wasm module.
#[derive(Parser)]
#[command(version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    Up(up::Args),
    Demo(demo::Args),
    Check(check::Args),
    Build(build::Args),
    Cost(cost::Args),
    Chaos(chaos::Args),
    Overload(overload::Args),
}

/// Runs what the command line asks for; `up` when it asks for nothing.
pub fn run() -> ExitCode {
    let command = Cli::parse()
        .command
        .unwrap_or_else(|| Command::Up(up::Args::default()));
    let outcome = match command {
        Command::Up(args) => up::run(args),
        Command::Demo(args) => demo::run(args),
        Command::Check(args) => check::run(args),
        Command::Build(args) => build::run(args),
        Command::Cost(args) => cost::run(args),
        Command::Chaos(args) => chaos::run(args),
        Command::Overload(args) => overload::run(args),
    };
    outcome.unwrap_or_else(|error| match error.downcast_ref::<io::Error>() {
        // Whoever read the output has enough, as `head` does.
        Some(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        _ => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    })
}
