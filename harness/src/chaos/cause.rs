//! Why a request failed, in a word or two that can be counted.

use http::StatusCode;

use crate::fleet::{Answer, CallError};

/// The cause of a failure; none for a complete answer of 200, streamed if it was asked to be.
///
/// A status comes with the `code` that an error in OpenAI's shape carries, or with the reason that a proxy
/// gives for a reset; `connect` and `reset` are connections that were refused or broke before an answer began,
/// `truncated` is an answer that began and does not end as it should, `error in stream` one whose stream holds an
/// error instead of tokens.
pub fn of(outcome: &Result<Answer, CallError>, streamed: bool) -> Option<String> {
    match outcome {
        Err(CallError::Connect(..)) => Some("connect".to_owned()),
        Err(CallError::Broken(..)) => Some("reset".to_owned()),
        Err(CallError::Truncated(..)) => Some("truncated".to_owned()),
        Ok(answer) if answer.status != StatusCode::OK => Some(refused(answer)),
        Ok(answer) if streamed && holds_error(answer) => Some("error in stream".to_owned()),
        Ok(answer) => (!complete(answer, streamed)).then(|| "truncated".to_owned()),
    }
}

fn holds_error(answer: &Answer) -> bool {
    let events = answer.events();
    events.iter().any(|event| event["error"].is_object())
}

fn complete(answer: &Answer, streamed: bool) -> bool {
    if streamed {
        answer.body.ends_with(b"data: [DONE]\n\n")
    } else {
        answer.json()["choices"][0]["finish_reason"].is_string()
    }
}

fn refused(answer: &Answer) -> String {
    let status = answer.status.as_u16();
    if let Some(code) = answer.json()["error"]["code"].as_str() {
        return format!("{status} {code}");
    }
    let text = String::from_utf8_lossy(&answer.body);
    match text.rsplit_once("reset reason: ") {
        // Envoy appends the transport's own words after a comma.
        Some((_, reason)) => {
            let reason = reason.split([',', '\n']).next().unwrap_or_default().trim();
            format!("{status} {}", reason.replace(' ', "_"))
        }
        None => status.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use http::HeaderMap;

    use super::*;

    fn cause(status: u16, body: &str, streamed: bool) -> Option<String> {
        let answer = Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: body.to_owned().into(),
            first_byte: Duration::ZERO,
            whole: Duration::ZERO,
        };
        of(&Ok(answer), streamed)
    }

    #[test]
    fn a_complete_answer_has_no_cause_and_a_part_of_one_is_truncated() {
        let whole = r#"{"choices": [{"finish_reason": "stop"}]}"#;
        let truncated = Some("truncated".to_owned());
        assert_eq!(cause(200, whole, false), None);
        assert_eq!(cause(200, &whole[..20], false), truncated);
        assert_eq!(cause(200, "data: {}\n\ndata: [DONE]\n\n", true), None);
        assert_eq!(cause(200, "data: {}\n\n", true), truncated);
        let error = "data: {\"error\": {\"code\": 500}}\n\ndata: [DONE]\n\n";
        let told = cause(200, error, true);
        assert_eq!(told.as_deref(), Some("error in stream"));
    }

    #[test]
    fn a_refusal_is_named_by_its_status_and_code() {
        let refusal = r#"{"error": {"message": "m", "code": "no_endpoint"}}"#;
        assert_eq!(
            cause(503, refusal, false).as_deref(),
            Some("503 no_endpoint")
        );
        let of_a_server = r#"{"error": {"message": "m", "code": 500}}"#;
        assert_eq!(cause(500, of_a_server, true).as_deref(), Some("500"));
        assert_eq!(cause(502, "", false).as_deref(), Some("502"));
    }

    #[test]
    fn a_reset_that_the_proxy_tells_of_is_named_by_its_reason() {
        let text = "upstream connect error or disconnect/reset before headers. retried and the latest reset reason: connection termination";
        assert_eq!(
            cause(503, text, false).as_deref(),
            Some("503 connection_termination")
        );
        let text = "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure, transport failure reason: delayed connect error: Connection refused";
        assert_eq!(
            cause(503, text, false).as_deref(),
            Some("503 remote_connection_failure")
        );
    }
}
