//! An object of a token, a key set or an answer about a token: each name once, as readers differ on which of two
//! they believe (RFC 8725 §2.4 tells what that is good for).

use crate::config::Json;

/// An object has no more fields than this.
const MOST_FIELDS: usize = 256;

/// An object's fields.
pub(super) struct Fields(Vec<(String, Json)>);

impl Fields {
    /// Reads a document that is one object.
    pub fn parse(json: &[u8]) -> Option<Fields> {
        Fields::of(Json::parse(json)?)
    }

    /// The fields of `json`, if it is an object, and names none twice.
    pub fn of(json: Json) -> Option<Fields> {
        let Json::Object(mut fields) = json else {
            return None;
        };
        if fields.len() > MOST_FIELDS {
            return None;
        }
        let names = fields.iter().enumerate();
        let once = names.rev().all(|(at, (name, _))| {
            let mut before = fields.iter().take(at);
            !before.any(|(known, _)| known == name)
        });
        fields.retain(|(_, value)| !matches!(value, Json::Null));
        once.then_some(Fields(fields))
    }

    /// Takes the value of `name`; `None` where there is none, or `null`.
    pub fn take(&mut self, name: &str) -> Option<Json> {
        let at = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.swap_remove(at).1)
    }

    /// Takes the text `name`; `Some(None)` where there is none, `None` where it is something else.
    pub fn text(&mut self, name: &str) -> Option<Option<String>> {
        match self.take(name) {
            None => Some(None),
            Some(Json::Text(text)) => Some(Some(text)),
            Some(_) => None,
        }
    }

    /// Takes the time `name` (RFC 7519's NumericDate), in whole seconds; `Some(None)` where there is none, `None`
    /// where it is something else.
    pub fn time(&mut self, name: &str) -> Option<Option<u64>> {
        match self.take(name) {
            None => Some(None),
            Some(Json::Natural(seconds)) => Some(Some(seconds)),
            Some(Json::Negative(_)) => Some(Some(0)),
            Some(Json::Float(seconds)) => Some(Some(seconds as u64)),
            Some(_) => None,
        }
    }

    /// Takes the base64url `name`; `None` where there is none, or it is something else.
    pub fn bytes(&mut self, name: &str) -> Option<Vec<u8>> {
        super::base64url::decode(self.text(name)??.as_bytes())
    }
}
