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

const RATE_LIMITED: &[&str] = &["rate_limit", "ratelimit", "quota", "too_many_requests"];
const OVERLOADED: &[&str] = &["overloaded", "unavailable", "slow_down"];
const CALLER: &[&str] = &[
    "invalid",
    "bad_request",
    "badrequest",
    "authentication",
    "permission",
    "billing",
    "not_found",
    "notfound",
    "too_large",
    "too_small",
    "length_exceeded",
    "content_policy",
    "content_filter",
    "policy_violation",
    "unsupported",
    "validation",
    "image",
];

impl Fault {
    /// Whose the error is that these say, the nearest to it first.
    pub fn of(said: &[&Json]) -> Fault {
        let places = || {
            let named = |json| PLACES.iter().filter_map(move |name| field(json, name));
            said.iter().flat_map(move |json| named(json).chain([*json]))
        };
        let number = places().find_map(by_number);
        number
            .or_else(|| places().find_map(by_word))
            .unwrap_or(Fault::Endpoint)
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
    let word = word.get(..WORD).unwrap_or(word).to_ascii_lowercase();
    let among = |parts: &[&str]| parts.iter().any(|part| word.contains(part));
    match () {
        () if word.contains(' ') => None,
        () if among(RATE_LIMITED) => Some(Fault::RateLimited),
        () if among(OVERLOADED) => Some(Fault::Overloaded),
        () if among(CALLER) => Some(Fault::Caller),
        () => None,
    }
}

/// The field `name` of the object `json`; of several the first.
pub(super) fn field<'a>(json: &'a Json, name: &str) -> Option<&'a Json> {
    let Json::Object(fields) = json else {
        return None;
    };
    let field = fields.iter().find(|(known, _)| known == name);
    field.map(|(_, value)| value)
}

/// Whether a value is there to say that there is none.
pub(super) fn is_nothing(json: &Json) -> bool {
    match json {
        Json::Null | Json::Bool(false) => true,
        Json::Text(text) => text.is_empty(),
        _ => false,
    }
}
