//! A native proxy-wasm host on wasmtime, and what is made with it: a gateway on real sockets, a
//! fleet of simulated model servers, a keeper of real Envoy processes.
//!
//! Nothing here knows Junheng's filter: the host runs any proxy-wasm module.

pub mod artifact;
pub mod chaos;
pub mod config;
pub mod cost;
pub mod envoy;
pub mod fleet;
pub mod front;
pub mod gateway;
pub mod host;
pub mod install;
pub mod overload;
pub mod stage;
pub mod tour;
