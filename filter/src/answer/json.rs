//! JSON in pieces: which of an answer's fields of interest ([`super::fields`]) goes by.
//!
//! Nothing is built and nothing kept but the way down to where the reader is, and the letters of a name that a piece has
//! cut; so neither the length of a string nor the depth of what is of no interest costs memory. It is not checked
//! that it is JSON: what an upstream gets wrong its client will see, and here it must do no more harm than a wrong count.

use super::fields::{Field, NAME, Node};
use crate::text::lanes::{BLOCK, Block};
use crate::text::stops::Stops;

/// What goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token<'a> {
    /// A string that the model said, if it is not empty.
    Begins,
    /// More of that string.
    Text(&'a [u8]),
    /// One character of it, that an escape stands for.
    Char(char),
    /// The answer's `choices` are there, and hold nothing so far.
    Choices,
    /// They hold something.
    Choice,
    /// The kind of event.
    Kind(&'a [u8]),
    /// A usage report begins.
    Usage,
    /// A number of it.
    Number(Field, u32),
    /// It is complete.
    UsageEnd,
    /// The outermost object is complete.
    End,
}

/// A position in a JSON text.
#[derive(Clone, Debug)]
pub struct JsonReader {
    place: Place,
    /// The innermost container that is open and of interest.
    inner: Level,
    /// Those around it, the outermost first.
    outer: [Level; DEPTH],
    depth: usize,
    /// How many containers are open in `inner` that are of no interest.
    skipped: u32,
    /// What the next value is.
    next: Node,
    /// A name, or the kind of event.
    name: [u8; NAME],
    length: usize,
}

/// Containers on the longest way there is, `choices[].message.tool_calls[].function.arguments`, and some to spare.
const DEPTH: usize = 12;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Level {
    node: Node,
    object: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// Between strings and numbers; `true` where a field's name is to come.
    Between(bool),
    String(Text),
    Escape(Text),
    /// Within the digits of `\u`: how many are left, and their value so far.
    Unicode(Text, u8, u32),
    Number(Field, u32),
}

/// What a string is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Text {
    Name,
    Kind,
    /// What the model said; whether any of it has come.
    Said(bool),
    Other,
}

impl Default for JsonReader {
    fn default() -> Self {
        let outside = Level {
            node: Node::Other,
            object: false,
        };
        Self {
            place: Place::Between(false),
            inner: outside,
            outer: [outside; DEPTH],
            depth: 0,
            skipped: 0,
            next: Node::Root,
            name: [0; NAME],
            length: 0,
        }
    }
}

impl JsonReader {
    /// The text goes on with `piece`: hands what goes by to `take`.
    pub fn feed(&mut self, piece: &[u8], take: &mut dyn FnMut(Token<'_>)) {
        let mut stops = Stops::default();
        let mut at = 0usize;
        while let Some(&byte) = piece.get(at) {
            match self.place {
                Place::String(text) => {
                    let stop = stops.next(piece, at);
                    self.run(text, piece.get(at..stop).unwrap_or_default(), take);
                    if let Some(&stop) = piece.get(stop) {
                        self.stop(stop, take);
                    }
                    at = stop;
                }
                Place::Escape(text) => self.escape(text, byte, take),
                Place::Unicode(text, left, code) => self.unicode(text, left, code, byte, take),
                Place::Number(field, value) => {
                    if self.number(field, value, byte, take) {
                        self.between(byte, false, take);
                    }
                }
                Place::Between(_) if self.skipped > 0 => {
                    at = bracket(piece, at);
                    match piece.get(at) {
                        Some(b'"') => self.place = Place::String(Text::Other),
                        Some(b'{' | b'[') => self.skipped = self.skipped.saturating_add(1),
                        Some(_) => self.close(take),
                        None => {}
                    }
                }
                Place::Between(named) => self.between(byte, named, take),
            }
            at = at.wrapping_add(1);
        }
    }

    fn between(&mut self, byte: u8, named: bool, take: &mut dyn FnMut(Token<'_>)) {
        match byte {
            b' ' | b'\t' | b'\n' | b'\r' => {}
            b'"' if named => {
                self.length = 0;
                self.place = Place::String(Text::Name);
            }
            b':' => self.place = Place::Between(false),
            b',' => self.comma(),
            b'}' | b']' => self.close(take),
            _ => self.value(byte, take),
        }
    }

    fn comma(&mut self) {
        self.place = Place::Between(self.inner.object);
        if !self.inner.object {
            self.next = self.inner.node.item();
        }
    }

    /// A value begins with `byte`.
    fn value(&mut self, byte: u8, take: &mut dyn FnMut(Token<'_>)) {
        let next = self.next;
        if self.inner.node == Node::Choices {
            take(Token::Choice);
        }
        self.place = match (byte, next) {
            (b'"', Node::Said) => Place::String(Text::Said(false)),
            (b'"', Node::Kind) => {
                self.length = 0;
                Place::String(Text::Kind)
            }
            (b'"', _) => Place::String(Text::Other),
            (b'{' | b'[', _) => return self.open(next, byte == b'{', take),
            (b'0'..=b'9', Node::Number(field)) => {
                Place::Number(field, u32::from(byte.wrapping_sub(b'0')))
            }
            _ => Place::Between(false),
        };
        // What else is there before the next comma belongs to this value.
        self.next = Node::Other;
    }

    fn open(&mut self, node: Node, object: bool, take: &mut dyn FnMut(Token<'_>)) {
        self.place = Place::Between(false);
        let Some(room) = self
            .outer
            .get_mut(self.depth)
            .filter(|_| node.opens(object))
        else {
            self.skipped = self.skipped.saturating_add(1);
            return;
        };
        *room = std::mem::replace(&mut self.inner, Level { node, object });
        self.depth = self.depth.saturating_add(1);
        self.place = Place::Between(object);
        self.next = node.item();
        match node {
            Node::Choices => take(Token::Choices),
            Node::Usage => take(Token::Usage),
            _ => {}
        }
    }

    fn close(&mut self, take: &mut dyn FnMut(Token<'_>)) {
        self.place = Place::Between(false);
        self.next = Node::Other;
        if self.skipped > 0 {
            self.skipped = self.skipped.saturating_sub(1);
            return;
        }
        let Some(depth) = self.depth.checked_sub(1) else {
            return;
        };
        match self.inner.node {
            Node::Usage => take(Token::UsageEnd),
            Node::Root => take(Token::End),
            _ => {}
        }
        self.depth = depth;
        if let Some(around) = self.outer.get(depth) {
            self.inner = *around;
        }
    }

    /// A string goes on with `run`.
    fn run(&mut self, text: Text, run: &[u8], take: &mut dyn FnMut(Token<'_>)) {
        if run.is_empty() {
            return;
        }
        match text {
            Text::Name | Text::Kind => self.spell(run),
            Text::Said(begun) => {
                self.begin(begun, take);
                take(Token::Text(run));
            }
            Text::Other => {}
        }
    }

    fn begin(&mut self, begun: bool, take: &mut dyn FnMut(Token<'_>)) {
        if !begun {
            take(Token::Begins);
            self.place = Place::String(Text::Said(true));
        }
    }

    /// A string is interrupted by `byte`: its end, an escape, or what should have been one.
    fn stop(&mut self, byte: u8, take: &mut dyn FnMut(Token<'_>)) {
        let Place::String(text) = self.place else {
            return;
        };
        match (byte, text) {
            (b'\\', _) => self.place = Place::Escape(text),
            (b'"', Text::Name) => {
                let name = self.name.get(..self.length);
                self.next = name.map_or(Node::Other, |name| self.inner.node.field(name));
                self.place = Place::Between(false);
            }
            (b'"', _) => {
                if let (Text::Kind, Some(kind)) = (text, self.name.get(..self.length)) {
                    take(Token::Kind(kind));
                }
                self.place = Place::Between(false);
            }
            (_, Text::Said(begun)) => self.char(begun, char::from(byte), take),
            _ => {}
        }
    }

    fn char(&mut self, begun: bool, char: char, take: &mut dyn FnMut(Token<'_>)) {
        self.begin(begun, take);
        take(Token::Char(char));
    }

    fn escape(&mut self, text: Text, byte: u8, take: &mut dyn FnMut(Token<'_>)) {
        self.place = match byte {
            b'u' => Place::Unicode(text, 4, 0),
            _ => Place::String(text),
        };
        match text {
            // No server escapes a name that matters; this one is now none of them.
            Text::Name | Text::Kind => self.length = NAME.wrapping_add(1),
            Text::Said(begun) if byte != b'u' => {
                let char = match byte {
                    b'n' | b'r' | b't' | b'b' | b'f' => '\n',
                    _ => char::from(byte),
                };
                self.char(begun, char, take);
            }
            Text::Said(_) | Text::Other => {}
        }
    }

    fn unicode(
        &mut self,
        text: Text,
        left: u8,
        code: u32,
        byte: u8,
        take: &mut dyn FnMut(Token<'_>),
    ) {
        let digit = char::from(byte).to_digit(16).unwrap_or_default();
        let code = (code << 4) | digit;
        if left > 1 {
            self.place = Place::Unicode(text, left.wrapping_sub(1), code);
            return;
        }
        self.place = Place::String(text);
        if let Text::Said(begun) = text {
            match code {
                // A pair of surrogates is one character: the first counts for it.
                0xdc00..0xe000 => {}
                _ => self.char(begun, char::from_u32(code).unwrap_or('\u{1_0000}'), take),
            }
        }
    }

    /// A number goes on with `byte`, or has ended before it: then it is true.
    fn number(
        &mut self,
        field: Field,
        value: u32,
        byte: u8,
        take: &mut dyn FnMut(Token<'_>),
    ) -> bool {
        let digit = u32::from(byte.wrapping_sub(b'0'));
        self.place = match byte {
            b'0'..=b'9' => {
                let next = value.checked_mul(10);
                let next = next.and_then(|tens| tens.checked_add(digit));
                next.map_or(Place::Between(false), |value| Place::Number(field, value))
            }
            b'.' | b'e' | b'E' => Place::Between(false),
            _ => {
                take(Token::Number(field, value));
                self.place = Place::Between(false);
                return true;
            }
        };
        false
    }

    fn spell(&mut self, text: &[u8]) {
        let end = self.length.saturating_add(text.len());
        if let Some(room) = self.name.get_mut(self.length..end) {
            room.copy_from_slice(text);
        }
        self.length = end;
    }
}

/// The first quote or bracket of `text` at `at` or behind it; its length if there is none. The vectors of an
/// embedding are long, and nothing else in them matters.
#[inline(never)]
fn bracket(text: &[u8], mut at: usize) -> usize {
    for chunk in text.get(at..).unwrap_or_default().chunks(BLOCK) {
        let bits = Block::load(chunk).bits(|x| {
            let square = x.is(b'[').or(x.is(b']'));
            square.or(x.is(b'{')).or(x.is(b'}')).or(x.is(b'"'))
        });
        if bits != 0 {
            return at.wrapping_add(bits.trailing_zeros() as usize);
        }
        at = at.wrapping_add(chunk.len());
    }
    text.len()
}
