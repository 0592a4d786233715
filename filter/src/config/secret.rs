//! A text that nothing shows.

use std::fmt;

use super::Error;
use super::read::{Json, Read};

/// A text that nothing shows.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Secret(String);

impl Secret {
    /// Hides `text`.
    pub fn new(text: String) -> Secret {
        Secret(text)
    }

    /// The text, for the one place that it is meant for.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Read for Secret {
    /// Unlike the others' error, this one does not say what was there instead.
    fn read(&mut self, json: Json) -> Result<(), Error> {
        match json {
            Json::Text(text) => {
                *self = Secret::new(text);
                Ok(())
            }
            _ => Err(Error::new("is no text; write it in quotes")),
        }
    }
}
