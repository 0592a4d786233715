//! The checks that every part of a configuration shares.

use std::time::Duration;

use super::{At, Error, Result, wrong};
use crate::config::{ModelPattern, base_name};

const NAME_BYTES: usize = 64;

/// Parses each of `items`, whose number must lie in `count`.
pub(super) fn each<W, T>(
    count: std::ops::RangeInclusive<usize>,
    items: &[W],
    parse: &dyn Fn(&W) -> Result<T>,
) -> Result<Vec<T>> {
    if !count.contains(&items.len()) {
        return wrong(format!(
            "has {} entries; give {} to {}",
            items.len(),
            count.start(),
            count.end()
        ));
    }
    let mut parsed = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        parsed.push(parse(item).at_item(index)?);
    }
    Ok(parsed)
}

pub(super) fn unique<'a>(field: &str, values: impl Iterator<Item = &'a str>) -> Result<()> {
    let mut seen: Vec<&str> = Vec::new();
    for (index, value) in values.enumerate() {
        match seen.binary_search(&value) {
            Err(place) => seen.insert(place, value),
            Ok(_) => {
                return wrong(format!(
                    "{value:?} is taken by an earlier entry; choose another"
                ))
                .at(field)
                .at_item(index);
            }
        }
    }
    Ok(())
}

pub(super) fn within<T: PartialOrd + std::fmt::Display>(
    value: Option<T>,
    range: std::ops::RangeInclusive<T>,
    default: T,
) -> Result<T> {
    match value {
        None => Ok(default),
        Some(value) if range.contains(&value) => Ok(value),
        Some(value) => wrong(format!(
            "{value} is out of range; give {} to {}",
            range.start(),
            range.end()
        )),
    }
}

/// A duration as it is written, like `10s`, `250ms` or `5m`; `default` where nothing is.
pub(super) fn duration(
    text: Option<&str>,
    range: std::ops::RangeInclusive<Duration>,
    default: Duration,
) -> Result<Duration> {
    let Some(text) = text else {
        return Ok(default);
    };
    match read_duration(text) {
        Some(duration) if range.contains(&duration) => Ok(duration),
        Some(_) => wrong(format!(
            "{text:?} is out of range; give {} to {}",
            written(*range.start()),
            written(*range.end())
        )),
        None => wrong(format!(
            "{text:?} is no duration; write a whole number and a unit, like \"250ms\", \"10s\", \"5m\" or \"1h\""
        )),
    }
}

fn read_duration(text: &str) -> Option<Duration> {
    let unit = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(unit)?;
    let number: u64 = number.parse().ok()?;
    let seconds = |each: u64| number.checked_mul(each).map(Duration::from_secs);
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => seconds(1),
        "m" => seconds(60),
        "h" => seconds(3600),
        _ => None,
    }
}

/// A duration as one writes it.
fn written(duration: Duration) -> String {
    let (seconds, millis) = (duration.as_secs(), duration.as_millis());
    match (millis % 1000, seconds % 60, seconds % 3600) {
        _ if millis == 0 => "0s".to_owned(),
        (0, 0, 0) => format!("{}h", seconds / 3600),
        (0, 0, _) => format!("{}m", seconds / 60),
        (0, ..) => format!("{seconds}s"),
        _ => format!("{millis}ms"),
    }
}

/// A path to ask for, as a request line has it.
pub(super) fn url_path(text: &str) -> Result<String> {
    if text.starts_with('/') && text.bytes().all(|byte| matches!(byte, b'!'..=b'~')) {
        return Ok(text.to_owned());
    }
    wrong(format!(
        "{text:?} is no path; write one that starts with `/` and has no spaces"
    ))
}

/// The name of one of the proxy's clusters, which a header can hold.
pub(super) fn cluster_name(text: &str) -> Result<String> {
    header_text(text).map_err(|_| {
        Error::new(format!(
            "{text:?} cannot name a cluster; write its name as the proxy has it, or leave it out"
        ))
    })
}

/// A text that can stand in a header as it is.
pub(super) fn header_text(text: &str) -> Result<String> {
    if !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'!'..=b'~')) {
        return Ok(text.to_owned());
    }
    wrong(format!(
        "{text:?} cannot stand in a header; write it without spaces, in ASCII"
    ))
}

pub(super) fn name(name: &str) -> Result<String> {
    let fine = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
    if name.is_empty() || name.len() > NAME_BYTES || !name.bytes().all(fine) {
        return wrong(format!(
            "{name:?} is no name; give 1 to {NAME_BYTES} of a-z, 0-9, `_` and `-`"
        ));
    }
    Ok(name.to_owned())
}

pub(super) fn models(models: &[String]) -> Result<Vec<ModelPattern>> {
    each(0..=usize::MAX, models, &|model| model_pattern(model))
}

fn model_pattern(model: &str) -> Result<ModelPattern> {
    match model {
        "" => wrong("is empty; give a model's name, `name@version`, or `*`"),
        "*" => Ok(ModelPattern::Any),
        _ if base_name(model) == model => Ok(ModelPattern::Name(model.to_owned())),
        _ => Ok(ModelPattern::Version(model.to_owned())),
    }
}

/// `name` in lower case, if it is one: RFC 9110's token, or a pseudo-header.
pub(super) fn header_name(name: &str) -> Result<String> {
    let bare = name.strip_prefix(':').unwrap_or(name);
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if bare.is_empty() || !bare.bytes().all(fine) {
        return wrong(format!("{name:?} is no header name"));
    }
    Ok(name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_told_as_they_would_be_written() {
        for text in ["0s", "10ms", "1500ms", "1s", "90s", "5m", "24h"] {
            let duration = read_duration(text).expect(text);
            assert_eq!(written(duration), text);
        }
    }

    #[test]
    fn durations_are_whole_numbers_with_a_unit() {
        for (text, millis) in [
            ("250ms", Some(250)),
            ("10s", Some(10_000)),
            ("5m", Some(300_000)),
            ("1h", Some(3_600_000)),
            ("10", None),
            ("s", None),
            ("", None),
            ("1.5s", None),
            ("-1s", None),
            ("1 s", None),
            ("1d", None),
            ("99999999999999999999s", None),
            ("9999999999999999999h", None),
        ] {
            assert_eq!(
                read_duration(text),
                millis.map(Duration::from_millis),
                "{text}"
            );
        }
    }
}
