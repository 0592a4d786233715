//! Programs that come as npm packages, in a folder of their own under `target/`, as `harness::envoy::python` has
//! those of Python: named after their lock file, so that a new pin makes a new one.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use harness::artifact;
use sha2::{Digest, Sha256};

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
            .stdin(Stdio::null());
        let output = npm.output().unwrap_or_else(|error| {
            panic!("npm could not be started ({error}); Debian and Ubuntu: apt install nodejs npm")
        });
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "npm ci failed: {said}");
        File::create(complete).expect("a file under target/");
    }
    folder
}
