//! Folders under `target/` that are filled once, with programs that this machine may lack.
//!
//! A folder is named after what is to be in it, so a new pin makes a new one and nothing is ever brought up to date in
//! place. A lock file lets only one of several test processes fill it, and a mark, made last, tells a whole folder from
//! one that a killed process left.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::artifact;

/// A file or folder that cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {path}: {error}")]
pub struct Error {
    /// The file or folder.
    pub path: PathBuf,
    /// What the system said.
    pub error: io::Error,
}

/// Returns the folder of `kind` that holds `contents`, the words that name all that is to be in it, after `fill` has
/// filled it, empty at first, where no process has done so yet.
pub fn once<E: From<Error>>(
    kind: &str,
    contents: &str,
    fill: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<PathBuf, E> {
    let home = artifact::target_dir().join(kind);
    let digest = Sha256::digest(contents);
    let name: String = digest
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let folder = home.join(&name);
    let complete = folder.join("complete");

    written(&home, fs::create_dir_all(&home))?;
    let lock = home.join(format!("{name}.lock"));
    let lock_file = written(&lock, File::create(&lock))?;
    // Released when the file closes, so also when this process is killed.
    written(&lock, lock_file.lock())?;
    if !complete.is_file() {
        if folder.exists() {
            written(&folder, fs::remove_dir_all(&folder))?;
        }
        written(&folder, fs::create_dir_all(&folder))?;
        fill(&folder)?;
        written(&complete, fs::write(&complete, contents))?;
    }
    Ok(folder)
}

/// What came of writing to `path`.
pub fn written<T>(path: &Path, outcome: io::Result<T>) -> Result<T, Error> {
    outcome.map_err(|error| Error {
        path: path.to_owned(),
        error,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder that is there once, so that no other run's can be met.
    fn contents() -> String {
        format!("a test of process {}", std::process::id())
    }

    fn leave(folder: &Path) {
        fs::remove_dir_all(folder).unwrap();
        fs::remove_file(folder.with_extension("lock")).unwrap();
    }

    #[test]
    fn a_folder_is_filled_once_and_what_a_failure_left_is_removed_first() {
        let failed = once("install", &contents(), |folder| {
            written(folder, fs::write(folder.join("half"), ""))?;
            written(folder, Err(io::Error::other("no more")))
        });
        assert!(failed.unwrap_err().to_string().contains("no more"));
        let mut fills = 0;
        let mut folder = PathBuf::new();
        for _ in 0..2 {
            folder = once("install", &contents(), |folder| -> Result<(), Error> {
                fills += 1;
                assert!(!folder.join("half").exists());
                Ok(())
            })
            .unwrap();
        }
        assert_eq!(fills, 1);
        leave(&folder);
    }
}
