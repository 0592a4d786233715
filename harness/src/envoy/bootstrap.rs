//! An Envoy bootstrap, read from YAML or JSON and changed in a few named places.
//!
//! Handled as a plain JSON document: nothing of Envoy's schema but those places is known here, so
//! whatever else a user's file holds reaches Envoy as it stands.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::artifact;

mod listeners;

/// Why a file is no bootstrap that can be used.
#[derive(Debug, thiserror::Error)]
pub enum BootstrapError {
    /// The file cannot be read.
    #[error("cannot read {path}: {error}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Neither YAML nor JSON.
    #[error("not YAML: {0}")]
    Syntax(String),
    /// A place that has to be there is not.
    #[error("this is no bootstrap of Envoy's with Junheng in it: there is no {0}")]
    Missing(&'static str),
}

/// A bootstrap configuration of Envoy.
#[derive(Debug, Clone, PartialEq)]
pub struct Bootstrap {
    root: Value,
}

const CLUSTERS: &str = "/static_resources/clusters";
const LISTENER_ADDRESS: &str = "/static_resources/listeners/0/address/socket_address";
const ADMIN_ADDRESS: &str = "/admin/address/socket_address";

impl Bootstrap {
    /// The bootstrap that users copy: `envoy/envoy.yaml` of this workspace.
    pub fn shipped() -> Result<Self, BootstrapError> {
        Self::read(&artifact::workspace().join("envoy/envoy.yaml"))
    }

    /// Reads a bootstrap file, YAML or JSON.
    pub fn read(path: &Path) -> Result<Self, BootstrapError> {
        let text = fs::read_to_string(path).map_err(|error| BootstrapError::Read {
            path: path.to_owned(),
            error,
        })?;
        Self::parse(&text)
    }

    /// Parses a bootstrap, YAML or JSON. That it has listeners is all that is checked here.
    pub fn parse(text: &str) -> Result<Self, BootstrapError> {
        let root: Value = serde_saphyr::from_str(text)
            .map_err(|error| BootstrapError::Syntax(error.to_string()))?;
        if root.pointer("/static_resources/listeners/0").is_none() {
            return Err(BootstrapError::Missing("static_resources.listeners[0]"));
        }
        Ok(Self { root })
    }

    /// The configuration that the first wasm filter gets, as the text that the module will read.
    pub fn plugin_configuration(&self) -> Result<String, BootstrapError> {
        let mut found = None;
        each_plugin(&self.root, &mut |plugin| {
            if found.is_none() {
                found = plugin.pointer("/configuration/value").map(text_of);
            }
        });
        found.ok_or(BootstrapError::Missing("wasm filter with a configuration"))
    }

    /// Gives every wasm filter this configuration, as it stands.
    pub fn set_plugin_configuration(&mut self, text: &str) {
        each_plugin_mut(&mut self.root, &mut |plugin| {
            plugin["configuration"] =
                json!({"@type": "type.googleapis.com/google.protobuf.StringValue", "value": text});
        });
    }

    /// Loads the module of every wasm filter from `file`.
    pub fn set_module(&mut self, file: &Path) {
        each_plugin_mut(&mut self.root, &mut |plugin| {
            plugin["vm_config"]["code"] = json!({"local": {"filename": file}});
        });
    }

    /// Moves the first listener. Port 0 lets the system choose.
    pub fn listen_on(&mut self, address: SocketAddr) {
        self.set_address(LISTENER_ADDRESS, address);
    }

    /// Moves the admin. Port 0 lets the system choose.
    pub fn admin_on(&mut self, address: SocketAddr) {
        self.set_address(ADMIN_ADDRESS, address);
    }

    /// Where the first listener is to listen, `address:port`.
    pub fn listens_on(&self) -> Option<String> {
        self.root.pointer(LISTENER_ADDRESS).and_then(socket_address)
    }

    /// Moves endpoints: every address (`ip:port`) that `moves` names, in the clusters and in the plugin
    /// configuration alike, becomes the one it maps to.
    pub fn move_endpoints(&mut self, moves: &BTreeMap<String, String>) {
        if let Some(clusters) = self.root.pointer_mut(CLUSTERS) {
            move_socket_addresses(clusters, moves);
        }
        each_plugin_mut(&mut self.root, &mut |plugin| {
            let Some(value) = plugin.pointer_mut("/configuration/value") else {
                return;
            };
            match value {
                Value::String(text) => {
                    // What does not parse is left for the module to refuse.
                    if let Ok(mut inner) = serde_json::from_str::<Value>(text) {
                        move_strings(&mut inner, moves);
                        *text = inner.to_string();
                    }
                }
                plain => move_strings(plain, moves),
            }
        });
    }

    /// Replaces the clusters by these: a name and its endpoints (`ip:port`) each. A cluster that was there
    /// keeps its other options; a new one takes those of the first.
    pub fn set_clusters(&mut self, wanted: &[(String, Vec<String>)]) -> Result<(), BootstrapError> {
        let clusters = self
            .root
            .pointer_mut(CLUSTERS)
            .and_then(Value::as_array_mut);
        let clusters = clusters.ok_or(BootstrapError::Missing("static_resources.clusters"))?;
        let template = clusters
            .first()
            .cloned()
            .ok_or(BootstrapError::Missing("static_resources.clusters[0]"))?;
        let made = wanted.iter().map(|(name, endpoints)| {
            let same = clusters
                .iter()
                .find(|cluster| cluster["name"] == name.as_str());
            let mut cluster = same.unwrap_or(&template).clone();
            let hosts: Vec<Value> = endpoints
                .iter()
                .filter_map(|endpoint| lb_endpoint(endpoint))
                .collect();
            cluster["name"] = json!(name);
            cluster["load_assignment"] =
                json!({"cluster_name": name, "endpoints": [{"lb_endpoints": hosts}]});
            cluster
        });
        *clusters = made.collect();
        Ok(())
    }

    /// The document itself, for changes that have no method here.
    pub fn document_mut(&mut self) -> &mut Value {
        &mut self.root
    }

    /// The names of its clusters; `None` where more of them come from elsewhere (CDS).
    pub fn cluster_names(&self) -> Option<Vec<String>> {
        if self.root.pointer("/dynamic_resources/cds_config").is_some() {
            return None;
        }
        let clusters = self.root.pointer(CLUSTERS)?.as_array()?;
        let names = clusters
            .iter()
            .filter_map(|cluster| cluster["name"].as_str());
        Some(names.map(str::to_owned).collect())
    }

    /// The bootstrap as JSON, which Envoy reads from a file named `*.json`.
    pub fn to_json(&self) -> String {
        self.root.to_string()
    }

    fn set_address(&mut self, pointer: &str, address: SocketAddr) {
        if let Some(place) = self.root.pointer_mut(pointer) {
            *place = json!({"address": address.ip().to_string(), "port_value": address.port()});
        }
    }
}

/// What Envoy hands the module: the text of a `StringValue`; anything else as JSON.
fn text_of(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| value.to_string(), str::to_owned)
}

/// A plugin is an object with a `vm_config`, wherever it stands.
fn each_plugin(value: &Value, visit: &mut impl FnMut(&Value)) {
    if value.get("vm_config").is_some() {
        visit(value);
    }
    match value {
        Value::Array(items) => items.iter().for_each(|item| each_plugin(item, visit)),
        Value::Object(fields) => fields.values().for_each(|field| each_plugin(field, visit)),
        _ => {}
    }
}

fn each_plugin_mut(value: &mut Value, visit: &mut impl FnMut(&mut Value)) {
    if value.get("vm_config").is_some() {
        visit(value);
    }
    match value {
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| each_plugin_mut(item, visit)),
        Value::Object(fields) => fields
            .values_mut()
            .for_each(|field| each_plugin_mut(field, visit)),
        _ => {}
    }
}

fn move_strings(value: &mut Value, moves: &BTreeMap<String, String>) {
    match value {
        Value::String(text) => {
            if let Some(moved) = moves.get(text) {
                moved.clone_into(text);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| move_strings(item, moves)),
        Value::Object(fields) => fields
            .values_mut()
            .for_each(|field| move_strings(field, moves)),
        _ => {}
    }
}

fn move_socket_addresses(value: &mut Value, moves: &BTreeMap<String, String>) {
    if let Some(moved) = socket_address(value)
        .and_then(|old| moves.get(&old))
        .and_then(|new| as_socket_address(new))
    {
        *value = moved;
    }
    match value {
        Value::Array(items) => items
            .iter_mut()
            .for_each(|item| move_socket_addresses(item, moves)),
        Value::Object(fields) => fields
            .values_mut()
            .for_each(|field| move_socket_addresses(field, moves)),
        _ => {}
    }
}

/// `ip:port` of an object that is a socket address.
fn socket_address(value: &Value) -> Option<String> {
    let address = value.get("address")?.as_str()?;
    let port = value.get("port_value")?.as_u64()?;
    Some(if address.contains(':') {
        format!("[{address}]:{port}")
    } else {
        format!("{address}:{port}")
    })
}

fn as_socket_address(endpoint: &str) -> Option<Value> {
    let endpoint: SocketAddr = endpoint.parse().ok()?;
    Some(json!({"address": endpoint.ip().to_string(), "port_value": endpoint.port()}))
}

fn lb_endpoint(endpoint: &str) -> Option<Value> {
    let address = as_socket_address(endpoint)?;
    Some(json!({"endpoint": {"address": {"socket_address": address}}}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shipped() -> Bootstrap {
        Bootstrap::shipped().unwrap()
    }

    fn endpoints_of(bootstrap: &Bootstrap, cluster: usize) -> Vec<String> {
        let hosts = bootstrap.root.pointer(&format!(
            "{CLUSTERS}/{cluster}/load_assignment/endpoints/0/lb_endpoints"
        ));
        let hosts = hosts.and_then(Value::as_array).unwrap();
        hosts
            .iter()
            .filter_map(|host| socket_address(host.pointer("/endpoint/address/socket_address")?))
            .collect()
    }

    #[test]
    fn the_shipped_file_names_the_same_endpoints_to_envoy_and_to_the_module() {
        let bootstrap = shipped();
        let plugin: Value =
            serde_json::from_str(&bootstrap.plugin_configuration().unwrap()).unwrap();
        for (cluster, pool) in plugin["pools"].as_array().unwrap().iter().enumerate() {
            let listed = pool["endpoints"].as_array().unwrap().iter();
            let listed: Vec<_> = listed
                .filter_map(|endpoint| endpoint["address"].as_str())
                .collect();
            assert_eq!(endpoints_of(&bootstrap, cluster), listed);
        }
    }

    #[test]
    fn a_moved_endpoint_moves_in_the_cluster_and_in_the_plugin_configuration() {
        let mut bootstrap = shipped();
        bootstrap.move_endpoints(&BTreeMap::from([(
            "127.0.0.1:9001".into(),
            "[::1]:41234".into(),
        )]));
        assert_eq!(
            endpoints_of(&bootstrap, 0),
            ["[::1]:41234", "127.0.0.1:9002", "127.0.0.1:9003"]
        );
        let plugin = bootstrap.plugin_configuration().unwrap();
        assert!(
            plugin.contains("[::1]:41234") && !plugin.contains(":9001"),
            "{plugin}"
        );
    }

    #[test]
    fn a_new_cluster_has_the_options_of_the_first_and_its_own_endpoints() {
        let mut bootstrap = shipped();
        bootstrap
            .set_clusters(&[("edge".into(), vec!["10.0.0.1:80".into()])])
            .unwrap();
        assert_eq!(endpoints_of(&bootstrap, 0), ["10.0.0.1:80"]);
        assert_eq!(
            bootstrap
                .root
                .pointer("/static_resources/clusters/0/name")
                .unwrap(),
            "edge"
        );
        assert!(
            bootstrap
                .root
                .pointer("/static_resources/clusters/0/load_balancing_policy")
                .is_some()
        );
        assert!(
            bootstrap
                .root
                .pointer("/static_resources/clusters/1")
                .is_none()
        );
    }

    #[test]
    fn a_configuration_that_is_not_json_reaches_the_module_as_it_stands() {
        let mut bootstrap = shipped();
        bootstrap.set_plugin_configuration("{pools: oops 127.0.0.1:9001");
        bootstrap.move_endpoints(&BTreeMap::from([(
            "127.0.0.1:9001".into(),
            "127.0.0.1:1".into(),
        )]));
        assert_eq!(
            bootstrap.plugin_configuration().unwrap(),
            "{pools: oops 127.0.0.1:9001"
        );
    }

    #[test]
    fn a_file_that_is_no_bootstrap_is_refused_with_what_is_missing() {
        let refused = Bootstrap::parse("pools: []").unwrap_err();
        assert!(
            refused
                .to_string()
                .contains("static_resources.listeners[0]"),
            "{refused}"
        );
        assert!(matches!(
            Bootstrap::parse("a: [").unwrap_err(),
            BootstrapError::Syntax(_)
        ));
    }
}
