//! The real Envoy: found or installed, configured, started, asked, stopped.
//!
//! Tests, demos and measurements run the very bootstrap that a user deploys (`envoy/envoy.yaml`),
//! changed only where a laptop differs from a rack: which ports are listened on, where the module
//! lies, where the endpoints are. A bootstrap written for the tests would prove itself and nothing
//! about the file that people copy.

mod admin;
mod binary;
mod bootstrap;
mod process;
pub mod python;

pub use admin::{AdminError, Metrics};
pub use binary::{LocateError, locate};
pub use bootstrap::{Bootstrap, BootstrapError};
pub use process::{Envoy, EnvoyOptions, StartError};
