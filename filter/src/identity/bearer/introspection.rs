//! What is asked of an issuer about a token that only it can read (RFC 7662), and its answer.

use crate::config::Json;
use crate::values::clock::UnixTime;
use crate::values::form;

use super::fields::Fields;
use super::jwt::{Fault, SKEW};

/// An answer is no larger than this.
const MOST_ANSWER_BYTES: usize = 64 * 1024;

/// What an issuer says of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It speaks for this tenant.
    Active {
        /// The tenant.
        tenant: String,
        /// When it ends, if the issuer says so.
        expires: Option<UnixTime>,
    },
    /// It does not, for this reason.
    Inactive(Fault),
}

/// The body of the request that asks about `token`.
pub fn form(token: &str) -> String {
    format!("token_type_hint=access_token&token={}", form::escape(token))
}

/// Reads an answer of status 200 at the time `now`; `None` if it is none.
///
/// `audiences`, if any are given, must name one of the answer's, and `claim` is the tenant's.
pub fn answer(json: &[u8], audiences: &[String], claim: &str, now: UnixTime) -> Option<Answer> {
    if json.len() > MOST_ANSWER_BYTES {
        return None;
    }
    let mut fields = Fields::parse(json)?;
    match fields.take("active")? {
        Json::Bool(true) => {}
        Json::Bool(false) => return Some(Answer::Inactive(Fault::Inactive)),
        _ => return None,
    }
    if !audiences.is_empty() {
        let named = fields.take("aud").ok_or(Fault::Audience);
        if let Err(fault) = named.and_then(|named| super::jwt::is_for(named, audiences)) {
            return Some(Answer::Inactive(fault));
        }
    }
    let expires = fields.time("exp")?;
    if expires.is_some_and(|expires| now.0 >= expires.saturating_add(SKEW)) {
        return Some(Answer::Inactive(Fault::Expired));
    }
    let from = fields.time("nbf")?;
    if from.is_some_and(|from| from > now.0.saturating_add(SKEW)) {
        return Some(Answer::Inactive(Fault::TooEarly));
    }
    let tenant = fields.text(claim).flatten().and_then(super::tenant);
    Some(match tenant {
        Some(tenant) => Answer::Active {
            tenant,
            expires: expires.map(UnixTime),
        },
        None => Answer::Inactive(Fault::Tenant),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Option<Answer> {
        answer(
            json.as_bytes(),
            &["api".into()],
            "client_id",
            UnixTime(1_000),
        )
    }

    #[test]
    fn an_answer_tells_the_tenant_or_why_there_is_none() {
        let active = |expires: Option<u64>| {
            Some(Answer::Active {
                tenant: "acme".into(),
                expires: expires.map(UnixTime),
            })
        };
        let inactive = |fault| Some(Answer::Inactive(fault));
        for (json, expected) in [
            (
                r#"{"active":true,"aud":"api","client_id":"acme","exp":2000}"#,
                active(Some(2_000)),
            ),
            (
                r#"{"active":true,"aud":["x","api"],"client_id":"acme","exp":940.5,"nbf":1060}"#,
                inactive(Fault::Expired),
            ),
            (
                r#"{"active":true,"aud":["x","api"],"client_id":"acme","exp":941,"nbf":1060}"#,
                active(Some(941)),
            ),
            (
                r#"{"active":true,"aud":"api","client_id":"acme","nbf":1061}"#,
                inactive(Fault::TooEarly),
            ),
            (
                r#"{"active":true,"aud":"api","client_id":"acme"}"#,
                active(None),
            ),
            (r#"{"active":false}"#, inactive(Fault::Inactive)),
            (
                r#"{"active":true,"aud":"other","client_id":"acme"}"#,
                inactive(Fault::Audience),
            ),
            (
                r#"{"active":true,"client_id":"acme"}"#,
                inactive(Fault::Audience),
            ),
            (
                r#"{"active":true,"aud":"api","sub":"acme"}"#,
                inactive(Fault::Tenant),
            ),
            (
                r#"{"active":true,"aud":"api","client_id":""}"#,
                inactive(Fault::Tenant),
            ),
            (
                r#"{"active":true,"active":true,"aud":"api","client_id":"acme"}"#,
                None,
            ),
            (r#"{"active":"true","aud":"api","client_id":"acme"}"#, None),
            (r#"{"client_id":"acme"}"#, None),
            ("[]", None),
            ("", None),
        ] {
            assert_eq!(read(json), expected, "{json}");
        }
    }
}
