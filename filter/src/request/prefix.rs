//! The beginning of a prompt, for affinity: requests that begin alike go where that beginning is
//! already in a model server's cache.
//!
//! The decoded text is what counts, so neither escapes nor white space nor the order of fields
//! change the key. Instructions stand before the rest, as they do in every model's template.

/// The first bytes of a prompt's decoded text.
pub struct Prefix {
    limit: usize,
    instructions: Vec<u8>,
    content: Vec<u8>,
}

impl Prefix {
    /// Nothing yet, of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            instructions: Vec::new(),
            content: Vec::new(),
        }
    }

    /// Whether there is room for more instructions, or more content.
    #[inline]
    pub fn wants(&self, instructions: bool) -> bool {
        let text = if instructions {
            &self.instructions
        } else {
            &self.content
        };
        text.len() < self.limit
    }

    /// The text goes on with `bytes`, as instructions or as content.
    pub fn push(&mut self, instructions: bool, bytes: &[u8]) {
        let text = if instructions {
            &mut self.instructions
        } else {
            &mut self.content
        };
        let room = self.limit.saturating_sub(text.len());
        text.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    }

    /// A hash of what was kept.
    pub fn key(mut self) -> u64 {
        self.instructions.append(&mut self.content);
        self.instructions.truncate(self.limit);
        hash(&self.instructions)
    }
}

/// Eight bytes a step, by multiplication and fold, and murmur3's finish. Not for keys that an
/// enemy chooses: who collides here shares an endpoint with another, no more.
pub fn hash(bytes: &[u8]) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let (words, rest) = bytes.as_chunks::<8>();
    let tail = rest
        .iter()
        .rev()
        .fold(0, |word, byte| (word << 8) | u64::from(*byte));
    let mut hash = (bytes.len() as u64).wrapping_mul(ODD);
    for word in words
        .iter()
        .map(|word| u64::from_le_bytes(*word))
        .chain([tail])
    {
        hash = (hash ^ word).wrapping_mul(ODD);
        hash ^= hash >> 29;
    }
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}
