//! Which model a Realtime session is for. It has no body that could say so: the query of its path does
//! (`…/realtime?model=M`), and is read as servers read one.

use super::Error;
use super::api::normal;
use crate::values::form;

/// Whether `path` opens a Realtime session.
pub fn is_realtime(path: &[u8]) -> bool {
    normal(path).ends_with(b"/realtime")
}

/// The model that the query of `path` names, if any.
///
/// # Errors
/// It names two, of which each server takes the one that it likes, or is not escaped as a form is.
pub fn realtime_model(path: &[u8]) -> Result<Option<String>, Error> {
    let query = path.splitn(2, |byte| *byte == b'?').nth(1);
    let mut named = None;
    for pair in query.unwrap_or_default().split(|byte| *byte == b'&') {
        let mut halves = pair.splitn(2, |byte| *byte == b'=');
        let mut half = || form::unescape(halves.next().unwrap_or_default());
        if half().ok_or(Error::QueryEscapes)? != "model" {
            continue;
        }
        let model = half().ok_or(Error::QueryEscapes)?;
        if named.replace(model).is_some() {
            let field = "model".to_owned();
            return Err(Error::Duplicate { field });
        }
    }
    Ok(named.filter(|model| !model.is_empty()))
}
