//! Sixteen bytes at a time: the one place where the instruction set shows.
//!
//! On wasm32 with simd128 an operation here is one instruction of the virtual machine; everywhere
//! else it is a loop over an array that the compiler vectorises (or, without optimisation, does
//! not: the meaning is the same). What is built on them (`request::json`, `request::text`) is
//! written once and tested against a byte-by-byte reading.

/// How many bytes one step sees.
pub const WIDTH: usize = 16;

/// Sixteen bytes.
#[derive(Clone, Copy)]
pub struct Lanes(imp::Raw);

impl Lanes {
    /// The first sixteen of `bytes`; shorter ones are followed by NULs.
    #[inline(always)]
    pub fn load(bytes: &[u8]) -> Self {
        match bytes.first_chunk::<WIDTH>() {
            Some(chunk) => Self(imp::load(chunk)),
            None => Self(imp::load(&short(bytes).to_le_bytes())),
        }
    }

    /// Sixteen bytes, without a look at the length.
    #[inline(always)]
    pub fn of(chunk: &[u8; WIDTH]) -> Self {
        Self(imp::load(chunk))
    }

    /// `byte` sixteen times.
    #[inline(always)]
    pub fn splat(byte: u8) -> Self {
        Self(imp::splat(byte))
    }

    /// Which lanes equal `byte`: all ones there, zero elsewhere.
    #[inline(always)]
    pub fn is(self, byte: u8) -> Self {
        Self(imp::eq(self.0, imp::splat(byte)))
    }

    /// Which lanes are above `byte`, both read as signed: what is not ASCII is below all ASCII.
    #[inline(always)]
    pub fn above(self, byte: i8) -> Self {
        Self(imp::gt(self.0, imp::splat(byte as u8)))
    }

    /// Which lanes are below `byte`, both read as signed: what is not ASCII is below all ASCII.
    #[inline(always)]
    pub fn below(self, byte: i8) -> Self {
        Self(imp::gt(imp::splat(byte as u8), self.0))
    }

    /// Bitwise exclusive or with `byte` in every lane.
    #[inline(always)]
    pub fn xor(self, byte: u8) -> Self {
        Self(imp::xor(self.0, imp::splat(byte)))
    }

    /// Bitwise or.
    #[inline(always)]
    pub fn or(self, other: Self) -> Self {
        Self(imp::or(self.0, other.0))
    }

    /// Bitwise: what is in `self` and not in `other`.
    #[inline(always)]
    pub fn and_not(self, other: Self) -> Self {
        Self(imp::and_not(self.0, other.0))
    }

    /// Lane by lane difference, wrapping. Subtracting a mask counts its lanes.
    #[inline(always)]
    pub fn minus(self, other: Self) -> Self {
        Self(imp::sub(self.0, other.0))
    }

    /// Whether any bit is set.
    #[inline(always)]
    pub fn any(self) -> bool {
        imp::any(self.0)
    }

    /// The topmost bit of each lane, the first lane's lowest.
    #[inline(always)]
    pub fn bits(self) -> u32 {
        imp::bits(self.0)
    }

    /// The sum of the lanes, read as unsigned.
    #[inline(always)]
    pub fn sum(self) -> u32 {
        imp::sum(self.0)
    }
}

/// How many bytes a [`Block`] has.
pub const BLOCK: usize = 4 * WIDTH;

/// Sixty-four bytes: as many as a word has bits.
#[derive(Clone, Copy)]
pub struct Block([Lanes; 4]);

impl Block {
    /// The first sixty-four of `bytes`; shorter ones are followed by NULs.
    #[inline(always)]
    pub fn load(bytes: &[u8]) -> Self {
        match bytes.first_chunk::<BLOCK>() {
            Some(whole) => Self::parts(whole),
            None => Self::padded(bytes),
        }
    }

    #[inline(never)]
    fn padded(bytes: &[u8]) -> Self {
        Self::parts(bytes)
    }

    #[inline(always)]
    fn parts(bytes: &[u8]) -> Self {
        let part = |at: usize| Lanes::load(bytes.get(at..).unwrap_or_default());
        Self([part(0), part(WIDTH), part(2 * WIDTH), part(3 * WIDTH)])
    }

    /// Whether `test` finds anything.
    #[inline(always)]
    pub fn any(self, test: impl Fn(Lanes) -> Lanes) -> bool {
        let [a, b, c, d] = self.0.map(test);
        a.or(b).or(c.or(d)).any()
    }

    /// The topmost bit of each byte of what `test` finds, the first byte's lowest.
    #[inline(always)]
    pub fn bits(self, test: impl Fn(Lanes) -> Lanes) -> u64 {
        let [a, b, c, d] = self.0.map(|x| u64::from(test(x).bits()));
        a | (b << 16) | (c << 32) | (d << 48)
    }
}

/// Fewer than sixteen bytes, the first one lowest, by two reads that overlap: strings end in such a
/// rest, and copying it byte by byte costs more than the strings themselves.
#[inline(always)]
fn short(bytes: &[u8]) -> u128 {
    if let (Some(head), Some(tail)) = (bytes.first_chunk::<8>(), bytes.last_chunk::<8>()) {
        let up = bytes.len().wrapping_sub(8).wrapping_mul(8) as u32;
        let tail = u128::from(u64::from_le_bytes(*tail)).wrapping_shl(up);
        u128::from(u64::from_le_bytes(*head)) | tail
    } else if let (Some(head), Some(tail)) = (bytes.first_chunk::<4>(), bytes.last_chunk::<4>()) {
        let up = bytes.len().wrapping_sub(4).wrapping_mul(8) as u32;
        let tail = u64::from(u32::from_le_bytes(*tail)).wrapping_shl(up);
        u128::from(u64::from(u32::from_le_bytes(*head)) | tail)
    } else {
        bytes
            .iter()
            .rev()
            .fold(0, |bits, byte| (bits << 8) | u128::from(*byte))
    }
}

#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
mod imp {
    use core::arch::wasm32::*;

    pub type Raw = v128;

    #[inline(always)]
    pub fn load(chunk: &[u8; 16]) -> Raw {
        // SAFETY: sixteen readable bytes, and the instruction asks for no alignment.
        unsafe { v128_load(chunk.as_ptr().cast()) }
    }
    #[inline(always)]
    pub fn splat(byte: u8) -> Raw {
        u8x16_splat(byte)
    }
    #[inline(always)]
    pub fn eq(a: Raw, b: Raw) -> Raw {
        i8x16_eq(a, b)
    }
    #[inline(always)]
    pub fn gt(a: Raw, b: Raw) -> Raw {
        i8x16_gt(a, b)
    }
    #[inline(always)]
    pub fn xor(a: Raw, b: Raw) -> Raw {
        v128_xor(a, b)
    }
    #[inline(always)]
    pub fn or(a: Raw, b: Raw) -> Raw {
        v128_or(a, b)
    }
    #[inline(always)]
    pub fn and_not(a: Raw, b: Raw) -> Raw {
        v128_andnot(a, b)
    }
    #[inline(always)]
    pub fn sub(a: Raw, b: Raw) -> Raw {
        i8x16_sub(a, b)
    }
    #[inline(always)]
    pub fn any(a: Raw) -> bool {
        v128_any_true(a)
    }
    #[inline(always)]
    pub fn bits(a: Raw) -> u32 {
        u32::from(i8x16_bitmask(a))
    }
    #[inline(always)]
    pub fn sum(a: Raw) -> u32 {
        let pairs = u32x4_extadd_pairwise_u16x8(u16x8_extadd_pairwise_u8x16(a));
        u32x4_extract_lane::<0>(pairs)
            .wrapping_add(u32x4_extract_lane::<1>(pairs))
            .wrapping_add(u32x4_extract_lane::<2>(pairs))
            .wrapping_add(u32x4_extract_lane::<3>(pairs))
    }
}

#[cfg(not(all(target_arch = "wasm32", target_feature = "simd128")))]
mod imp {
    pub type Raw = [u8; 16];

    #[inline(always)]
    fn zip(a: Raw, b: Raw, f: impl Fn(u8, u8) -> u8) -> Raw {
        let mut out = a;
        for (to, from) in out.iter_mut().zip(b) {
            *to = f(*to, from);
        }
        out
    }
    #[inline(always)]
    pub fn load(chunk: &[u8; 16]) -> Raw {
        *chunk
    }
    #[inline(always)]
    pub fn splat(byte: u8) -> Raw {
        [byte; 16]
    }
    #[inline(always)]
    pub fn eq(a: Raw, b: Raw) -> Raw {
        zip(a, b, |a, b| if a == b { 0xff } else { 0 })
    }
    #[inline(always)]
    pub fn gt(a: Raw, b: Raw) -> Raw {
        zip(a, b, |a, b| if (a as i8) > (b as i8) { 0xff } else { 0 })
    }
    #[inline(always)]
    pub fn xor(a: Raw, b: Raw) -> Raw {
        zip(a, b, |a, b| a ^ b)
    }
    #[inline(always)]
    pub fn or(a: Raw, b: Raw) -> Raw {
        zip(a, b, |a, b| a | b)
    }
    #[inline(always)]
    pub fn and_not(a: Raw, b: Raw) -> Raw {
        zip(a, b, |a, b| a & !b)
    }
    #[inline(always)]
    pub fn sub(a: Raw, b: Raw) -> Raw {
        zip(a, b, u8::wrapping_sub)
    }
    #[inline(always)]
    pub fn any(a: Raw) -> bool {
        u128::from_ne_bytes(a) != 0
    }
    #[inline(always)]
    pub fn bits(a: Raw) -> u32 {
        a.into_iter()
            .rev()
            .fold(0, |bits, lane| (bits << 1) | u32::from(lane >> 7))
    }
    #[inline(always)]
    pub fn sum(a: Raw) -> u32 {
        a.into_iter()
            .fold(0, |sum, lane| sum.wrapping_add(u32::from(lane)))
    }
}
