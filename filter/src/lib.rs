//! Junheng (均衡, "balance"): a proxy-wasm module that turns a proxy into a load balancer which
//! understands AI traffic.
//!
//! The crate is a house of floors; a file imports only from floors below it, and siblings on F2
//! never import each other.
//!
//! | floor | module | what is decided there |
//! |---|---|---|
//! | F4 | `abi` | how a proxy-wasm host is spoken to (wasm32 only) |
//! | F3 | [`flow`], [`ports`] | the order of decisions for a request, a response, a tick |
//! | F2 | [`request`], [`answer`], [`identity`], [`route`], [`balance`], [`health`], [`load`], [`quota`], [`report`] | one concern each |
//! | F1 | [`config`], [`text`] | what a valid configuration is; what text is made of |
//! | F0 | [`values`] | units, clock readings, randomness |
//!
//! Everything but `abi` is deterministic and without I/O: time and randomness are arguments.

// Traffic can never trap the VM. Tests may: a panic there is a failed test.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

#[cfg(target_arch = "wasm32")]
mod abi;
pub mod answer;
pub mod balance;
pub mod config;
pub mod flow;
pub mod health;
pub mod identity;
pub mod load;
pub mod ports;
pub mod quota;
pub mod report;
pub mod request;
pub mod route;
pub mod text;
pub mod values;
