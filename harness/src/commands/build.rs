//! `harness build`.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::ExitCode;

use flate2::Compression;
use flate2::write::GzEncoder;
use harness::{artifact, host};
use sha2::{Digest, Sha256};

/// Build the artifact and say what came out.
///
/// Compiles `junheng.wasm` with the profile `wasm` if it is out of date, adding the target
/// wasm32-wasip1 through rustup if need be, and prints its path, size, imports and digest.
#[derive(clap::Args)]
#[command(after_help = "\
Examples:
  harness build
  cp \"$(harness build | sed -n 's/^path *//p')\" /etc/envoy/junheng.wasm")]
pub struct Args {}

pub fn run(_args: Args) -> anyhow::Result<ExitCode> {
    let path = artifact::build()?;
    let wasm = std::fs::read(&path)?;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(&wasm)?;
    let sha256: String = Sha256::digest(&wasm)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let mut imports: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (module, name) in host::imports_of(&wasm)? {
        imports.entry(module).or_default().push(name);
    }
    let mut out = io::stdout().lock();
    writeln!(out, "path     {}", path.canonicalize()?.display())?;
    writeln!(
        out,
        "bytes    {} ({} with gzip)",
        wasm.len(),
        gzip.finish()?.len()
    )?;
    writeln!(out, "sha256   {sha256}")?;
    for (module, names) in imports {
        writeln!(
            out,
            "imports  {} from {module}: {}",
            names.len(),
            names.join(" ")
        )?;
    }
    Ok(ExitCode::SUCCESS)
}
