//! A request's or response's headers as one block of bytes, the way a proxy-wasm host hands them over.
//!
//! One allocation for the bytes and one for the places in it: a proxied request has thirty headers, and
//! a pair of `String`s for each would cost more than the decision they serve. Values stay bytes, for
//! nothing promises that they are UTF-8.

use std::ops::Range;

/// An ordered list of headers; names compare without regard to case.
#[derive(Clone, Debug, Default)]
pub struct Headers {
    block: Vec<u8>,
    places: Vec<(Range<usize>, Range<usize>)>,
}

impl Headers {
    /// Reads the ABI's serialized map: the number of pairs, the sizes of each name and value, then
    /// each name and value followed by a zero byte, integers being 32 bits little endian.
    ///
    /// `None` if the block is not one.
    pub fn from_block(block: Vec<u8>) -> Option<Headers> {
        let (count, rest) = block.split_first_chunk::<4>()?;
        let count = u32::from_le_bytes(*count) as usize;
        let (sizes, _) = rest.get(..count.checked_mul(8)?)?.as_chunks::<4>();
        let (pairs, _) = sizes.as_chunks::<2>();
        let mut places = Vec::with_capacity(count);
        // In 64 bits no sum of 32-bit sizes that fit into a block overflows, and no place ends behind
        // the last one: one look at the end will do.
        let mut at = (count as u64).wrapping_mul(8).wrapping_add(4);
        let mut next = |size: [u8; 4]| {
            let start = at;
            at = at.wrapping_add(u32::from_le_bytes(size).into());
            let place = start as usize..at as usize;
            at = at.wrapping_add(1);
            place
        };
        for &[name, value] in pairs {
            places.push((next(name), next(value)));
        }
        (at.saturating_sub(1) <= block.len() as u64).then_some(Headers { block, places })
    }

    /// The headers in `pairs`, in their order.
    pub fn from_pairs<N: AsRef<[u8]>, V: AsRef<[u8]>>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Headers {
        let mut headers = Headers::default();
        for (name, value) in pairs {
            let name = headers.append(name.as_ref());
            let value = headers.append(value.as_ref());
            headers.places.push((name, value));
        }
        headers
    }

    /// A copy with those headers only whose names `keep` wants, in no more memory than they need.
    pub fn only(&self, keep: impl Fn(&[u8]) -> bool) -> Headers {
        Headers::from_pairs(self.iter().filter(|(name, _)| keep(name)))
    }

    /// How many bytes the names and values take, with what is told of their places.
    pub fn size(&self) -> usize {
        self.block.len()
    }

    /// How many bytes of memory it takes.
    pub fn memory(&self) -> usize {
        let place = size_of::<(Range<usize>, Range<usize>)>();
        let places = self.places.capacity().saturating_mul(place);
        self.block.capacity().saturating_add(places)
    }

    /// The first value of `name`.
    // Inlined, the comparison with each name is unrolled where it is asked for: 6 KB of the artifact.
    #[inline(never)]
    pub fn first(&self, name: &str) -> Option<&[u8]> {
        self.all(name).next()
    }

    /// The first value of `name` if it is UTF-8.
    pub fn first_str(&self, name: &str) -> Option<&str> {
        self.first(name)
            .and_then(|value| std::str::from_utf8(value).ok())
    }

    /// Every value of `name`, in order.
    pub fn all<'a, 'n>(&'a self, name: &'n str) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        let same = |place: &Range<usize>| {
            place.len() == name.len() && self.slice(place).eq_ignore_ascii_case(name.as_bytes())
        };
        self.places
            .iter()
            .filter(move |(name, _)| same(name))
            .map(|(_, value)| self.slice(value))
    }

    /// Every pair, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.places
            .iter()
            .map(|(name, value)| (self.slice(name), self.slice(value)))
    }

    fn append(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.block.len();
        self.block.extend_from_slice(bytes);
        start..self.block.len()
    }

    fn slice(&self, place: &Range<usize>) -> &[u8] {
        self.block.get(place.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(pairs: &[(&str, &str)]) -> Vec<u8> {
        let mut block = (pairs.len() as u32).to_le_bytes().to_vec();
        for (name, value) in pairs {
            block.extend((name.len() as u32).to_le_bytes());
            block.extend((value.len() as u32).to_le_bytes());
        }
        for (name, value) in pairs {
            block.extend([name.as_bytes(), b"\0", value.as_bytes(), b"\0"].concat());
        }
        block
    }

    #[test]
    fn a_block_gives_the_pairs_it_was_made_of() {
        let headers =
            Headers::from_block(block(&[(":path", "/v1"), ("X-A", "1"), ("x-a", "")])).unwrap();
        assert_eq!(headers.first(":path"), Some(&b"/v1"[..]));
        assert_eq!(headers.all("x-a").collect::<Vec<_>>(), [&b"1"[..], b""]);
        assert_eq!(headers.first("x-b"), None);
    }

    #[test]
    fn a_block_cut_short_or_lying_about_its_sizes_is_refused() {
        let whole = block(&[(":path", "/v1"), ("x-a", "1")]);
        for len in 0..whole.len() - 1 {
            assert!(
                Headers::from_block(whole[..len].to_vec()).is_none(),
                "{len} bytes"
            );
        }
        let mut lying = whole;
        lying[0..4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert!(Headers::from_block(lying).is_none());
    }
}
