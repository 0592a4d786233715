//! The load report that rides on responses: ORCA's `endpoint-load-metrics`.
//!
//! A report with an unknown or repeated name, or with a number that is not finite or below 0, is refused
//! whole: it may be half of one, and a half-read report is worse than the one before it. Of `TEXT` reports
//! this takes and refuses what Envoy 1.40 does (`source/common/orca/orca_parser.cc`, and tried out on it), so
//! that a server which the one understands is understood by the other. `JSON` and `BIN` are held to the same
//! rules, which Envoy does not ask of them: from those it takes NaN, and the last of two values.
//!
//! Source: `xds/data/orca/v3/orca_load_report.proto` and the text formats of
//! <https://github.com/envoyproxy/envoy/issues/6614>.

use thiserror::Error as ThisError;

use crate::values::base64;
use crate::values::protobuf::{Fields, Malformed, Value};

use super::json;
use super::report::Report;
use super::sheet::{Fault, Field, Sheet};

/// The header with a report as text, as JSON or in base64.
pub const HEADER: &str = "endpoint-load-metrics";

/// The header with a report in base64, which gRPC servers send; it takes precedence.
pub const HEADER_BIN: &str = "endpoint-load-metrics-bin";

/// How long a value may be, in bytes.
pub const MAX_BYTES: usize = 8 * 1024;

/// Why a report is refused, with its place: a byte of the value's, counted behind the format's name (and
/// for the binary format, a byte of the message).
#[derive(Clone, Copy, Debug, PartialEq, Eq, ThisError)]
pub enum Error {
    /// Longer than [`MAX_BYTES`].
    #[error("the load report has {0} bytes: at most {MAX_BYTES} are read")]
    TooLong(usize),
    /// No format that we know.
    #[error("the load report is none of `TEXT `, `JSON ` and `BIN `")]
    Format,
    /// A name that a report does not have.
    #[error("the load report has no field of the name at byte {0}")]
    Name(usize),
    /// A name that was there before.
    #[error("the load report has the name at byte {0} twice")]
    Duplicate(usize),
    /// A number that says nothing.
    #[error("the load report's value at byte {0} is no finite number of 0 or more")]
    Value(usize),
    /// Not JSON, or not of a report's form.
    #[error("the load report is no JSON of its form at byte {0}")]
    Json(usize),
    /// Not base64.
    #[error("the load report is no base64 at byte {0}")]
    Base64(usize),
    /// Not protobuf.
    #[error("the load report is no protobuf message at byte {0}")]
    Protobuf(usize),
}

impl Error {
    pub(super) fn at(fault: Fault, place: usize) -> Error {
        match fault {
            Fault::Duplicate => Error::Duplicate(place),
            Fault::Value => Error::Value(place),
        }
    }
}

/// Reads the values of [`HEADER`] and [`HEADER_BIN`] as a response carries them; `None` if it carries neither.
pub fn read(metrics: Option<&[u8]>, metrics_bin: Option<&[u8]>) -> Option<Result<Report, Error>> {
    match (metrics, metrics_bin) {
        (_, Some(base64)) => Some(within(base64).and_then(binary)),
        (Some(value), None) => Some(within(value).and_then(prefixed)),
        (None, None) => None,
    }
}

fn within(value: &[u8]) -> Result<&[u8], Error> {
    if value.len() <= MAX_BYTES {
        Ok(value)
    } else {
        Err(Error::TooLong(value.len()))
    }
}

fn prefixed(value: &[u8]) -> Result<Report, Error> {
    if let Some(report) = value.strip_prefix(b"TEXT ") {
        text(report)
    } else if let Some(report) = value.strip_prefix(b"JSON ") {
        let mut sheet = Sheet::default();
        json::read(report, &mut sheet)?;
        Ok(sheet.report())
    } else {
        binary(value.strip_prefix(b"BIN ").ok_or(Error::Format)?)
    }
}

/// `name=value,name=value`. Before 1.33 Envoy wanted a colon; today it takes both.
fn text(report: &[u8]) -> Result<Report, Error> {
    let mut sheet = Sheet::default();
    let mut start = 0usize;
    for piece in report.split(|byte| *byte == b',') {
        let place = start;
        start = start.saturating_add(piece.len()).saturating_add(1);
        let pair = piece.trim_ascii();
        if pair.is_empty() {
            continue;
        }
        let mut halves = pair.splitn(2, |byte| matches!(byte, b'=' | b':'));
        let name = halves.next().unwrap_or_default();
        let value = halves.next().and_then(number).ok_or(Error::Value(place))?;
        let (family, rest) = family(name);
        let taken = match family {
            Some(map) if !rest.is_empty() => sheet.entry(map, rest, value),
            Some(_) => return Err(Error::Name(place)),
            None => {
                let field = Field::named(name).filter(|_| TEXT_FIELDS.contains(&name));
                sheet.number(field.ok_or(Error::Name(place))?, value)
            }
        };
        taken.map_err(|fault| Error::at(fault, place))?;
    }
    Ok(sheet.report())
}

/// The fields with one number that the text form has; JSON has another (`rps`, deprecated) and other spellings.
const TEXT_FIELDS: [&[u8]; 5] = [
    b"cpu_utilization",
    b"mem_utilization",
    b"application_utilization",
    b"rps_fractional",
    b"eps",
];

/// The map that `name` is in by its prefix, and the rest of it.
fn family(name: &[u8]) -> (Option<Field>, &[u8]) {
    if let Some(rest) = name.strip_prefix(b"named_metrics.") {
        (Some(Field::NamedMetrics), rest)
    } else if let Some(rest) = name.strip_prefix(b"utilization.") {
        (Some(Field::Utilization), rest)
    } else {
        (None, name)
    }
}

fn number(text: &[u8]) -> Option<f64> {
    std::str::from_utf8(text.trim_ascii()).ok()?.parse().ok()
}

fn binary(base64: &[u8]) -> Result<Report, Error> {
    if base64.is_empty() {
        return Err(Error::Base64(0));
    }
    let bytes = base64::decode(base64).map_err(Error::Base64)?;
    message(&bytes)
}

fn message(bytes: &[u8]) -> Result<Report, Error> {
    let mut sheet = Sheet::default();
    let mut fields = Fields::new(bytes);
    loop {
        let place = bytes.len().saturating_sub(fields.left());
        let malformed = |Malformed| Error::Protobuf(place);
        let Some(field) = fields.next() else {
            return Ok(sheet.report());
        };
        let (number, value) = field.map_err(malformed)?;
        let Some(field) = Field::numbered(number) else {
            continue;
        };
        let taken = match (field, value) {
            (map, Value::Bytes(bytes)) if map.is_map() => {
                let (name, value) = entry(bytes).map_err(malformed)?;
                sheet.entry(map, name, value)
            }
            (Field::Rps, Value::Varint(_)) => sheet.open(field),
            (Field::Rps, _) => Ok(()),
            (field, Value::Double(value)) if !field.is_map() => sheet.number(field, value),
            // Of another type than ours: of another version than ours.
            _ => Ok(()),
        };
        taken.map_err(|fault| Error::at(fault, place))?;
    }
}

/// An entry of a map is a message of a name and a number, either of which is left out if it is empty.
fn entry(bytes: &[u8]) -> Result<(&[u8], f64), Malformed> {
    let mut name: &[u8] = b"";
    let mut number = 0.0;
    let fields = Fields::new(bytes);
    for field in fields {
        match field? {
            (1, Value::Bytes(bytes)) => name = bytes,
            (2, Value::Double(value)) => number = value,
            _ => {}
        }
    }
    std::str::from_utf8(name).map_err(|_| Malformed)?;
    Ok((name, number))
}

#[cfg(test)]
#[path = "orca_tests.rs"]
mod tests;
