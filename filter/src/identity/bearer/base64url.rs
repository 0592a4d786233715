//! Base64 with the alphabet for URLs and without padding (RFC 4648 §5, as RFC 7515 §2 wants it).

use crate::values::base64;

/// The bytes that `text` stands for: one text for each, so neither padding nor bits to spare.
pub(super) fn decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut plain = Vec::with_capacity(text.len());
    for byte in text {
        plain.push(match byte {
            b'-' => b'+',
            b'_' => b'/',
            b'+' | b'/' | b'=' => return None,
            other => *other,
        });
    }
    base64::decode(&plain).ok()
}

#[cfg(test)]
mod tests {
    use super::decode;

    #[test]
    fn one_text_stands_for_each_bytes() {
        assert_eq!(decode(b"-_-_"), Some(vec![0xfb, 0xff, 0xbf]));
        // RFC 7515, appendix C.
        assert_eq!(decode(b"A-z_4ME"), Some(vec![3, 236, 255, 224, 193]));
        assert_eq!(decode(b""), Some(vec![]));
        for text in [
            "+/+/", "Zg==", "Zh", "Zm9", "Z", "Zm 9", "Zm9v\n", "A-z_4MF",
        ] {
            assert_eq!(decode(text.as_bytes()), None, "{text}");
        }
    }
}
