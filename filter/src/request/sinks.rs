//! Where the characters of a string go: to the counts and the prefix, or into a short buffer.

use super::json::Sink;
use super::prefix::Prefix;
use super::text::Tally;

/// Text of the prompt, on its way to both who want it.
pub struct Text<'r> {
    /// Counts it.
    pub tally: &'r mut Tally,
    /// Keeps its beginning.
    pub prefix: &'r mut Prefix,
    /// Whether it stands before all other.
    pub instructions: bool,
}

impl Sink for Text<'_> {
    #[inline]
    fn plain(&mut self, text: &[u8]) {
        self.prefix.push(self.instructions, text);
        self.tally.plain(text);
    }

    fn escaped(&mut self, char: char) {
        self.prefix
            .push(self.instructions, char.encode_utf8(&mut [0; 4]).as_bytes());
        self.tally.escaped(char);
    }
}

/// A short string, decoded.
pub struct Held<const N: usize> {
    bytes: [u8; N],
    length: usize,
}

impl<const N: usize> Default for Held<N> {
    fn default() -> Self {
        Self {
            bytes: [0; N],
            length: 0,
        }
    }
}

impl<const N: usize> Held<N> {
    /// What it is, or `None` if it was longer than there is room.
    pub fn bytes(&self) -> Option<&[u8]> {
        self.bytes.get(..self.length)
    }

    /// Whether it is `name`.
    pub fn is(&self, name: &[u8]) -> bool {
        self.bytes() == Some(name)
    }

    /// Empties it.
    pub fn clear(&mut self) {
        self.length = 0;
    }
}

impl<const N: usize> Sink for Held<N> {
    #[inline]
    fn plain(&mut self, text: &[u8]) {
        let end = self.length.saturating_add(text.len());
        if let Some(room) = self.bytes.get_mut(self.length..end) {
            room.copy_from_slice(text);
        }
        self.length = end;
    }

    fn escaped(&mut self, char: char) {
        self.plain(char.encode_utf8(&mut [0; 4]).as_bytes());
    }
}
