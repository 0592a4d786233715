//! Base64 as RFC 4648 §4 has it: in binary load reports, in digests and signatures.
//!
//! Padding may be there or not: gRPC's implementations differ, and Envoy takes both.

/// The bytes that `text` stands for.
///
/// # Errors
/// The place in `text` where it stands for none.
pub fn decode(text: &[u8]) -> Result<Vec<u8>, usize> {
    let end = text.len().saturating_sub(padding(text));
    let digits = text.get(..end).unwrap_or_default();
    let mut bytes = Vec::with_capacity(end);
    for (at, group) in (0..).step_by(4).zip(digits.chunks(4)) {
        let mut word = 0u32;
        for (place, digit) in (at..).zip(group) {
            word = (word << 6) | u32::from(sextet(*digit).ok_or(place)?);
        }
        // A group of n digits holds n - 1 bytes, and what is left over must be zero: one text, one meaning.
        let (word, surplus, whole) = match group.len() {
            4 => (word, 0, 3),
            3 => (word << 6, word & 0b11, 2),
            2 => (word << 12, word & 0b1111, 1),
            _ => return Err(at),
        };
        if surplus != 0 {
            return Err(at);
        }
        let [_, triple @ ..] = word.to_be_bytes();
        bytes.extend(triple.into_iter().take(whole));
    }
    Ok(bytes)
}

/// How many signs of padding close a text that is whole groups of four with them.
fn padding(text: &[u8]) -> usize {
    match text {
        _ if !text.len().is_multiple_of(4) => 0,
        [.., b'=', b'='] => 2,
        [.., b'='] => 1,
        _ => 0,
    }
}

fn sextet(digit: u8) -> Option<u8> {
    Some(match digit {
        b'A'..=b'Z' => digit.wrapping_sub(b'A'),
        b'a'..=b'z' => digit.wrapping_sub(b'a').wrapping_add(26),
        b'0'..=b'9' => digit.wrapping_sub(b'0').wrapping_add(52),
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn the_examples_of_rfc_4648_hold_with_and_without_padding() {
        let cases = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ];
        for (plain, encoded) in cases {
            assert_eq!(decode(encoded.as_bytes()).unwrap(), plain.as_bytes());
            let bare = encoded.trim_end_matches('=');
            assert_eq!(decode(bare.as_bytes()).unwrap(), plain.as_bytes());
        }
        assert_eq!(decode(b"+/+/").unwrap(), [0xfb, 0xff, 0xbf]);
    }

    #[test]
    fn what_is_not_base64_is_refused_where_it_stops_to_be() {
        let cases = [
            ("Zg=", 2),
            ("Zg===", 2),
            ("=", 0),
            ("====", 0),
            ("Zm9vY", 4),
            ("Zm9-", 3),
            ("Zm 9v", 2),
            ("Zh==", 0),
            ("Zm9=", 0),
            ("Zm9v\n", 4),
        ];
        for (text, place) in cases {
            assert_eq!(decode(text.as_bytes()), Err(place), "{text:?}");
        }
    }
}
