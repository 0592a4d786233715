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

#[cfg(test)]
mod tests {
    #[test]
    fn what_a_form_would_read_otherwise_is_escaped() {
        assert_eq!(
            super::escape("aZ9-._~+/=: é"),
            "aZ9-._%7E%2B%2F%3D%3A%20%C3%A9"
        );
    }
}
