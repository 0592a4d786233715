//! A strict reader of JSON that pulls: it hands out what is asked for and passes over the rest, but
//! never over an error.
//!
//! Strict is RFC 8259 as `serde_json` reads it into a `Value`, with a lower bound on nesting; so what
//! is accepted here is accepted by the model server behind, and means the same there.

use std::ops::Range;

use super::error::Error;
use super::lanes::{Lanes, WIDTH};
use super::number;

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

/// Takes a string's characters as they pass.
pub trait Sink {
    /// A run of the body's own bytes: valid UTF-8 without escapes or control characters.
    fn plain(&mut self, text: &[u8]);
    /// A character written as an escape.
    fn escaped(&mut self, char: char);
}

/// Passes over.
impl Sink for () {
    fn plain(&mut self, _: &[u8]) {}
    fn escaped(&mut self, _: char) {}
}

/// A position in a body.
pub struct Scanner<'a> {
    body: &'a [u8],
    at: usize,
    depth: u32,
    utf8: bool,
}

impl<'a> Scanner<'a> {
    /// Before the first byte of `body`.
    pub fn new(body: &'a [u8]) -> Self {
        Self {
            body,
            at: 0,
            depth: 0,
            utf8: false,
        }
    }

    /// What the next value is.
    #[inline]
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

    /// Moves to the next field of the object and gives its name to `name`; false at the end.
    pub fn field<S: Sink>(&mut self, first: &mut bool, name: &mut S) -> Result<bool, Error> {
        if !self.more(first, b'}', "a comma or the end of the object")? {
            return Ok(false);
        }
        if self.token() != Some(b'"') {
            return Err(self.syntax("a field's name in quotes"));
        }
        self.string(name)?;
        if self.token() != Some(b':') {
            return Err(self.syntax("a colon"));
        }
        self.bump();
        Ok(true)
    }

    /// Moves to the next item of the array; false at the end.
    pub fn item(&mut self, first: &mut bool) -> Result<bool, Error> {
        self.more(first, b']', "a comma or the end of the array")
    }

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

    /// Reads a string, after [`Scanner::kind`] told it is one; its place with the quotes.
    #[inline]
    pub fn string<S: Sink>(&mut self, sink: &mut S) -> Result<Range<usize>, Error> {
        let start = self.at;
        self.bump();
        loop {
            let rest = self.rest();
            let (length, ascii) = plain(rest);
            if !ascii {
                self.validate()?;
            }
            sink.plain(rest.get(..length).unwrap_or_default());
            self.at = self.at.saturating_add(length);
            match self.peek() {
                Some(b'"') => {
                    self.bump();
                    return Ok(start..self.at);
                }
                Some(b'\\') => sink.escaped(self.escape()?),
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
                self.at = self.at.saturating_add(length);
                Ok(start..self.at)
            }
            Err(number::Fault::Syntax(length)) => {
                self.at = self.at.saturating_add(length);
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
        self.at = self.at.saturating_add(word.len());
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
                    self.field(&mut first, &mut ())?
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

    /// Nothing but white space may be left.
    pub fn end(&mut self) -> Result<(), Error> {
        match self.token() {
            None => Ok(()),
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

    fn escape(&mut self) -> Result<char, Error> {
        self.bump();
        let char = match self.peek() {
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode(),
            _ => return Err(self.syntax("an escape: one of \"\\/bfnrtu")),
        };
        self.bump();
        Ok(char)
    }

    fn unicode(&mut self) -> Result<char, Error> {
        let start = self.at.saturating_sub(1);
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

    /// Once, and only for a body that is not all ASCII: the whole of it.
    fn validate(&mut self) -> Result<(), Error> {
        if !self.utf8 {
            utf8(self.body)?;
            self.utf8 = true;
        }
        Ok(())
    }

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
        self.at = self.at.saturating_add(1);
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

/// How many bytes come before the first quote, backslash or control character, and whether all of
/// them are ASCII (a no may be due to a byte shortly behind).
#[inline]
pub(super) fn plain(bytes: &[u8]) -> (usize, bool) {
    let mut high = Lanes::splat(0);
    let mut at = 0usize;
    // Most runs are short, so the wide steps wait until one has shown that it is not.
    let (chunks, _) = bytes.as_chunks::<WIDTH>();
    for chunk in chunks.iter().take(NARROW) {
        let x = Lanes::of(chunk);
        high = high.or(x);
        let stop = stops(x).first();
        at = at.saturating_add(stop);
        if stop < WIDTH {
            return (at, high.bits() == 0);
        }
    }
    let (wide, _) = chunks.get(NARROW..).unwrap_or_default().as_chunks::<4>();
    for [a, b, c, d] in wide {
        let [a, b, c, d] = [a, b, c, d].map(Lanes::of);
        high = high.or(a.or(b).or(c.or(d)));
        if stops(a).or(stops(b)).or(stops(c).or(stops(d))).any() {
            break;
        }
        at = at.saturating_add(4 * WIDTH);
    }
    for chunk in bytes.get(at..).unwrap_or_default().chunks(WIDTH) {
        let x = Lanes::load(chunk);
        high = high.or(x);
        // What pads a short chunk are control characters, so this stops at its end.
        let stop = stops(x).first();
        at = at.saturating_add(stop);
        if stop < WIDTH {
            break;
        }
    }
    (at, high.bits() == 0)
}

/// Steps of sixteen bytes before those of sixty-four: a line of text or code.
const NARROW: usize = 4;

/// Not zero at quotes, backslashes and control characters. Flipping 2 exchanges the quote with the
/// space and leaves control characters among themselves, so one comparison finds both.
#[inline(always)]
fn stops(x: Lanes) -> Lanes {
    x.xor(2).shortfall(0x21).or(x.is(b'\\'))
}

#[cfg(test)]
#[path = "json_tests.rs"]
mod tests;
