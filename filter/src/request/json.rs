//! A strict reader of JSON that pulls: it hands out what is asked for and passes over the rest, but
//! never over an error.
//!
//! Strict is RFC 8259 as `serde_json` reads it into a `Value`, with a lower bound on nesting; so what
//! is accepted here is accepted by the model server behind, and means the same there.

use std::ops::Range;

use super::error::Error;
use super::number;
use crate::text::stops::Stops;

/// How deep arrays and objects may nest, the outermost being 1.
pub const DEPTH: u32 = 64;

/// What a value is, told by its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `{`
    Object,
    /// `[`
    Array,
    /// `"`
    String,
    /// `-` or a digit.
    Number,
    /// `true` or `false`
    Bool,
    /// `null`
    Null,
}

/// Is told of each escape in a string as it passes.
pub trait Sink {
    /// At `place` in `body` an escape stands for `char`.
    fn escaped(&mut self, body: &[u8], place: Range<usize>, char: char);
}

/// Passes over.
impl Sink for () {
    fn escaped(&mut self, _: &[u8], _: Range<usize>, _: char) {}
}

/// A string as it stands in a body: valid.
#[derive(Clone, Copy, Debug)]
pub struct Literal<'a> {
    /// What is between the quotes.
    pub raw: &'a [u8],
    /// Where the opening quote is.
    pub at: usize,
    /// Whether there are escapes in it.
    pub escaped: bool,
    /// Whether it is known to be all ASCII.
    pub ascii: bool,
}

impl Literal<'_> {
    /// Its place, with the quotes.
    pub fn place(&self) -> Range<usize> {
        self.at..self.at.wrapping_add(self.raw.len()).saturating_add(2)
    }

    /// Hands the text it stands for to `take`, in pieces, until that has enough and says false.
    pub fn decode(&self, take: &mut dyn FnMut(&[u8]) -> bool) {
        if !self.escaped {
            take(self.raw);
            return;
        }
        let mut scan = Scanner::new(self.raw);
        loop {
            let from = scan.at;
            scan.at = scan.stops.next(scan.body, from);
            if !take(scan.raw(&(from..scan.at))) {
                return;
            }
            // Valid as it is, the string ends, or goes on with an escape.
            let Ok(char) = scan.escape() else {
                return;
            };
            if !take(char.encode_utf8(&mut [0; 4]).as_bytes()) {
                return;
            }
        }
    }
}

/// A position in a body.
pub struct Scanner<'a> {
    body: &'a [u8],
    at: usize,
    depth: u32,
    stops: Stops,
}

impl<'a> Scanner<'a> {
    /// Before the first byte of `body`.
    pub fn new(body: &'a [u8]) -> Self {
        Self {
            body,
            at: 0,
            depth: 0,
            stops: Stops::default(),
        }
    }

    /// What the next value is.
    pub fn kind(&mut self) -> Result<Kind, Error> {
        match self.token() {
            Some(b'"') => Ok(Kind::String),
            Some(b'{') => Ok(Kind::Object),
            Some(b'[') => Ok(Kind::Array),
            Some(b'-' | b'0'..=b'9') => Ok(Kind::Number),
            Some(b't' | b'f') => Ok(Kind::Bool),
            Some(b'n') => Ok(Kind::Null),
            _ => Err(self.syntax("a value")),
        }
    }

    /// Enters an object or an array, after [`Scanner::kind`] told which.
    pub fn enter(&mut self) -> Result<(), Error> {
        self.depth = self.depth.saturating_add(1);
        if self.depth > DEPTH {
            return Err(Error::TooDeep {
                offset: self.at,
                limit: DEPTH,
            });
        }
        self.bump();
        Ok(())
    }

    /// Moves to the next field of the object; its name, or `None` at the end.
    pub fn field(&mut self, first: &mut bool) -> Result<Option<Literal<'a>>, Error> {
        if !self.more(first, b'}', "a comma or the end of the object")? {
            return Ok(None);
        }
        if self.token() != Some(b'"') {
            return Err(self.syntax("a field's name in quotes"));
        }
        let name = self.string(&mut ())?;
        if self.token() != Some(b':') {
            return Err(self.syntax("a colon"));
        }
        self.bump();
        Ok(Some(name))
    }

    /// Moves to the next item of the array; false at the end.
    pub fn item(&mut self, first: &mut bool) -> Result<bool, Error> {
        self.more(first, b']', "a comma or the end of the array")
    }

    #[inline(always)]
    fn more(&mut self, first: &mut bool, end: u8, expected: &'static str) -> Result<bool, Error> {
        let next = self.token();
        let began = std::mem::replace(first, false);
        if next == Some(end) {
            self.bump();
            self.depth = self.depth.saturating_sub(1);
            return Ok(false);
        }
        if !began {
            if next != Some(b',') {
                return Err(self.syntax(expected));
            }
            self.bump();
        }
        Ok(true)
    }

    /// Reads a string, after [`Scanner::kind`] told it is one.
    #[inline(never)]
    pub fn string<S: Sink>(&mut self, sink: &mut S) -> Result<Literal<'a>, Error> {
        let start = self.at.wrapping_add(1);
        let mut escaped = false;
        self.at = start;
        loop {
            self.at = self.stops.next(self.body, self.at);
            let stop = self.at;
            match self.peek() {
                Some(b'"') => {
                    self.bump();
                    return Ok(Literal {
                        raw: self.raw(&(start..stop)),
                        at: start.wrapping_sub(1),
                        escaped,
                        ascii: self.stops.ascii(),
                    });
                }
                Some(b'\\') => {
                    let char = self.escape()?;
                    escaped = true;
                    sink.escaped(self.body, stop..self.at, char);
                }
                Some(_) => return Err(self.syntax("control characters in strings as \\u escapes")),
                None => return Err(self.syntax("the string's closing quote")),
            }
        }
    }

    /// Reads a number, after [`Scanner::kind`] told it is one; its place.
    pub fn number(&mut self) -> Result<Range<usize>, Error> {
        let start = self.at;
        match number::literal(self.rest()) {
            Ok(length) => {
                self.at = self.at.wrapping_add(length);
                Ok(start..self.at)
            }
            Err(number::Fault::Syntax(length)) => {
                self.at = self.at.wrapping_add(length);
                Err(self.syntax("a digit: a number is like -1.5e3, without leading zeros"))
            }
            Err(number::Fault::Range) => Err(Error::NumberOutOfRange { offset: start }),
        }
    }

    /// Reads `true` or `false`, after [`Scanner::kind`] told it is one of them.
    pub fn bool(&mut self) -> Result<bool, Error> {
        let value = self.peek() == Some(b't');
        self.word(if value { b"true" } else { b"false" })?;
        Ok(value)
    }

    /// Reads `null`, after [`Scanner::kind`] told it is that.
    pub fn null(&mut self) -> Result<(), Error> {
        self.word(b"null")
    }

    fn word(&mut self, word: &'static [u8]) -> Result<(), Error> {
        if !self.rest().starts_with(word) {
            return Err(self.syntax("true, false or null"));
        }
        self.at = self.at.wrapping_add(word.len());
        Ok(())
    }

    /// Passes over the next value, whatever it is; its place.
    pub fn skip(&mut self) -> Result<Range<usize>, Error> {
        let mut kind = self.kind()?;
        let start = self.at;
        let outside = self.depth;
        // A bit for each level that is an object; the innermost is the lowest.
        let mut objects = 0u64;
        let mut first = true;
        loop {
            match kind {
                Kind::Object | Kind::Array => {
                    self.enter()?;
                    objects = (objects << 1) | u64::from(kind == Kind::Object);
                    first = true;
                }
                Kind::String => self.string(&mut ()).map(|_| ())?,
                Kind::Number => self.number().map(|_| ())?,
                Kind::Bool => self.bool().map(|_| ())?,
                Kind::Null => self.null()?,
            }
            loop {
                if self.depth == outside {
                    return Ok(start..self.at);
                }
                let more = if objects & 1 == 1 {
                    self.field(&mut first)?.is_some()
                } else {
                    self.item(&mut first)?
                };
                if more {
                    break;
                }
                objects >>= 1;
            }
            kind = self.kind()?;
        }
    }

    /// Nothing but white space may be left, and all of it must have been UTF-8: what is all ASCII is.
    pub fn end(&mut self) -> Result<(), Error> {
        match self.token() {
            None if self.stops.ascii() => Ok(()),
            None => utf8(self.body),
            Some(byte) if byte >= 0x80 => Err(self.syntax("the end")),
            Some(_) => Err(Error::TrailingData { offset: self.at }),
        }
    }

    /// The bytes of `range`.
    pub fn raw(&self, range: &Range<usize>) -> &'a [u8] {
        self.body.get(range.clone()).unwrap_or_default()
    }

    /// The next byte that is not white space.
    #[inline]
    fn token(&mut self) -> Option<u8> {
        loop {
            match self.peek() {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.bump(),
                other => return other,
            }
        }
    }

    /// Reads the escape whose backslash is next.
    #[inline]
    fn escape(&mut self) -> Result<char, Error> {
        self.bump();
        let char = match self.peek() {
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            _ => return self.unicode(),
        };
        self.bump();
        Ok(char)
    }

    /// Reads the `u` and what follows it.
    #[inline(never)]
    fn unicode(&mut self) -> Result<char, Error> {
        if self.peek() != Some(b'u') {
            return Err(self.syntax("an escape: one of \"\\/bfnrtu"));
        }
        let start = self.at.wrapping_sub(1);
        let first = self.unit()?;
        let mut code = first;
        if (0xd800..0xdc00).contains(&first) && self.rest().starts_with(b"\\u") {
            self.bump();
            let second = self.unit()?;
            // Else it stays a lone surrogate, which is no character.
            if (0xdc00..0xe000).contains(&second) {
                code = 0x1_0000u32.wrapping_add((first & 0x3ff) << 10) | (second & 0x3ff);
            }
        }
        let expected = "a pair of surrogates";
        char::from_u32(code).ok_or(Error::Syntax {
            offset: start,
            expected,
        })
    }

    /// The four digits behind the `u` that is next.
    fn unit(&mut self) -> Result<u32, Error> {
        self.bump();
        let mut code = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16));
            let digit = digit.ok_or_else(|| self.syntax("four hexadecimal digits"))?;
            code = (code << 4) | digit;
            self.bump();
        }
        Ok(code)
    }

    #[cold]
    #[inline(never)]
    fn syntax(&self, expected: &'static str) -> Error {
        let offset = self.at;
        let syntax = Error::Syntax { offset, expected };
        utf8(self.body).err().unwrap_or(syntax)
    }

    #[inline]
    fn rest(&self) -> &'a [u8] {
        self.body.get(self.at..).unwrap_or_default()
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.body.get(self.at).copied()
    }

    #[inline]
    fn bump(&mut self) {
        self.at = self.at.wrapping_add(1);
    }
}

/// Valid UTF-8, or where it is not.
fn utf8(body: &[u8]) -> Result<(), Error> {
    match simdutf8::basic::from_utf8(body) {
        Ok(_) => Ok(()),
        Err(_) => {
            let place = std::str::from_utf8(body)
                .err()
                .map_or(0, |error| error.valid_up_to());
            Err(Error::InvalidUtf8 { offset: place })
        }
    }
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
