//! A configuration brought to life on one machine: a simulated server for each endpoint that it names,
//! a proxy before them, and the configuration pointed at where they really listen.
//!
//! Addresses are always replaced, also where something answers at the configured one: a laptop that
//! can reach production must not send it a tour's traffic.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::Value;

use crate::config::{Config, Pool};
use crate::fleet::{EndpointSpec, Fleet, Speed};
use crate::front::{Error, Front, Host};

/// Names of the speeds that a pool's endpoints get in turn, so that they are unlike.
const SPEEDS: [(&str, Speed); 3] = [
    ("fast", Speed::FAST),
    ("medium", Speed::MEDIUM),
    ("slow", Speed::SLOW),
];

/// Simulated servers in the place of a configuration's endpoints.
pub struct Stage {
    /// The servers, in the order of [`Stage::cast`].
    pub fleet: Fleet,
    /// The configuration, pointed at them.
    pub config: Config,
    /// Who stands for whom.
    pub cast: Vec<Role>,
}

/// One simulated server.
#[derive(Clone, Debug)]
pub struct Role {
    /// The first pool that names the endpoint.
    pub pool: String,
    /// The server's name: its pool and a number.
    pub name: String,
    /// How fast it is.
    pub speed: &'static str,
    /// The endpoint's address in the configuration.
    pub configured: SocketAddr,
    /// Where the server listens.
    pub simulated: SocketAddr,
}

impl Stage {
    /// Starts a server for each endpoint of `config`, `scale` times as slow as real ones.
    pub fn set(config: &Config, scale: f64) -> Result<Stage, Error> {
        let pools = config.pools()?;
        let aliases = aliases(&config.document());
        let (mut specs, mut cast): (Vec<EndpointSpec>, Vec<Role>) = Default::default();
        for pool in &pools {
            for (index, configured) in pool.endpoints.iter().enumerate() {
                if cast.iter().any(|role| role.configured == *configured) {
                    continue;
                }
                let (speed, figures) = SPEEDS[index % SPEEDS.len()];
                let name = format!("{}-{}", pool.name, index + 1);
                specs.push(spec(&name, figures, pool, &aliases));
                cast.push(Role {
                    pool: pool.name.clone(),
                    name,
                    speed,
                    configured: *configured,
                    simulated: *configured,
                });
            }
        }
        let fleet = Fleet::scaled(&specs, scale).map_err(Error::Fleet)?;
        for (role, endpoint) in cast.iter_mut().zip(fleet.endpoints()) {
            role.simulated = endpoint.address();
        }
        let moves: BTreeMap<_, _> = cast
            .iter()
            .map(|role| (role.configured, role.simulated))
            .collect();
        Ok(Stage {
            fleet,
            config: config.moved(&moves),
            cast,
        })
    }

    /// Starts a proxy before the servers.
    pub async fn open(&self, host: Host, listen: SocketAddr) -> Result<Front, Error> {
        Front::start(host, &self.config, listen).await
    }
}

fn spec(name: &str, speed: Speed, pool: &Pool, aliases: &[String]) -> EndpointSpec {
    let mut spec = EndpointSpec::new(name, speed);
    if !pool.models.is_empty() && !pool.models.iter().any(|model| model == "*") {
        spec = spec.models(pool.models.iter().chain(aliases).cloned());
    }
    spec.context_window = pool.context_window.unwrap_or(spec.context_window);
    spec
}

/// Model names that routes rewrite to: whichever pool they reach, the server there knows them.
fn aliases(document: &Value) -> Vec<String> {
    let routes = document
        .get("routes")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    let aliases = routes.filter_map(|route| route.get("alias")?.as_object());
    aliases
        .flat_map(|alias| alias.values())
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}
