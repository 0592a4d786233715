//! Every scenario, natively and on the wasm: a module a feature.

mod agreement;
mod artifact;
mod balance;
mod bearer;
mod bodies;
mod breaker;
mod config;
mod estimate;
mod failover;
mod fleet;
mod floors;
mod framing;
mod gateway;
mod guests;
mod health;
mod identity;
mod in_flight;
mod overload;
mod parser;
mod quota;
mod refusals;
mod routing;
mod scenario;
mod sse;
mod store;
mod weights;
