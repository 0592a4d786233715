//! A configuration as a user has it: a plugin configuration of its own, or inside an Envoy bootstrap.
//!
//! One file serves both hosts. What counts is the bytes that the module reads: they are kept as the
//! proxy would hand them over, so that the module itself is the judge of them (`harness check`), and
//! nothing here knows more of their meaning than where the endpoints stand.
//!
//! From a bootstrap only a `StringValue` is taken. Envoy hands a `Struct` over as protobuf bytes, not
//! as JSON (`MessageUtil::anyToBytes`), which no module that reads JSON survives, so it is refused
//! here with the remedy, where Envoy would have the module fail on bytes that nobody wrote.

mod clusters;
mod error;
mod plugin;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::artifact;
use crate::envoy::Bootstrap;
use crate::gateway::Clusters;

pub use error::Error;

/// A configuration and where it came from.
#[derive(Clone, Debug)]
pub struct Config {
    file: PathBuf,
    bootstrap: Option<Bootstrap>,
    plugin: Vec<u8>,
}

/// A pool as far as anyone but the module needs to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pool {
    /// Its name.
    pub name: String,
    /// The cluster that holds its endpoints; its name unless the configuration says otherwise.
    pub cluster: String,
    /// The models it serves; empty is any.
    pub models: Vec<String>,
    /// The longest request that fits, in tokens.
    pub context_window: Option<u32>,
    /// Its endpoints.
    pub endpoints: Vec<SocketAddr>,
}

impl Config {
    /// The one that users copy: `envoy/envoy.yaml` of this workspace.
    pub fn shipped() -> Result<Config, Error> {
        Config::read(&artifact::workspace().join("envoy/envoy.yaml"))
    }

    /// Reads `file`, YAML or JSON.
    pub fn read(file: &Path) -> Result<Config, Error> {
        let text = std::fs::read_to_string(file).map_err(|error| Error::Read {
            file: file.to_owned(),
            error,
        })?;
        Config::parse(file, &text)
    }

    /// Reads `text`; `file` names it in errors.
    pub fn parse(file: &Path, text: &str) -> Result<Config, Error> {
        let file = file.to_owned();
        let is_json = text.trim_start().starts_with('{');
        let document: Value = match serde_saphyr::from_str(text) {
            Ok(document) => document,
            // JSON goes to the module as it stands, mistakes included: it says best what is wrong.
            Err(_) if is_json => Value::Object(serde_json::Map::new()),
            Err(error) => {
                return Err(Error::Syntax {
                    file,
                    message: error.to_string(),
                });
            }
        };
        if document.get("static_resources").is_some() {
            let bootstrap = Bootstrap::parse(text).map_err(|error| Error::Bootstrap {
                file: file.clone(),
                error,
            })?;
            let plugin = plugin::of(&file, &document)?.into_bytes();
            return Ok(Config {
                file,
                bootstrap: Some(bootstrap),
                plugin,
            });
        }
        let foreign = document.get("apiVersion").or_else(|| document.get("@type"));
        if !document.is_object() || foreign.is_some() {
            let message =
                foreign.map_or("not an object".to_owned(), |kind| format!("found {kind}"));
            return Err(Error::Unexpected {
                file,
                place: "the document".into(),
                message,
            });
        }
        let plugin = if is_json {
            text.as_bytes().to_vec()
        } else {
            document.to_string().into_bytes()
        };
        Ok(Config {
            file,
            bootstrap: None,
            plugin,
        })
    }

    /// A plugin configuration made in a program; `name` stands for the file in errors.
    pub fn from_plugin(name: &str, plugin: &Value) -> Config {
        Config {
            file: name.into(),
            bootstrap: None,
            plugin: plugin.to_string().into_bytes(),
        }
    }

    /// Whether it is a bootstrap, with clusters of its own.
    pub fn is_bootstrap(&self) -> bool {
        self.bootstrap.is_some()
    }

    /// Where it came from.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// What the module reads.
    pub fn plugin_configuration(&self) -> &[u8] {
        &self.plugin
    }

    /// The plugin configuration as a document; null if it is none.
    pub fn document(&self) -> Value {
        serde_json::from_slice(&self.plugin).unwrap_or_default()
    }

    /// The pools. Errors at an endpoint whose address nobody could connect to.
    pub fn pools(&self) -> Result<Vec<Pool>, Error> {
        let document = self.document();
        let pools = document
            .get("pools")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        pools
            .enumerate()
            .map(|(index, pool)| self.pool(index, pool))
            .collect()
    }

    /// Every pool's cluster with its endpoints.
    pub fn clusters(&self) -> Result<Clusters, Error> {
        let mut clusters = Clusters::new();
        for pool in self.pools()? {
            let cluster = clusters.entry(pool.cluster).or_default();
            for endpoint in pool.endpoints {
                if !cluster.contains(&endpoint) {
                    cluster.push(endpoint);
                }
            }
        }
        Ok(clusters)
    }

    /// The same with its endpoints elsewhere: each address that `moves` names becomes the one it maps to,
    /// for the module and for the proxy alike.
    pub fn moved(&self, moves: &BTreeMap<SocketAddr, SocketAddr>) -> Config {
        let moves: BTreeMap<String, String> = moves
            .iter()
            .map(|(from, to)| (from.to_string(), to.to_string()))
            .collect();
        let mut document = self.document();
        for address in addresses_mut(&mut document) {
            // Written in any way, it is the address that counts.
            let known = address
                .as_str()
                .and_then(|text| text.parse::<SocketAddr>().ok());
            if let Some(to) = known.and_then(|address| moves.get(&address.to_string())) {
                *address = Value::from(to.as_str());
            }
        }
        let mut moved = self.with_document(&document);
        if let Some(bootstrap) = &mut moved.bootstrap {
            bootstrap.move_endpoints(&moves);
        }
        moved
    }

    /// The same with another plugin configuration.
    pub fn with_document(&self, document: &Value) -> Config {
        let plugin = document.to_string();
        let bootstrap = self.bootstrap.clone().map(|mut bootstrap| {
            bootstrap.set_plugin_configuration(&plugin);
            bootstrap
        });
        Config {
            file: self.file.clone(),
            bootstrap,
            plugin: plugin.into_bytes(),
        }
    }

    /// A bootstrap for Envoy with this configuration: the file itself if it is one, else the one that
    /// users copy, with its clusters made to fit.
    pub fn bootstrap(&self) -> Result<Bootstrap, Error> {
        let wrap = |error| Error::Bootstrap {
            file: self.file.clone(),
            error,
        };
        if let Some(bootstrap) = &self.bootstrap {
            return Ok(bootstrap.clone());
        }
        let mut bootstrap = Bootstrap::shipped().map_err(wrap)?;
        bootstrap.set_plugin_configuration(&String::from_utf8_lossy(&self.plugin));
        let clusters = self.clusters()?.into_iter();
        let clusters: Vec<_> = clusters
            .map(|(name, endpoints)| (name, endpoints.iter().map(SocketAddr::to_string).collect()))
            .collect();
        bootstrap.set_clusters(&clusters).map_err(wrap)?;
        Ok(bootstrap)
    }

    fn pool(&self, index: usize, pool: &Value) -> Result<Pool, Error> {
        let text = |field: &str| pool.get(field).and_then(Value::as_str).map(str::to_owned);
        let list = |field: &str| {
            pool.get(field)
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
        };
        let name = text("name").unwrap_or_default();
        let endpoints = list("endpoints").enumerate().map(|(at, endpoint)| {
            let address = endpoint.get("address").unwrap_or(&Value::Null);
            let parsed = address.as_str().and_then(|text| text.parse().ok());
            parsed.ok_or_else(|| Error::Address {
                file: self.file.clone(),
                place: format!("pools[{index}].endpoints[{at}].address"),
                found: address.to_string(),
            })
        });
        Ok(Pool {
            cluster: text("cluster").unwrap_or_else(|| name.clone()),
            models: list("models")
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
            context_window: pool
                .get("context_window")
                .and_then(Value::as_u64)
                .and_then(|n| u32::try_from(n).ok()),
            endpoints: endpoints.collect::<Result<_, _>>()?,
            name,
        })
    }
}

fn addresses_mut(document: &mut Value) -> impl Iterator<Item = &mut Value> {
    let pools = document
        .get_mut("pools")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten();
    let endpoints = pools
        .filter_map(|pool| pool.get_mut("endpoints")?.as_array_mut())
        .flatten();
    endpoints.filter_map(|endpoint| endpoint.get_mut("address"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLUGIN: &str = r#"{"pools": [{"name": "p", "models": ["m"], "endpoints": [{"address": "10.0.0.1:80"}]}], "routes": [{"pools": ["p"]}]}"#;

    fn parse(text: &str) -> Result<Config, Error> {
        Config::parse(Path::new("f.yaml"), text)
    }

    #[test]
    fn json_reaches_the_module_byte_for_byte() {
        for text in [PLUGIN, "{\"pools\": 1,\n\n \"pools\": 2}", "{broken"] {
            assert_eq!(parse(text).unwrap().plugin_configuration(), text.as_bytes());
        }
    }

    #[test]
    fn yaml_reaches_the_module_as_json() {
        let config =
            parse("pools:\n- name: p\n  endpoints: [{address: \"10.0.0.1:80\"}]\n").unwrap();
        let expected = r#"{"pools":[{"endpoints":[{"address":"10.0.0.1:80"}],"name":"p"}]}"#;
        assert_eq!(config.plugin_configuration(), expected.as_bytes());
        assert_eq!(
            config.pools().unwrap()[0].endpoints,
            ["10.0.0.1:80".parse().unwrap()]
        );
    }

    #[test]
    fn the_shipped_bootstrap_yields_what_envoy_hands_over() {
        let config = Config::shipped().unwrap();
        let pools = config.pools().unwrap();
        assert_eq!(
            pools
                .iter()
                .map(|pool| pool.name.as_str())
                .collect::<Vec<_>>(),
            ["small", "long"]
        );
        assert_eq!(
            pools.iter().map(|pool| pool.endpoints.len()).sum::<usize>(),
            6
        );
        assert!(config.plugin_configuration().starts_with(b"{\n  \"pools\""));
    }

    #[test]
    fn a_struct_is_refused_with_its_place_and_the_remedy() {
        let text = include_str!("../../../envoy/envoy.yaml")
            .replace("protobuf.StringValue", "protobuf.Struct");
        let error = parse(&text).unwrap_err().to_string();
        let place = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config.http_filters[0].typed_config.config.configuration";
        assert!(
            error.starts_with(&format!("f.yaml: {place}: a google.protobuf.Struct")),
            "{error}"
        );
        assert!(error.contains("StringValue"), "{error}");
    }

    #[test]
    fn what_is_no_configuration_says_so() {
        let cases = [
            ("pools: [", "f.yaml: not YAML:"),
            ("- 1", "f.yaml: the document: not an object;"),
            (
                "apiVersion: v1\nkind: Pod\n",
                "f.yaml: the document: found \"v1\";",
            ),
            (
                "static_resources: {listeners: [{}]}",
                "f.yaml: static_resources.listeners: no filter of type",
            ),
        ];
        for (text, start) in cases {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.starts_with(start), "{error}");
        }
        let config = parse(&PLUGIN.replace(":80", "")).unwrap();
        let error = config.pools().unwrap_err().to_string();
        assert!(
            error.starts_with("f.yaml: pools[0].endpoints[0].address: \"10.0.0.1\" is no"),
            "{error}"
        );
    }

    #[test]
    fn moved_endpoints_move_for_the_module_and_for_envoy() {
        let config = Config::shipped().unwrap();
        let from = config.pools().unwrap()[1].endpoints[0];
        let to: SocketAddr = "127.0.0.1:45678".parse().unwrap();
        let moved = config.moved(&BTreeMap::from([(from, to)]));
        assert_eq!(moved.pools().unwrap()[1].endpoints[0], to);
        assert_eq!(moved.pools().unwrap()[0], config.pools().unwrap()[0]);
        let bootstrap = moved.bootstrap().unwrap().to_json();
        assert!(
            bootstrap.contains("\"port_value\":45678")
                && !bootstrap.contains("\"port_value\":9004")
        );
    }

    #[test]
    fn a_plugin_configuration_alone_becomes_a_bootstrap_with_its_clusters() {
        let bootstrap = parse(PLUGIN).unwrap().bootstrap().unwrap();
        let json: Value = serde_json::from_str(&bootstrap.to_json()).unwrap();
        assert_eq!(json["static_resources"]["clusters"][0]["name"], "p");
        assert_eq!(bootstrap.plugin_configuration().unwrap(), PLUGIN);
    }
}
