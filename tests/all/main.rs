//! Every scenario, natively and on the wasm: a module a feature.

mod artifact;
mod balance;
mod config;
mod estimate;
mod fleet;
mod floors;
mod framing;
mod gateway;
mod in_flight;
mod refusals;
mod routing;
mod scenario;
