//! Whose an error is that stands in a stream instead of an answer.
//!
//! The error's code replaces the status that the answer would have had. A number counts before a
//! word, as servers agree on numbers: `{"code": 400, "type": "BadRequestError"}` of vLLM, SGLang
//! and llama.cpp, `{"code": 400, "status": "INVALID_ARGUMENT"}` of Google. OpenAI and Anthropic
//! have words alone (`context_length_exceeded`, `overloaded_error`). Words are compared by parts,
//! as each vendor has dozens (`invalid_image_url`, `image_content_policy_violation` ...). An error
//! without a known code is the endpoint's.

use crate::config::Json;

/// Whose an error is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The endpoint failed.
    Endpoint,
    /// The endpoint has too much to do.
    Overloaded,
    /// The caller asked for what cannot be given.
    Caller,
    /// The caller, or the account in whose name it is asked, has asked too often.
    RateLimited,
}

/// Where an error says what it is.
const PLACES: [&str; 5] = ["code", "status_code", "status", "type", "error_type"];
/// A word longer than this is a sentence.
const WORD: usize = 64;

/// Parts of words, and whose error a word is that has them; the first that is found decides.
const PARTS: &[(&str, Fault)] = &[
    ("rate_limit", Fault::RateLimited),
    ("ratelimit", Fault::RateLimited),
    ("quota", Fault::RateLimited),
    ("too_many_requests", Fault::RateLimited),
    ("overloaded", Fault::Overloaded),
    ("unavailable", Fault::Overloaded),
    ("slow_down", Fault::Overloaded),
    ("invalid", Fault::Caller),
    ("bad_request", Fault::Caller),
    ("badrequest", Fault::Caller),
    ("authentication", Fault::Caller),
    ("permission", Fault::Caller),
    ("billing", Fault::Caller),
    ("not_found", Fault::Caller),
    ("notfound", Fault::Caller),
    ("too_large", Fault::Caller),
    ("too_small", Fault::Caller),
    ("length_exceeded", Fault::Caller),
    ("content_policy", Fault::Caller),
    ("content_filter", Fault::Caller),
    ("policy_violation", Fault::Caller),
    ("unsupported", Fault::Caller),
    ("validation", Fault::Caller),
    ("image", Fault::Caller),
];

impl Fault {
    /// Whose the error is that these say, the nearest to it first.
    #[cold]
    #[inline(never)]
    pub fn of(said: &[&Json]) -> Fault {
        let mut places: Vec<&Json> = Vec::new();
        for json in said {
            for name in PLACES {
                places.extend(field(json, name));
            }
            places.push(json);
        }
        let mut faults = places.iter().filter_map(|json| by_number(json));
        let number = faults.next();
        let mut faults = places.iter().filter_map(|json| by_word(json));
        number.or_else(|| faults.next()).unwrap_or(Fault::Endpoint)
    }

    /// The status that the answer would have had.
    pub fn status(self) -> u16 {
        match self {
            Fault::Endpoint => 500,
            Fault::Overloaded => 503,
            Fault::Caller => 400,
            Fault::RateLimited => 429,
        }
    }
}

/// By the status that `json` is, as a number or in digits.
fn by_number(json: &Json) -> Option<Fault> {
    let status = match json {
        Json::Natural(status) => *status,
        Json::Text(digits) => digits.parse().ok()?,
        _ => return None,
    };
    match status {
        429 => Some(Fault::RateLimited),
        503 | 529 => Some(Fault::Overloaded),
        400..500 => Some(Fault::Caller),
        500..600 => Some(Fault::Endpoint),
        _ => None,
    }
}

fn by_word(json: &Json) -> Option<Fault> {
    let Json::Text(word) = json else {
        return None;
    };
    let word = word.as_bytes();
    if word.len() > WORD || word.contains(&b' ') {
        return None;
    }
    let has = |part: &str| {
        let mut windows = word.windows(part.len());
        windows.any(|window| window.eq_ignore_ascii_case(part.as_bytes()))
    };
    let part = PARTS.iter().find(|(part, _)| has(part));
    part.map(|(_, fault)| *fault)
}

/// The field `name` of the object `json`; of several the first.
#[inline(never)]
pub(super) fn field<'a>(json: &'a Json, name: &str) -> Option<&'a Json> {
    let Json::Object(fields) = json else {
        return None;
    };
    let field = fields.iter().find(|(known, _)| known == name);
    field.map(|(_, value)| value)
}

/// Whether a value stands for the lack of one: null, false or an empty text.
pub(super) fn is_nothing(json: &Json) -> bool {
    match json {
        Json::Null | Json::Bool(false) => true,
        Json::Text(text) => text.is_empty(),
        _ => false,
    }
}
