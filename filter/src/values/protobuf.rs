//! As much of protobuf's wire format as load reports and rate limit services need: varints, doubles, bytes.
//!
//! A field of an unknown number or another type is passed over, which is how protobuf lets messages grow;
//! groups, which none of them ever had, are refused.

/// A field's value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'a> {
    /// Wire type 0.
    Varint(u64),
    /// Wire type 1, read as a double.
    Double(f64),
    /// Wire type 2: a string, bytes or a message.
    Bytes(&'a [u8]),
    /// Wire type 5.
    Fixed32,
}

/// The fields of one message, in order.
pub struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Those of `message`.
    pub fn new(message: &'a [u8]) -> Self {
        Fields { rest: message }
    }

    /// How many bytes are still to be read.
    pub fn left(&self) -> usize {
        self.rest.len()
    }

    fn field(&mut self) -> Option<(u64, Value<'a>)> {
        let tag = u32::try_from(self.varint()?).ok()?;
        let value = match tag & 0b111 {
            0 => Value::Varint(self.varint()?),
            1 => {
                let (bytes, rest) = self.rest.split_first_chunk()?;
                self.rest = rest;
                Value::Double(f64::from_le_bytes(*bytes))
            }
            2 => {
                let length = usize::try_from(self.varint()?).ok()?;
                Value::Bytes(self.take(length)?)
            }
            5 => {
                self.take(4)?;
                Value::Fixed32
            }
            _ => return None,
        };
        let number = u64::from(tag >> 3);
        (number != 0).then_some((number, value))
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if *byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (bytes, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(bytes)
    }
}

/// Each field's number and value; an error where the bytes are no message.
impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Value<'a>), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        (!self.rest.is_empty()).then(|| self.field().ok_or(Malformed))
    }
}

/// The bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// Adds the field `number` with an integer to `message`.
pub fn put_varint(message: &mut Vec<u8>, number: u32, value: u64) {
    varint(message, u64::from(number) << 3);
    varint(message, value);
}

/// Adds the field `number` with a text, bytes or a message to `message`.
pub fn put_bytes(message: &mut Vec<u8>, number: u32, bytes: &[u8]) {
    varint(message, u64::from(number) << 3 | 2);
    varint(message, bytes.len() as u64);
    message.extend_from_slice(bytes);
}

fn varint(message: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        message.push(value as u8 | 0x80);
        value >>= 7;
    }
    message.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn all(message: &[u8]) -> Result<Vec<(u64, Value<'_>)>, Malformed> {
        Fields::new(message).collect()
    }

    #[test]
    fn the_documentations_examples_are_read() {
        // https://protobuf.dev/programming-guides/encoding/
        assert_eq!(all(&[0x08, 0x96, 0x01]), Ok(vec![(1, Value::Varint(150))]));
        let testing = b"\x12\x07testing";
        assert_eq!(all(testing), Ok(vec![(2, Value::Bytes(b"testing"))]));
        let double = [&[0x09][..], &0.5f64.to_le_bytes()].concat();
        assert_eq!(all(&double), Ok(vec![(1, Value::Double(0.5))]));
        assert_eq!(all(&[0x0d, 1, 2, 3, 4]), Ok(vec![(1, Value::Fixed32)]));
        assert_eq!(all(&[]), Ok(vec![]));
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut message = Vec::new();
        put_varint(&mut message, 1, 150);
        put_bytes(&mut message, 2, b"testing");
        put_varint(&mut message, 16, u64::MAX);
        let fields = vec![
            (1, Value::Varint(150)),
            (2, Value::Bytes(b"testing")),
            (16, Value::Varint(u64::MAX)),
        ];
        assert_eq!(all(&message), Ok(fields));
        assert!(message.starts_with(&[0x08, 0x96, 0x01, 0x12, 0x07, b't']));
    }

    #[test]
    fn what_is_cut_short_or_no_message_is_refused() {
        let cases: [&[u8]; 9] = [
            &[0x08],
            &[0x08, 0x96],
            &[0x09, 0, 0, 0, 0, 0, 0, 0],
            &[0x12, 0x07, b't'],
            &[
                0x12, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01,
            ],
            &[0x0b, 0x0c],
            &[0x00, 0x01],
            &[0x0d, 1, 2, 3],
            &[
                0x08, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01,
            ],
        ];
        for message in cases {
            assert_eq!(all(message), Err(Malformed), "{message:x?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_come_to_an_end(message in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(fields) = all(&message) {
                prop_assert!(fields.len() <= message.len());
            }
        }
    }
}
