//! Server-sent events: which bytes of a stream are data, and where an event ends.
//!
//! After the HTML standard, section 9.2.6 ("Interpreting an event stream"): a line ends with LF, CR or both, a
//! byte order mark at the very start counts for nothing, an empty line ends an event, and of the fields only
//! `data` matters here. A stream comes cut anywhere, between CR and LF and inside of a character or a
//! field's name, too; so a line is never put together, its data is handed on as it comes, and the
//! state is a few bytes however long a line is. A reader that splits at `\n\n`, as many do, misses every event of a
//! server that ends its lines otherwise, and holds what it has not seen the end of.

use crate::text::lanes::{BLOCK, Block};

/// A position in a stream of events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EventReader {
    place: Place,
    /// Whether the last byte was a CR: an LF that follows belongs to it.
    returned: bool,
    /// Whether this event has data.
    data: bool,
}

/// The next thing in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part<'a> {
    /// More of the event's data: a field's value, or the line end between two of them.
    Data(&'a [u8]),
    /// The event is over. Without data it is none: comments, and fields that stand alone.
    End {
        /// Whether there was data.
        data: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// At the start of the stream, behind so many bytes of a byte order mark.
    Mark(usize),
    /// In a line of which there is so much of the name `data`, and nothing else.
    Name(usize),
    /// Behind the colon, where one space is none of the value's.
    Colon,
    /// In the value.
    Value,
    /// In a line that is of no interest.
    Other,
}

impl Default for Place {
    fn default() -> Place {
        Place::Mark(0)
    }
}

const MARK: &[u8] = &[0xef, 0xbb, 0xbf];
const NAME: &[u8] = b"data";

impl EventReader {
    /// The next part of the stream, which goes on with `rest`; what was read is taken off it. `None` once
    /// nothing is left.
    pub fn next<'a>(&mut self, rest: &mut &'a [u8]) -> Option<Part<'a>> {
        while let Some((&byte, behind)) = rest.split_first() {
            if std::mem::take(&mut self.returned) && byte == b'\n' {
                *rest = behind;
                continue;
            }
            let ends = matches!(byte, b'\n' | b'\r');
            match self.place {
                Place::Mark(seen) => {
                    self.place = match MARK.get(seen) {
                        Some(expected) if *expected == byte => {
                            *rest = behind;
                            Place::Mark(seen.wrapping_add(1))
                        }
                        // Half a mark is the beginning of a name that is not `data`.
                        Some(_) if seen > 0 => Place::Other,
                        _ => Place::Name(0),
                    };
                }
                Place::Name(0) if ends => {
                    self.end_line(byte, behind, rest);
                    let data = std::mem::take(&mut self.data);
                    return Some(Part::End { data });
                }
                Place::Name(seen) => match NAME.get(seen) {
                    Some(expected) if *expected == byte => {
                        *rest = behind;
                        self.place = Place::Name(seen.wrapping_add(1));
                    }
                    // A name without a colon has an empty value.
                    None if ends || byte == b':' => {
                        match ends {
                            true => self.end_line(byte, behind, rest),
                            false => (self.place, *rest) = (Place::Colon, behind),
                        }
                        if std::mem::replace(&mut self.data, true) {
                            return Some(Part::Data(b"\n"));
                        }
                    }
                    _ => self.place = Place::Other,
                },
                Place::Colon => {
                    if byte == b' ' {
                        *rest = behind;
                    }
                    self.place = Place::Value;
                }
                Place::Value | Place::Other if ends => self.end_line(byte, behind, rest),
                Place::Value | Place::Other => {
                    let (run, behind) = rest.split_at(line_end(rest));
                    *rest = behind;
                    if self.place == Place::Value {
                        return Some(Part::Data(run));
                    }
                }
            }
        }
        None
    }

    /// Whether the last byte was a CR that ended a line, to which an LF would belong.
    pub fn awaits_line_feed(&self) -> bool {
        self.returned
    }

    fn end_line<'a>(&mut self, end: u8, behind: &'a [u8], rest: &mut &'a [u8]) {
        self.returned = end == b'\r';
        self.place = Place::Name(0);
        *rest = behind;
    }
}

/// Where the first line end of `text` is; its length if it has none.
fn line_end(text: &[u8]) -> usize {
    let mut at = 0usize;
    for chunk in text.chunks(BLOCK) {
        let ends = Block::load(chunk).bits(|x| x.is(b'\n').or(x.is(b'\r')));
        if ends != 0 {
            return at.wrapping_add(ends.trailing_zeros() as usize);
        }
        at = at.wrapping_add(chunk.len());
    }
    at
}
