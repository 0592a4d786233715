//! Every scenario, natively and on the wasm: a module a feature.

mod balance;
mod config;
mod fleet;
mod floors;
mod gateway;
mod routing;
mod scenario;
