//! The plugin configuration in a document: the document itself, or what an Envoy bootstrap's wasm filter holds.

use std::path::Path;

use serde_json::Value;

use super::Error;

const WASM_FILTER: &str = "envoy.extensions.filters.http.wasm.v3.Wasm";
const STRING_VALUE: &str = "google.protobuf.StringValue";

/// The text that the bootstrap's wasm filter hands its module. Of several filters, the first that speaks of pools.
pub(super) fn of(file: &Path, document: &Value) -> Result<String, Error> {
    let mut filters = Vec::new();
    wasm_filters(document, String::new(), &mut filters);
    let texts = filters.into_iter().map(|(place, filter)| {
        let place = format!("{place}.config.configuration");
        let found = filter
            .pointer("/config/configuration")
            .unwrap_or(&Value::Null);
        let kind = found
            .get("@type")
            .and_then(Value::as_str)
            .unwrap_or("configuration without @type");
        match found.get("value").and_then(Value::as_str) {
            Some(text) if kind.ends_with(STRING_VALUE) => Ok(text.to_owned()),
            _ if found.is_null() => Err(Error::Unexpected {
                file: file.to_owned(),
                place,
                message: "missing".into(),
            }),
            _ => Err(Error::NotText {
                file: file.to_owned(),
                place,
                found: kind.rsplit('/').next().unwrap_or(kind).to_owned(),
            }),
        }
    });
    let texts: Vec<_> = texts.collect::<Result<_, _>>()?;
    let ours = texts
        .iter()
        .find(|text| text.contains("pools"))
        .or(texts.first())
        .cloned();
    ours.ok_or_else(|| Error::Unexpected {
        file: file.to_owned(),
        place: "static_resources.listeners".into(),
        message: format!("no filter of type {WASM_FILTER}"),
    })
}

fn wasm_filters<'a>(value: &'a Value, place: String, found: &mut Vec<(String, &'a Value)>) {
    let kind = value
        .get("@type")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if kind.ends_with(WASM_FILTER) {
        return found.push((place, value));
    }
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                wasm_filters(item, format!("{place}[{index}]"), found);
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                let place = if place.is_empty() {
                    name.clone()
                } else {
                    format!("{place}.{name}")
                };
                wasm_filters(field, place, found);
            }
        }
        _ => {}
    }
}
