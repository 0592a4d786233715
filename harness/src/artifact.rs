//! The artifact `junheng.wasm`, built from the workspace this program was compiled in.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The target that the artifact, and every guest of the tests, is compiled for.
pub const TARGET: &str = "wasm32-wasip1";

/// Why there is no artifact; each says the one command that helps.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Cargo itself could not be started.
    #[error(
        "cargo is needed to build the artifact and could not be started ({0}); install Rust with rustup: https://rustup.rs"
    )]
    NoCargo(std::io::Error),
    /// The wasm target is missing and could not be added.
    #[error("the target {TARGET} is not installed; run: rustup target add {TARGET}")]
    NoTarget,
    /// Nobody can be kept from adding the target at the same time.
    #[error("cannot lock a file under {folder}: {error}", folder = target_dir().display())]
    Lock {
        /// What the system said.
        error: std::io::Error,
    },
    /// The compiler refused.
    #[error("cargo could not build `{0}`; its messages are above")]
    Failed(String),
    /// The build went well but left nothing where the artifact should be.
    #[error("cargo left no file at {0}")]
    Missing(PathBuf),
}

/// The root of the workspace.
pub fn workspace() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

/// The folder that cargo builds into: `CARGO_TARGET_DIR`, else `target` in the workspace.
pub fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from)
}

/// Builds `junheng.wasm` if it is out of date, and returns its path.
pub fn build() -> Result<PathBuf, Error> {
    cargo_build(&["--package", "filter", "--lib"])?;
    existing(target_dir().join(TARGET).join("wasm/junheng.wasm"))
}

/// Builds the test suite's guest module `name` (`tests/guests/examples/<name>.rs`) and returns its path.
pub fn build_guest(name: &str) -> Result<PathBuf, Error> {
    cargo_build(&["--package", "guests", "--example", name])?;
    existing(
        target_dir()
            .join(TARGET)
            .join(format!("wasm/examples/{name}.wasm")),
    )
}

fn existing(path: PathBuf) -> Result<PathBuf, Error> {
    if path.is_file() {
        Ok(path)
    } else {
        Err(Error::Missing(path))
    }
}

fn cargo_build(what: &[&str]) -> Result<(), Error> {
    ensure_target()?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .current_dir(workspace())
        .args(["build", "--quiet", "--profile", "wasm", "--target", TARGET])
        .args(what)
        .stdin(Stdio::null())
        .status()
        .map_err(Error::NoCargo)?;
    if status.success() {
        Ok(())
    } else {
        Err(Error::Failed(what.join(" ")))
    }
}

/// Adds the wasm target through rustup where the compiler has no standard library for it. Of several that find it missing
/// at once, tests above all, one adds it: rustup fails where it meets itself.
fn ensure_target() -> Result<(), Error> {
    if has_target()? {
        return Ok(());
    }
    let target_dir = target_dir();
    let lock = std::fs::create_dir_all(&target_dir)
        .and_then(|()| File::create(target_dir.join("wasm-target.lock")))
        .and_then(|lock| lock.lock().map(|()| lock));
    let _held_until_it_is_there = lock.map_err(|error| Error::Lock { error })?;
    if has_target()? {
        return Ok(());
    }
    let added = Command::new("rustup")
        .current_dir(workspace())
        .args(["target", "add", TARGET])
        .stdin(Stdio::null())
        .status();
    match added {
        Ok(status) if status.success() => Ok(()),
        _ => Err(Error::NoTarget),
    }
}

fn has_target() -> Result<bool, Error> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let libdir = Command::new(rustc)
        .current_dir(workspace())
        .args(["--print", "target-libdir", "--target", TARGET])
        .output()
        .map_err(|_| Error::NoTarget)?;
    let libdir = String::from_utf8_lossy(&libdir.stdout).trim().to_owned();
    Ok(!libdir.is_empty() && Path::new(&libdir).is_dir())
}
