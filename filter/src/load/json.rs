//! A load report as JSON, by protobuf's mapping: an object of numbers, and of objects of numbers.
//!
//! Nothing nests deeper, so this is a dozen rules and no parser at large; `serde_json` would keep the last
//! of two fields of one name, where the report must be refused. A name with an escape in it is not
//! unescaped: it is none that anybody knows.
//!
//! Source: <https://protobuf.dev/programming-guides/json/>, as Envoy reads it, which refuses unknown fields.

use super::orca::Error;
use super::sheet::{Field, Sheet};

/// Reads the whole of `text` into `sheet`.
pub(super) fn read<'a>(text: &'a [u8], sheet: &mut Sheet<'a>) -> Result<(), Error> {
    let mut reader = Reader { text, at: 0 };
    if std::str::from_utf8(text).is_err() {
        return Err(reader.syntax());
    }
    reader.object(sheet, None)?;
    match reader.token() {
        None => Ok(()),
        Some(_) => Err(reader.syntax()),
    }
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// The message itself, or the map `of`.
    fn object(&mut self, sheet: &mut Sheet<'a>, of: Option<Field>) -> Result<(), Error> {
        self.expect(b'{')?;
        if self.token() == Some(b'}') {
            return self.expect(b'}');
        }
        loop {
            self.token();
            let start = self.at;
            let name = self.string()?;
            self.expect(b':')?;
            match of {
                Some(map) => self.entry(sheet, map, name, start)?,
                None => self.field(sheet, name, start)?,
            }
            if self.token() != Some(b',') {
                return self.expect(b'}');
            }
            self.expect(b',')?;
        }
    }

    /// The value of the message's field `name`.
    fn field(&mut self, sheet: &mut Sheet<'a>, name: &[u8], start: usize) -> Result<(), Error> {
        let field = Field::named(name).ok_or(Error::Name(start))?;
        if self.null()? {
            return Ok(());
        }
        let taken = if field.is_map() {
            let opened = sheet.open(field);
            self.object(sheet, Some(field))?;
            opened
        } else {
            let value = self.number()?;
            sheet.number(field, value)
        };
        taken.map_err(|fault| Error::at(fault, start))
    }

    /// The value of `name` in the map `map`.
    fn entry(
        &mut self,
        sheet: &mut Sheet<'a>,
        map: Field,
        name: &'a [u8],
        start: usize,
    ) -> Result<(), Error> {
        if self.null()? {
            return Ok(());
        }
        let value = self.number()?;
        sheet
            .entry(map, name, value)
            .map_err(|fault| Error::at(fault, start))
    }

    /// A number, in quotes or not.
    fn number(&mut self) -> Result<f64, Error> {
        let quoted = self.token() == Some(b'"');
        let start = self.at;
        let literal = if quoted {
            self.string()?
        } else {
            self.literal()
        };
        std::str::from_utf8(literal)
            .ok()
            .filter(|_| is_number(literal))
            .and_then(|text| text.parse().ok())
            .ok_or(Error::Value(start))
    }

    /// What follows that may be part of a number.
    fn literal(&mut self) -> &'a [u8] {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let end = rest
            .iter()
            .position(|byte| !matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'))
            .unwrap_or(rest.len());
        self.at = self.at.saturating_add(end);
        rest.get(..end).unwrap_or_default()
    }

    /// Passes over a `null`, which says that there is no value, if that is next.
    fn null(&mut self) -> Result<bool, Error> {
        if self.token() != Some(b'n') {
            return Ok(false);
        }
        let rest = self.text.get(self.at..).unwrap_or_default();
        let after = rest.strip_prefix(b"null").ok_or(self.syntax())?;
        self.at = self.text.len().saturating_sub(after.len());
        Ok(true)
    }

    /// What stands between quotes, as it is written.
    fn string(&mut self) -> Result<&'a [u8], Error> {
        self.expect(b'"')?;
        let start = self.at;
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    self.bump();
                    self.escape()?;
                }
                Some(0x20..) => self.bump(),
                _ => return Err(self.syntax()),
            }
        }
        let text = self.text.get(start..self.at).unwrap_or_default();
        self.bump();
        Ok(text)
    }

    fn escape(&mut self) -> Result<(), Error> {
        let digits = match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 0,
            Some(b'u') => 4,
            _ => return Err(self.syntax()),
        };
        self.bump();
        for _ in 0..digits {
            if !self.peek().is_some_and(|byte| byte.is_ascii_hexdigit()) {
                return Err(self.syntax());
            }
            self.bump();
        }
        Ok(())
    }

    fn expect(&mut self, byte: u8) -> Result<(), Error> {
        if self.token() == Some(byte) {
            self.bump();
            Ok(())
        } else {
            Err(self.syntax())
        }
    }

    /// The next byte that is not white space.
    fn token(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.peek() {
            self.bump();
        }
        self.peek()
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn bump(&mut self) {
        self.at = self.at.saturating_add(1);
    }

    fn syntax(&self) -> Error {
        Error::Json(self.at)
    }
}

/// Whether `literal`, if Rust reads it as a number, is one as JSON writes them: Rust reads more.
fn is_number(literal: &[u8]) -> bool {
    let unsigned = literal.strip_prefix(b"-").unwrap_or(literal);
    let leading_zero = matches!(unsigned, [b'0', b'0'..=b'9', ..]);
    let dangling = unsigned
        .windows(2)
        .any(|pair| matches!(pair, [b'.', b'e' | b'E']));
    matches!(unsigned, [b'0'..=b'9', ..]) && !leading_zero && !dangling && !literal.ends_with(b".")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn accepts(text: &str) -> bool {
        read(text.as_bytes(), &mut Sheet::default()).is_ok()
    }

    #[test]
    fn protobufs_mapping_is_read() {
        for text in [
            "{}",
            " { } ",
            r#"{"cpu_utilization":0.5}"#,
            r#"{"cpuUtilization":1e-3,"rps":"12","eps":"0.5"}"#,
            r#"{"named_metrics":{},"utilization":{"a":1,"b":0.25},"requestCost":{"c":3}}"#,
            r#"{"named_metrics":{"caf\u00e9 \"x\"":1,"":2},"eps":null}"#,
            r#"{"named_metrics":null,"utilization":{"a":null,"b": null }}"#,
        ] {
            assert!(accepts(text), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_report_is_refused_with_its_place() {
        for (text, error) in [
            ("", Error::Json(0)),
            ("[]", Error::Json(0)),
            ("null", Error::Json(0)),
            (r#"{"eps":1"#, Error::Json(8)),
            (r#"{"eps":1,}"#, Error::Json(9)),
            (r#"{"eps":1} x"#, Error::Json(10)),
            (r#"{"eps" 1}"#, Error::Json(7)),
            (r#"{eps:1}"#, Error::Json(1)),
            (r#"{"eps":nul}"#, Error::Json(7)),
            (r#"{"eps":n ull}"#, Error::Json(7)),
            (r#"{"eps":nullx}"#, Error::Json(11)),
            (r#"{"gpu":1}"#, Error::Name(1)),
            (r#"{"gpu":null}"#, Error::Name(1)),
            (r#"{"cpu\u005futilization":1}"#, Error::Name(1)),
            (r#"{"eps":true}"#, Error::Value(7)),
            (r#"{"eps":"NaN"}"#, Error::Value(7)),
            (r#"{"eps":NaN}"#, Error::Value(7)),
            (r#"{"eps":{}}"#, Error::Value(7)),
            (r#"{"eps":-1}"#, Error::Value(1)),
            (r#"{"eps":1e999}"#, Error::Value(1)),
            (r#"{"named_metrics":1}"#, Error::Json(17)),
            (r#"{"named_metrics":{"a":{}}}"#, Error::Value(22)),
            (r#"{"eps":1,"eps":1}"#, Error::Duplicate(9)),
            (
                r#"{"cpu_utilization":1,"cpuUtilization":1}"#,
                Error::Duplicate(21),
            ),
            (r#"{"utilization":{"a":1,"a":1}}"#, Error::Duplicate(22)),
            (
                r#"{"utilization":{},"utilization":{}}"#,
                Error::Duplicate(18),
            ),
            ("{\"named_metrics\":{\"a\n\":1}}", Error::Json(20)),
            (r#"{"named_metrics":{"\x":1}}"#, Error::Json(20)),
            (r#"{"named_metrics":{"\u00g0":1}}"#, Error::Json(23)),
        ] {
            let outcome = read(text.as_bytes(), &mut Sheet::default());
            assert_eq!(outcome, Err(error), "{text}");
        }
        let invalid = b"{\"named_metrics\":{\"\xff\":1}}";
        assert!(read(invalid, &mut Sheet::default()).is_err());
    }

    #[test]
    fn what_rust_reads_and_json_does_not_is_no_number() {
        for (number, is_one) in [
            ("0", true),
            ("-0.5e-3", true),
            ("10E+2", true),
            ("01", false),
            ("-01.5", false),
            (".5", false),
            ("5.", false),
            ("5.e1", false),
            ("+5", false),
            ("--5", false),
            ("inf", false),
            ("", false),
        ] {
            assert_eq!(is_number(number.as_bytes()), is_one, "{number}");
        }
    }

    proptest! {
        #[test]
        fn nothing_is_read_that_serde_json_refuses(
            text in r#"\{("eps":([-+]?[0-9]{0,3}\.?[0-9]{0,2}([eE][-+]?[0-9]{0,2})?|null|"1"),?)?("named_metrics":\{("[a-b]{0,2}(\\u00[0-9a-g]{1,2}|\\.)?":-?[01.e]{1,3},?){0,2}\})?\}?"#
        ) {
            let serde = serde_json::from_str::<serde_json::Value>(&text).is_ok();
            prop_assert!(serde || !accepts(&text), "{}", text);
        }
    }
}
