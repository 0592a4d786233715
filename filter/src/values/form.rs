//! Texts as a form has them (`application/x-www-form-urlencoded`).

/// `text` with everything escaped but letters, digits and `-._`.
pub fn escape(text: &str) -> String {
    let digit = |value: u8| char::from_digit(value.into(), 16).unwrap_or_default();
    let mut escaped = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' => {
                escaped.push(byte.into())
            }
            _ => escaped
                .extend(['%', digit(byte >> 4), digit(byte & 15)].map(|c| c.to_ascii_uppercase())),
        }
    }
    escaped
}

/// What `escaped` stands for: `+` is a space, and `%XX` a byte. `None` where an escape is none, or what comes of them no
/// UTF-8.
pub fn unescape(escaped: &[u8]) -> Option<String> {
    let mut bytes = Vec::with_capacity(escaped.len());
    let mut rest = escaped.iter();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => byte_of([*rest.next()?, *rest.next()?])?,
            byte => *byte,
        });
    }
    String::from_utf8(bytes).ok()
}

/// The byte that an escape's two digits are.
pub fn byte_of(digits: [u8; 2]) -> Option<u8> {
    let [high, low] = digits.map(|digit| char::from(digit).to_digit(16));
    u8::try_from((high? << 4) | low?).ok()
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_a_form_would_read_otherwise_is_escaped() {
        assert_eq!(
            super::escape("aZ9-._~+/=: é"),
            "aZ9-._%7E%2B%2F%3D%3A%20%C3%A9"
        );
    }

    #[test]
    fn what_was_escaped_is_read_again_and_nothing_is_guessed() {
        let text = "aZ9-._~+/=: é%";
        let read = |escaped: &str| super::unescape(escaped.as_bytes());
        assert_eq!(read(&super::escape(text)).as_deref(), Some(text));
        assert_eq!(read("a+b%2b%c3%A9").as_deref(), Some("a b+é"));
        for none in ["%", "a%2", "%zz", "%+1", "%ff", "%c1%a5"] {
            assert_eq!(read(none), None, "{none}");
        }
    }
}
