//! Listeners that Envoy reads from a file of their own, so that they can be replaced while it runs.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;

use serde_json::{Value, json};

use super::Bootstrap;

impl Bootstrap {
    /// Has the listeners read from `file`, whenever another is moved to its place, and returns what
    /// that file is to hold.
    pub fn take_listeners(&mut self, file: &Path) -> String {
        let discovered = self.discovered_listeners();
        self.root["static_resources"]["listeners"] = json!([]);
        // Envoy asks for a name of its own before it reads anything from elsewhere.
        self.root["node"] = json!({"id": "junheng", "cluster": "junheng"});
        self.root["dynamic_resources"]["lds_config"] = json!({
            "resource_api_version": "V3", "path_config_source": {"path": file}
        });
        discovered
    }

    /// The listeners as a file of listener discovery (LDS) holds them.
    pub fn discovered_listeners(&self) -> String {
        let listeners = self.root.pointer("/static_resources/listeners");
        let listeners = listeners.and_then(Value::as_array).cloned();
        let mut listeners = listeners.unwrap_or_default();
        for listener in &mut listeners {
            listener["@type"] = json!("type.googleapis.com/envoy.config.listener.v3.Listener");
        }
        json!({"resources": listeners}).to_string()
    }

    /// Gives the first listener a port that is free now, if the system was to choose one: a
    /// listener that is replaced must keep its address, and 0 is another each time.
    pub fn choose_port(&mut self) {
        let asked = self.listens_on().and_then(|asked| asked.parse().ok());
        let chosen = asked.filter(|asked: &SocketAddr| asked.port() == 0);
        let chosen = chosen.and_then(|asked| TcpListener::bind(asked).ok()?.local_addr().ok());
        if let Some(chosen) = chosen {
            self.listen_on(chosen);
        }
    }
}
