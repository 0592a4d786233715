//! The checks that every part of a configuration shares.

use super::{Result, wrong};
use crate::config::{ModelPattern, base_name};

const NAME_BYTES: usize = 64;

/// Parses each of `items`, whose number must lie in `count`.
pub(super) fn each<W, T>(
    path: &str,
    count: std::ops::RangeInclusive<usize>,
    items: &[W],
    parse: impl Fn(&str, &W) -> Result<T>,
) -> Result<Vec<T>> {
    if !count.contains(&items.len()) {
        return wrong(
            path,
            format!(
                "has {} entries; give {} to {}",
                items.len(),
                count.start(),
                count.end()
            ),
        );
    }
    items
        .iter()
        .enumerate()
        .map(|(index, item)| parse(&format!("{path}[{index}]"), item))
        .collect()
}

pub(super) fn unique<'a>(
    path: &str,
    field: &str,
    values: impl Iterator<Item = &'a str>,
) -> Result<()> {
    let mut seen: Vec<&str> = Vec::new();
    for (index, value) in values.enumerate() {
        match seen.binary_search(&value) {
            Err(place) => seen.insert(place, value),
            Ok(_) => {
                return wrong(
                    format!("{path}[{index}].{field}"),
                    format!("{value:?} is taken by an earlier entry; choose another"),
                );
            }
        }
    }
    Ok(())
}

pub(super) fn within<T: PartialOrd + std::fmt::Display>(
    path: &str,
    value: Option<T>,
    range: std::ops::RangeInclusive<T>,
    default: T,
) -> Result<T> {
    match value {
        None => Ok(default),
        Some(value) if range.contains(&value) => Ok(value),
        Some(value) => wrong(
            path,
            format!(
                "{value} is out of range; give {} to {}",
                range.start(),
                range.end()
            ),
        ),
    }
}

pub(super) fn name(path: &str, name: &str) -> Result<String> {
    let fine = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
    if name.is_empty() || name.len() > NAME_BYTES || !name.bytes().all(fine) {
        return wrong(
            path,
            format!("{name:?} is no name; give 1 to {NAME_BYTES} of a-z, 0-9, `_` and `-`"),
        );
    }
    Ok(name.to_owned())
}

pub(super) fn model_pattern(path: &str, model: &str) -> Result<ModelPattern> {
    match model {
        "" => wrong(
            path,
            "is empty; give a model's name, `name@version`, or `*`",
        ),
        "*" => Ok(ModelPattern::Any),
        _ if base_name(model) == model => Ok(ModelPattern::Name(model.to_owned())),
        _ => Ok(ModelPattern::Version(model.to_owned())),
    }
}

/// `name` in lower case, if it is one: RFC 9110's token, or a pseudo-header.
pub(super) fn header_name(path: &str, name: &str) -> Result<String> {
    let bare = name.strip_prefix(':').unwrap_or(name);
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if bare.is_empty() || !bare.bytes().all(fine) {
        return wrong(path, format!("{name:?} is no header name"));
    }
    Ok(name.to_ascii_lowercase())
}
