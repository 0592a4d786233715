//! Every scenario, natively and on the wasm: a module a feature.

mod config;
mod floors;
