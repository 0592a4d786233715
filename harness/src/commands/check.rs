//! `harness check`.

use std::path::PathBuf;
use std::process::ExitCode;

use harness::config::Config;
use harness::{artifact, front};

/// Accept or refuse a configuration exactly as the artifact does.
///
/// Builds the artifact, starts it in the harness with the configuration, and says what it says. Exits
/// with 0 if the artifact accepts, with 1 if it refuses; Envoy would refuse to start with the same text. In a
/// bootstrap the clusters that the configuration names have to be there, too, which Envoy would not say.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  harness check junheng.json        a plugin configuration, JSON or YAML
  harness check envoy/envoy.yaml    an Envoy bootstrap: the configuration of its wasm filter")]
pub struct Args {
    /// A plugin configuration or an Envoy bootstrap, JSON or YAML
    #[arg(value_name = "CONFIG")]
    config: PathBuf,
}

pub fn run(args: Args) -> anyhow::Result<ExitCode> {
    let config = match Config::read(&args.config) {
        Ok(config) => config,
        Err(error) => return Ok(refuse(&error)),
    };
    let module = front::module(&artifact::build()?)?;
    match front::check(&module, &config) {
        Ok(()) => {
            let missing = config.missing_clusters();
            if !missing.is_empty() {
                missing.iter().for_each(|error| eprintln!("{error}"));
                return Ok(ExitCode::FAILURE);
            }
            println!("{}: accepted", args.config.display());
            Ok(ExitCode::SUCCESS)
        }
        Err(error @ front::Error::Refused { .. }) => Ok(refuse(&error)),
        Err(error) => Err(error.into()),
    }
}

fn refuse(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("{error}");
    ExitCode::FAILURE
}
