//! MurmurHash3 x86_32 (Austin Appleby, 2011, public domain): where keys and endpoints lie on a hash
//! ring.
//!
//! Written out, not taken from the crate `murmur3`: that one reads from `std::io::Read`, so hashing eight
//! bytes brings `io::Result`, a loop over partial reads and a panic with its formatting. As a wasm
//! module of nothing else that is 27 KB, this file 0.4 KB; the whole artifact may have 400.
//!
//! Not a defence against chosen keys: whoever may choose the key may pile work onto one place of a
//! ring, which is why the ring bounds an endpoint's load.

/// The 32-bit hash of `bytes` under `seed`.
pub fn murmur3_32(bytes: &[u8], seed: u32) -> u32 {
    let (blocks, tail) = bytes.as_chunks::<4>();
    let mut hash = seed;
    for block in blocks {
        hash ^= scramble(u32::from_le_bytes(*block));
        hash = hash
            .rotate_left(13)
            .wrapping_mul(5)
            .wrapping_add(0xe654_6b64);
    }
    let rest = tail
        .iter()
        .rev()
        .fold(0, |rest, &byte| (rest << 8) | u32::from(byte));
    hash ^= scramble(rest);
    // The reference takes the length modulo 2³², as this cast does.
    avalanche(hash ^ bytes.len() as u32)
}

fn scramble(block: u32) -> u32 {
    block
        .wrapping_mul(0xcc9e_2d51)
        .rotate_left(15)
        .wrapping_mul(0x1b87_3593)
}

fn avalanche(mut hash: u32) -> u32 {
    hash ^= hash >> 16;
    hash = hash.wrapping_mul(0x85eb_ca6b);
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(0xc2b2_ae35);
    hash ^ (hash >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors that implementers exchange, made with the reference `MurmurHash3.cpp`; they are
    /// those of Wikipedia's article, and each length of tail is among them.
    #[test]
    fn the_published_vectors_come_out() {
        let vectors: [(&[u8], u32, u32); 17] = [
            (b"", 0, 0),
            (b"", 1, 0x514e_28b7),
            (b"", 0xffff_ffff, 0x81f1_6f39),
            (&[0xff; 4], 0, 0x7629_3b50),
            (&[0x21, 0x43, 0x65, 0x87], 0, 0xf55b_516b),
            (&[0x21, 0x43, 0x65, 0x87], 0x5082_edee, 0x2362_f9de),
            (&[0x21, 0x43, 0x65], 0, 0x7e4a_8634),
            (&[0x21, 0x43], 0, 0xa0f7_b07a),
            (&[0x21], 0, 0x7266_1cf4),
            (&[0; 4], 0, 0x2362_f9de),
            (&[0; 3], 0, 0x85f0_b427),
            (&[0; 2], 0, 0x30f4_c306),
            (&[0; 1], 0, 0x514e_28b7),
            (b"test", 0x9747_b28c, 0x704b_81dc),
            (b"aaaa", 0x9747_b28c, 0x5a97_808a),
            (b"Hello, world!", 0x9747_b28c, 0x2488_4cba),
            (
                b"The quick brown fox jumps over the lazy dog",
                0x9747_b28c,
                0x2fa8_26cd,
            ),
        ];
        for (bytes, seed, hash) in vectors {
            assert_eq!(murmur3_32(bytes, seed), hash, "{bytes:?} under {seed:#x}");
        }
    }
}
