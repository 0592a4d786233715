//! Tells the linker to write call targets in as few bytes as they need; without being told, it pads each to five.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is_wasm = env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "wasm32");
    // Debug information names places in the code, which the linker would then have to move.
    let is_debugged = env::var("DEBUG").is_ok_and(|debug| debug == "true");
    if is_wasm && !is_debugged {
        println!("cargo::rustc-cdylib-link-arg=--compress-relocations");
    }
}
