//! Reading what may be written: from JSON into the types of [`super::wire`].
//!
//! A type says its fields' names and into which of them a value goes; everything else is done here, once, by
//! code that knows no type. What `serde` derives instead is a reader for each type, with its fields, their
//! duplicates and every way out unrolled: that was 80 KB of the artifact, for a document that is read once.
//! The tree comes from `serde_json`.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::parse::{At, Error};

/// JSON as it stands, with all of an object's fields, be they of the same name.
#[derive(Debug)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// An integer of 64 bits.
    Natural(u64),
    /// An integer below 0, of 64 bits.
    Negative(i64),
    /// Any other number; none is due in a configuration. Its path tells which one it is, and to write it out takes 10 KB.
    Float(f64),
    /// A string.
    Text(String),
    /// An array.
    Array(Vec<Json>),
    /// An object.
    Object(Vec<(String, Json)>),
}

/// A place that a value is read into.
pub trait Read {
    /// Whether an object may lack it.
    const OPTIONAL: bool = false;

    /// Takes the value.
    ///
    /// # Errors
    /// What is wrong, at the path from here.
    fn read(&mut self, json: Json) -> Result<(), Error>;
}

/// An object of known fields.
pub trait Object {
    /// Its fields.
    fn fields(&self) -> &'static [Field];

    /// Reads `value` into the field `name`, which is one of its own.
    ///
    /// # Errors
    /// What is wrong with the value, at the path from there.
    fn set(&mut self, name: &str, value: Json) -> Result<(), Error>;
}

/// A field of an object.
#[derive(Debug)]
pub struct Field {
    /// As it is written.
    pub name: &'static str,
    /// Whether it may be absent.
    pub optional: bool,
}

impl<T: Object> Read for T {
    fn read(&mut self, json: Json) -> Result<(), Error> {
        object(self, json)
    }
}

fn object(into: &mut dyn Object, json: Json) -> Result<(), Error> {
    let Json::Object(pairs) = json else {
        return Err(json.is_not(format_args!("an object, in braces")));
    };
    let fields = into.fields();
    let mut given: Vec<&str> = Vec::new();
    for (name, value) in pairs {
        let Some(field) = fields.iter().find(|field| field.name == name) else {
            let known = fields.iter().map(|field| field.name).collect();
            return Err(unknown("field", &name, known)).at(&name);
        };
        if given.contains(&field.name) {
            return duplicate(&name);
        }
        given.push(field.name);
        into.set(&name, value).at(&name)?;
    }
    let mut missing = fields
        .iter()
        .filter(|field| !field.optional && !given.contains(&field.name));
    match missing.next() {
        Some(field) => Err(Error::new(format!("missing field `{}`", field.name))),
        None => Ok(()),
    }
}

/// The place in `names` of the one that `json` is.
pub(super) fn choice(json: Json, names: &[&'static str]) -> Result<usize, Error> {
    let mut name = String::new();
    name.read(json)?;
    names
        .iter()
        .position(|known| *known == name)
        .ok_or_else(|| unknown("variant", &name, names.to_vec()))
}

impl<T: Read + Default> Read for Option<T> {
    const OPTIONAL: bool = true;

    fn read(&mut self, json: Json) -> Result<(), Error> {
        match json {
            Json::Null => Ok(()),
            json => self.insert(T::default()).read(json),
        }
    }
}

impl<T: Read + Default> Read for Vec<T> {
    fn read(&mut self, json: Json) -> Result<(), Error> {
        let Json::Array(items) = json else {
            return Err(json.is_not(format_args!("a list, in brackets")));
        };
        for (index, item) in items.into_iter().enumerate() {
            let mut value = T::default();
            value.read(item).at_item(index)?;
            self.push(value);
        }
        Ok(())
    }
}

impl Read for String {
    fn read(&mut self, json: Json) -> Result<(), Error> {
        match json {
            Json::Text(text) => {
                *self = text;
                Ok(())
            }
            json => Err(json.is_not(format_args!("a string, in quotes"))),
        }
    }
}

impl Read for bool {
    fn read(&mut self, json: Json) -> Result<(), Error> {
        match json {
            Json::Bool(value) => {
                *self = value;
                Ok(())
            }
            json => Err(json.is_not(format_args!("true or false"))),
        }
    }
}

macro_rules! read_integers {
    ($($integer:ident)*) => {$(
        impl Read for $integer {
            fn read(&mut self, json: Json) -> Result<(), Error> {
                *self = natural(json, $integer::MAX.into())? as $integer;
                Ok(())
            }
        }
    )*};
}

read_integers! { u8 u16 u32 }

fn natural(json: Json, most: u64) -> Result<u64, Error> {
    match json {
        Json::Natural(value) if value <= most => Ok(value),
        _ => Err(json.is_not(format_args!("an integer from 0 to {most}"))),
    }
}

/// Names for names, sorted. One that stands there twice is refused, where a map would take the last.
#[derive(Debug, Default)]
pub struct Names(pub Vec<(String, String)>);

impl Read for Names {
    fn read(&mut self, json: Json) -> Result<(), Error> {
        let Json::Object(pairs) = json else {
            return Err(json.is_not(format_args!("an object of strings")));
        };
        for (name, value) in pairs {
            let Err(place) = self.0.binary_search_by(|(known, _)| known.cmp(&name)) else {
                return duplicate(&name);
            };
            let mut text = String::new();
            text.read(value).at(&name)?;
            self.0.insert(place, (name, text));
        }
        Ok(())
    }
}

#[cold]
fn duplicate(name: &str) -> Result<(), Error> {
    Err(Error::new(format!("duplicate field `{name}`"))).at(name)
}

#[cold]
fn unknown(kind: &str, name: &str, known: Vec<&str>) -> Error {
    let (before, between) = match known.len() {
        1 => ("", ""),
        2 => ("", "` or `"),
        _ => ("one of ", "`, `"),
    };
    let known = known.join(between);
    Error::new(format!(
        "unknown {kind} `{name}`, expected {before}`{known}`"
    ))
}

impl Json {
    /// Reads a document; `None` if it is none.
    pub fn parse(json: &[u8]) -> Option<Json> {
        serde_json::from_slice(json).ok()
    }

    #[cold]
    pub(super) fn is_not(&self, expected: fmt::Arguments<'_>) -> Error {
        Error::new(format!("is {self}; give {expected}"))
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Json::Null => f.write_str("null"),
            Json::Bool(value) => write!(f, "{value}"),
            Json::Natural(value) => write!(f, "{value}"),
            Json::Negative(value) => write!(f, "{value}"),
            Json::Float(_) => f.write_str("no integer of 64 bits"),
            Json::Text(text) => write!(f, "{text:?}"),
            Json::Array(_) => f.write_str("a list"),
            Json::Object(_) => f.write_str("an object"),
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(Tree)
    }
}

struct Tree;

impl<'de> Visitor<'de> for Tree {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Natural(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Negative(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Float(value))
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(Json::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element()? {
            array.push(item);
        }
        Ok(Json::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Json, A::Error> {
        let mut object = Vec::new();
        while let Some(field) = fields.next_entry()? {
            object.push(field);
        }
        Ok(Json::Object(object))
    }
}

/// Declares types that are objects, and how they are read. A field with `= default` may be absent, as may an
/// `Option`; `field as "name"` is written by another name than the code has for it.
macro_rules! objects {
    ($(
        $(#[$attribute:meta])*
        pub struct $object:ident {
            $(
                $(#[$field_attribute:meta])*
                pub $field:ident $(as $name:literal)?: $type:ty $(= $default:ident)?,
            )*
        }
    )*) => {$(
        #[derive(Debug, Default)]
        #[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
        $(#[$attribute])*
        #[cfg_attr(not(target_arch = "wasm32"), schemars(deny_unknown_fields))]
        pub struct $object {
            $(
                $(#[$field_attribute])*
                $(#[cfg_attr(not(target_arch = "wasm32"), schemars(rename = $name))])?
                $(#[cfg_attr(not(target_arch = "wasm32"), schemars($default))])?
                pub $field: $type,
            )*
        }

        impl $crate::config::read::Object for $object {
            fn fields(&self) -> &'static [$crate::config::read::Field] {
                const { &[$($crate::config::read::Field {
                    name: objects!(@name $field $($name)?),
                    optional: <$type as $crate::config::read::Read>::OPTIONAL $(|| objects!(@$default))?,
                }),*] }
            }

            fn set(&mut self, name: &str, value: $crate::config::read::Json) -> Result<(), $crate::config::Error> {
                match name {
                    $(objects!(@name $field $($name)?) => $crate::config::read::Read::read(&mut self.$field, value),)*
                    _ => Ok(()),
                }
            }
        }
    )*};
    (@name $field:ident) => { stringify!($field) };
    (@name $field:ident $name:literal) => { $name };
    (@default) => { true };
}

/// Declares types that are one of some names. All have a default: of a choice that may not be absent it is
/// what stands there until the value has been read.
macro_rules! choices {
    ($(
        $(#[$attribute:meta])*
        pub enum $choice:ident {
            $(
                $(#[$variant_attribute:meta])*
                $variant:ident = $name:literal,
            )*
        }
    )*) => {$(
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        #[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
        $(#[$attribute])*
        pub enum $choice {
            $(
                $(#[$variant_attribute])*
                #[cfg_attr(not(target_arch = "wasm32"), schemars(rename = $name))]
                $variant,
            )*
        }

        impl $crate::config::read::Read for $choice {
            fn read(&mut self, json: $crate::config::read::Json) -> Result<(), $crate::config::Error> {
                let chosen = $crate::config::read::choice(json, &[$($name),*])?;
                if let Some(variant) = [$($choice::$variant),*].get(chosen) {
                    *self = *variant;
                }
                Ok(())
            }
        }
    )*};
}

pub(in crate::config) use {choices, objects};
