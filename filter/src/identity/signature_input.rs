//! Reading `Signature-Input` and `Signature`: one member each, of the same label, as RFC 8941 serializes it.

use crate::values::base64;
use crate::values::headers::Headers;

/// What a signature says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input<'a> {
    /// All of it, as it was signed.
    pub params: &'a str,
    /// What is covered, in its order, nothing twice.
    pub components: Vec<&'a str>,
    /// When it was made, in seconds since 1970.
    pub created: u64,
    /// The last second in which it holds.
    pub expires: Option<u64>,
    /// What no other signature of its key has.
    pub nonce: &'a str,
    /// Its key's name.
    pub keyid: &'a str,
}

/// What a request's only signature says, and its bytes.
pub fn read(headers: &Headers) -> Option<(Input<'_>, Vec<u8>)> {
    let (label, params) = only(headers, "signature-input")?.split_once('=')?;
    let (same, signature) = only(headers, "signature")?.split_once('=')?;
    if label != same {
        return None;
    }
    Some((input(params)?, bytes(signature)?))
}

/// The value of a header that is there once.
pub fn only<'a>(headers: &'a Headers, name: &str) -> Option<&'a str> {
    let mut values = headers.all(name);
    let (value, other) = (values.next()?, values.next());
    let value = std::str::from_utf8(value).ok()?;
    other.is_none().then(|| value.trim_ascii())
}

/// The bytes of a text `:base64:`.
pub fn bytes(text: &str) -> Option<Vec<u8>> {
    let text = text.strip_prefix(':')?.strip_suffix(':')?;
    base64::decode(text.as_bytes()).ok()
}

fn input(params: &str) -> Option<Input<'_>> {
    let (components, mut rest) = components(params)?;
    let (mut created, mut expires, mut nonce, mut keyid) = (None, None, None, None);
    let mut known: Vec<&str> = Vec::new();
    while !rest.is_empty() {
        let (name, value) = rest.strip_prefix(';')?.split_once('=')?;
        if known.contains(&name) {
            return None;
        }
        known.push(name);
        rest = match name {
            "created" => integer(value, &mut created)?,
            "expires" => integer(value, &mut expires)?,
            "nonce" => string(value, &mut nonce)?,
            "keyid" => string(value, &mut keyid)?,
            "tag" => string(value, &mut None)?,
            "alg" => value.strip_prefix("\"hmac-sha256\"")?,
            _ => return None,
        };
    }
    Some(Input {
        params,
        components,
        created: created?,
        expires,
        nonce: nonce.filter(|nonce| !nonce.is_empty())?,
        keyid: keyid?,
    })
}

/// What stands in the parentheses, and what behind them.
fn components(text: &str) -> Option<(Vec<&str>, &str)> {
    let mut components: Vec<&str> = Vec::new();
    let mut rest = text.strip_prefix('(')?;
    loop {
        if let Some(behind) = rest.strip_prefix(')') {
            return Some((components, behind));
        }
        if !components.is_empty() {
            rest = rest.strip_prefix(' ')?;
        }
        let mut component = None;
        rest = string(rest, &mut component)?;
        let name = component?;
        if components.contains(&name) || name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return None;
        }
        components.push(name);
    }
}

/// Takes a text in quotes; what stands behind it.
fn string<'a>(text: &'a str, into: &mut Option<&'a str>) -> Option<&'a str> {
    let (string, behind) = text.strip_prefix('"')?.split_once('"')?;
    let fine = |byte: u8| matches!(byte, b' '..=b'~') && byte != b'\\';
    *into = Some(string).filter(|string| string.bytes().all(fine));
    into.map(|_| behind)
}

/// Takes a number; what stands behind it.
fn integer<'a>(text: &'a str, into: &mut Option<u64>) -> Option<&'a str> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, behind) = text.split_at_checked(digits)?;
    let canonical = number == "0" || !number.starts_with('0');
    *into = number.parse().ok().filter(|_| canonical);
    into.map(|_| behind)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "(\"@method\" \"x-a\");created=5;expires=9;nonce=\"n 1\";keyid=\"k\";alg=\"hmac-sha256\";tag=\"t\"";

    #[test]
    fn an_input_is_read_as_it_is_written() {
        let input = input(GOOD).unwrap();
        assert_eq!(input.components, ["@method", "x-a"]);
        assert_eq!((input.created, input.expires), (5, Some(9)));
        assert_eq!((input.nonce, input.keyid, input.params), ("n 1", "k", GOOD));
    }

    #[test]
    fn every_other_spelling_is_refused() {
        for (from, to) in [
            ("(\"", "( \""),
            ("\" \"", "\"  \""),
            ("\" \"", "\""),
            ("x-a", "X-A"),
            ("x-a", "@method"),
            ("x-a\"", "x-a\";sf"),
            (");", ") ;"),
            (";created", "; created"),
            ("created=5", "created=05"),
            ("created=5", "created=-5"),
            ("created=5", "created=5.0"),
            ("created=5", "created=99999999999999999999"),
            ("created=5", "created=5;created=6"),
            (";created=5", ""),
            (";nonce=\"n 1\"", ""),
            ("n 1", ""),
            ("n 1", "n\\\\1"),
            ("n 1", "n\u{e9}"),
            (";keyid=\"k\"", ""),
            ("keyid=\"k\"", "keyid=k"),
            ("hmac-sha256", "hmac-sha512"),
            ("tag=", "other="),
            ("tag=\"t\"", "tag=\"t\", sig2=()"),
        ] {
            let other = GOOD.replacen(from, to, 1);
            assert_ne!(other, GOOD, "{from}");
            assert_eq!(input(&other), None, "{other}");
        }
        assert_eq!(input(""), None);
    }

    #[test]
    fn there_is_one_signature_and_its_label_is_the_inputs() {
        let read = |input: &str, signature: &str| {
            let headers = [("signature-input", input), ("signature", signature)];
            read(&Headers::from_pairs(headers)).map(|(_, bytes)| bytes)
        };
        let input = format!("sig1={GOOD}");
        assert_eq!(read(&input, "sig1=:AQI=:"), Some(vec![1, 2]));
        for signature in [
            "sig2=:AQI=:",
            "sig1=AQI=",
            "sig1=:AQI=:, sig2=:AQI=:",
            "",
            "sig1=:*:",
        ] {
            assert_eq!(read(&input, signature), None, "{signature}");
        }
        let twice = [("signature", "a"), ("signature", "a")];
        assert_eq!(only(&Headers::from_pairs(twice), "signature"), None);
    }
}
