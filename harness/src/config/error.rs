//! Why a file is no configuration.

use std::path::PathBuf;

use crate::envoy::BootstrapError;

/// Why a file is no configuration. Each says where and what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("{file}: {error}")]
    Read {
        /// The file.
        file: PathBuf,
        /// What the system said.
        error: std::io::Error,
    },
    /// Neither JSON nor YAML.
    #[error("{file}: not YAML: {message}")]
    Syntax {
        /// The file.
        file: PathBuf,
        /// What is wrong, with line and column.
        message: String,
    },
    /// Something else altogether.
    #[error(
        "{file}: {place}: {message}; expected a plugin configuration (an object with `pools`) or an Envoy bootstrap with a wasm filter in it"
    )]
    Unexpected {
        /// The file.
        file: PathBuf,
        /// The path inside it.
        place: String,
        /// What is there instead.
        message: String,
    },
    /// A bootstrap whose wasm filter has its configuration in a form that a module cannot read.
    #[error(
        "{file}: {place}: a {found}, which Envoy hands to a module as protobuf bytes; write it as JSON text: \"@type\": type.googleapis.com/google.protobuf.StringValue, value: |"
    )]
    NotText {
        /// The file.
        file: PathBuf,
        /// The path inside it.
        place: String,
        /// The type that was found.
        found: String,
    },
    /// An endpoint that cannot be connected to.
    #[error("{file}: {place}: {found} is no `ip:port`, such as \"10.0.1.1:8080\"")]
    Address {
        /// The file.
        file: PathBuf,
        /// The path inside it.
        place: String,
        /// What is there.
        found: String,
    },
    /// A cluster that the bootstrap does not have.
    #[error("{file}: {place}: the bootstrap has no cluster {found:?}; it has {known}")]
    Cluster {
        /// The file.
        file: PathBuf,
        /// The path inside the plugin configuration.
        place: String,
        /// The name.
        found: String,
        /// Those that there are.
        known: String,
    },
    /// A cluster that simulated servers are no part of.
    #[error(
        "{file}: {place}: nobody plays {found:?} here; run it yourself, and give `--host envoy` a bootstrap that has this cluster"
    )]
    Unplayed {
        /// The file.
        file: PathBuf,
        /// The path inside the plugin configuration.
        place: String,
        /// The name.
        found: String,
    },
    /// The bootstrap cannot be used.
    #[error("{file}: {error}")]
    Bootstrap {
        /// The file.
        file: PathBuf,
        /// Why.
        error: BootstrapError,
    },
}
