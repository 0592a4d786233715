//! Tells the linker to write call targets in as few bytes as they need; without being told, it pads each to five.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "wasm32") {
        println!("cargo::rustc-cdylib-link-arg=--compress-relocations");
    }
}
