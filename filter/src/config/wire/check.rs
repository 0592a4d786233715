//! Active checks as they are written.

use crate::config::parse::Error;
use crate::config::read::{Json, Read, objects};

objects! {
    /// Asking each endpoint how it is: a GET, once per interval by the whole proxy.
    pub struct Check {
        /// `false` sends no checks; `true` if absent.
        pub enabled: Option<bool>,
        /// Where; `/health` if absent.
        pub path: Option<String>,
        /// The statuses that pass: one of 100 to 599, a range like "200-399", or a list of these.
        /// If absent, 200 to 299 pass, and so do 404, 405 and 501, which a server without this path
        /// answers.
        pub status: Option<Statuses>,
        /// How often: `1s` to `1h`; `10s` if absent.
        pub interval: Option<String>,
        /// How long an answer may take: `10ms` to the interval; `2s`, or the interval if that is
        /// shorter, if absent.
        pub timeout: Option<String>,
        /// How many failures in a row leave an endpoint out: 1 to 100; 3 if absent.
        pub unhealthy_after: Option<u8>,
        /// How many passes in a row bring it back: 1 to 100; 2 if absent.
        pub healthy_after: Option<u8>,
    }
}

/// Statuses: one, a range, or a list of these.
#[derive(Debug)]
pub enum Statuses {
    /// One status or one range.
    One(Status),
    /// Several.
    List(Vec<Status>),
}

/// A status or a range of statuses.
#[derive(Debug)]
pub enum Status {
    /// One status.
    Number(u16),
    /// A range, like `200-399`.
    Range(String),
}

impl Default for Statuses {
    fn default() -> Self {
        Statuses::List(Vec::new())
    }
}

impl Default for Status {
    fn default() -> Self {
        Status::Number(0)
    }
}

impl Read for Statuses {
    fn read(&mut self, json: Json) -> Result<(), Error> {
        match json {
            Json::Array(_) => {
                let mut list = Vec::new();
                list.read(json)?;
                *self = Statuses::List(list);
            }
            json => {
                let mut one = Status::default();
                one.read(json)?;
                *self = Statuses::One(one);
            }
        }
        Ok(())
    }
}

impl Read for Status {
    fn read(&mut self, json: Json) -> Result<(), Error> {
        match json {
            Json::Natural(number) if number <= u16::MAX.into() => {
                *self = Status::Number(number as u16);
                Ok(())
            }
            Json::Text(range) => {
                *self = Status::Range(range);
                Ok(())
            }
            json => Err(json.is_not(format_args!(
                "a status like 200, a range like \"200-399\", or a list of these"
            ))),
        }
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl schemars::JsonSchema for Statuses {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Statuses".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let number = serde_json::json!({"type": "integer", "minimum": 100, "maximum": 599});
        let range =
            serde_json::json!({"type": "string", "pattern": "^[1-5][0-9]{2}-[1-5][0-9]{2}$"});
        schemars::json_schema!({
            "description": "Statuses: one, a range, or a list of these.",
            "anyOf": [
                number, range,
                {"type": "array", "minItems": 1, "items": {"anyOf": [number, range]}}
            ]
        })
    }
}
