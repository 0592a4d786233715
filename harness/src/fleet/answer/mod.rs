//! What a model server says: a request read, and its reply in the words of the API it came by.
//!
//! An API is a [`Dialect`]: the whole answer as one object, or the same as events. What is common
//! to all (model, lengths, who served it) is in [`Reply`], so a dialect is only shape. The shapes
//! are complete enough for the official clients, which parse every field they know.

mod chat;
mod completions;
mod embeddings;
mod messages;
mod responses;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::spec::EndpointSpec;
use super::speed::tokens;

/// The APIs that generate something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Api {
    /// `/v1/chat/completions`
    Chat,
    /// `/v1/completions`
    Completions,
    /// `/v1/responses`
    Responses,
    /// Anthropic's `/v1/messages`
    Messages,
    /// `/v1/embeddings`
    Embeddings,
}

/// One API's shape of an answer.
trait Dialect {
    /// The answer as one object.
    fn whole(&self, reply: &Reply) -> Value;
    /// Events before the first token.
    fn opening(&self, reply: &Reply) -> Vec<Bytes>;
    /// The event of the `index`th token.
    fn token(&self, reply: &Reply, index: u32) -> Bytes;
    /// Events after the last token.
    fn closing(&self, reply: &Reply) -> Vec<Bytes>;
    /// Events of a stream that fails before its first token, for a reason that `status` stands for.
    fn failure(&self, reply: &Reply, status: StatusCode) -> Vec<Bytes> {
        let error = error(Some(reply.api), status, "failing, as ordered", None);
        vec![data(&error), Bytes::from_static(b"data: [DONE]\n\n")]
    }
}

/// Who answered and what it received; every answer carries it, so that a test sees what a proxy did.
#[derive(Clone, Debug)]
pub struct Served {
    pub endpoint: String,
    pub model: String,
    pub body_bytes: usize,
    pub body_sha256: String,
}

/// A request understood, and everything its answer says.
pub struct Reply {
    api: Api,
    body: Value,
    served: Served,
    serial: u64,
    created: u64,
    input: u32,
    output: u32,
    cut: bool,
}

/// Why a request is not answered.
pub struct Refusal {
    pub status: StatusCode,
    message: String,
    param: Option<&'static str>,
}

impl Api {
    /// The API behind `method` and `path`, if there is one.
    pub fn of(method: &Method, path: &str) -> Option<Api> {
        match path {
            _ if method != Method::POST => None,
            "/v1/chat/completions" => Some(Api::Chat),
            "/v1/completions" => Some(Api::Completions),
            "/v1/responses" => Some(Api::Responses),
            "/v1/messages" => Some(Api::Messages),
            "/v1/embeddings" => Some(Api::Embeddings),
            _ => None,
        }
    }

    fn dialect(self) -> &'static dyn Dialect {
        match self {
            Api::Chat => &chat::Chat,
            Api::Completions => &completions::Completions,
            Api::Responses => &responses::Responses,
            Api::Messages => &messages::Messages,
            Api::Embeddings => &embeddings::Embeddings,
        }
    }

    /// The field that holds what the model reads.
    fn input(self) -> &'static str {
        match self {
            Api::Chat | Api::Messages => "messages",
            Api::Completions => "prompt",
            Api::Responses | Api::Embeddings => "input",
        }
    }
}

impl Reply {
    /// The reply of the endpoint `spec` to `body`, which came by `api`.
    pub fn to(
        api: Api,
        body: &[u8],
        spec: &EndpointSpec,
        served: Served,
    ) -> Result<Reply, Refusal> {
        static SERIAL: AtomicU64 = AtomicU64::new(1);
        let body: Value = serde_json::from_slice(body).map_err(|error| {
            refusal(
                StatusCode::BAD_REQUEST,
                None,
                format!("the body is not JSON: {error}"),
            )
        })?;
        if !spec.models.is_empty() && !spec.models.contains(&served.model) {
            let message = format!("The model `{}` does not exist.", served.model);
            return Err(refusal(StatusCode::NOT_FOUND, Some("model"), message));
        }
        let field = api.input();
        let Some(text) = body.get(field) else {
            return Err(refusal(
                StatusCode::BAD_REQUEST,
                Some(field),
                format!("Field required: {field}"),
            ));
        };
        let input = length(text).saturating_add(
            ["system", "instructions"]
                .iter()
                .filter_map(|f| body.get(*f))
                .map(length)
                .sum(),
        );
        let bound = ["max_completion_tokens", "max_tokens", "max_output_tokens"]
            .iter()
            .find_map(|field| body.get(*field)?.as_u64());
        let bound = bound.map_or(u32::MAX, |bound| u32::try_from(bound).unwrap_or(u32::MAX));
        let output = if api == Api::Embeddings {
            0
        } else {
            spec.answer_tokens.min(bound)
        };
        if input.saturating_add(output) > spec.context_window {
            let message = format!(
                "This model's maximum context length is {} tokens. However, your request has {input} input tokens.",
                spec.context_window
            );
            return Err(refusal(StatusCode::BAD_REQUEST, Some(field), message));
        }
        let created = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |time| time.as_secs());
        let cut = bound < spec.answer_tokens;
        Ok(Reply {
            api,
            body,
            served,
            serial: SERIAL.fetch_add(1, Relaxed),
            created,
            input,
            output,
            cut,
        })
    }

    pub fn input_tokens(&self) -> u32 {
        self.input
    }

    pub fn output_tokens(&self) -> u32 {
        self.output
    }

    /// Whether the caller's bound cut the answer short.
    pub fn cut(&self) -> bool {
        self.cut
    }

    pub fn streams(&self) -> bool {
        self.api != Api::Embeddings
            && self
                .body
                .get("stream")
                .and_then(Value::as_bool)
                .unwrap_or(false)
    }

    pub fn whole(&self) -> Value {
        let mut whole = self.api.dialect().whole(self);
        whole["fleet"] = self.signature();
        whole
    }

    pub fn opening(&self) -> Vec<Bytes> {
        self.api.dialect().opening(self)
    }

    pub fn token(&self, index: u32) -> Bytes {
        self.api.dialect().token(self, index)
    }

    pub fn closing(&self) -> Vec<Bytes> {
        self.api.dialect().closing(self)
    }

    pub fn failure(&self, status: StatusCode) -> Vec<Bytes> {
        self.api.dialect().failure(self, status)
    }

    fn signature(&self) -> Value {
        json!({
            "endpoint": self.served.endpoint,
            "model": self.served.model,
            "body_bytes": self.served.body_bytes,
            "body_sha256": self.served.body_sha256,
        })
    }

    fn id(&self, prefix: &str) -> String {
        format!("{prefix}{:024x}", self.serial)
    }

    fn fingerprint(&self) -> String {
        format!("fp_{}", self.served.endpoint)
    }

    /// The text of all tokens.
    fn text(&self) -> String {
        (0..self.output).map(word).collect()
    }

    fn finish_reason(&self) -> &'static str {
        if self.cut { "length" } else { "stop" }
    }

    /// Usage as chat, completions and embeddings state it.
    fn usage(&self) -> Value {
        json!({
            "prompt_tokens": self.input,
            "completion_tokens": self.output,
            "total_tokens": self.input + self.output,
            "prompt_tokens_details": {"cached_tokens": 0},
        })
    }

    fn wants_usage(&self) -> bool {
        self.body
            .pointer("/stream_options/include_usage")
            .and_then(Value::as_bool)
            .unwrap_or(false)
    }
}

impl Refusal {
    pub fn body(&self, api: Api) -> Value {
        error(Some(api), self.status, &self.message, self.param)
    }
}

/// An error in the shape that callers of `api` expect.
pub fn error(api: Option<Api>, status: StatusCode, message: &str, param: Option<&str>) -> Value {
    if api == Some(Api::Messages) {
        return messages::error(status, message);
    }
    let kind = match status.as_u16() {
        404 => "NotFoundError",
        400..500 => "BadRequestError",
        _ => "InternalServerError",
    };
    json!({"error": {"message": message, "type": kind, "param": param, "code": status.as_u16()}})
}

/// `GET /v1/models`.
pub fn models(spec: &EndpointSpec) -> Value {
    let model = |id: &String| json!({"id": id, "object": "model", "created": 0, "owned_by": spec.name, "max_model_len": spec.context_window});
    json!({"object": "list", "data": spec.models.iter().map(model).collect::<Vec<_>>()})
}

fn refusal(status: StatusCode, param: Option<&'static str>, message: String) -> Refusal {
    Refusal {
        status,
        message,
        param,
    }
}

/// Tokens of whatever shape an API allows its input to have: text, token numbers, parts, messages.
fn length(input: &Value) -> u32 {
    match input {
        Value::String(text) => tokens(text),
        Value::Number(_) => 1,
        Value::Array(parts) => parts.iter().map(length).fold(0, u32::saturating_add),
        Value::Object(part) => ["text", "content", "input"]
            .iter()
            .filter_map(|field| part.get(*field))
            .map(length)
            .sum(),
        Value::Null | Value::Bool(_) => 0,
    }
}

/// The `index`th word of every answer, with the space before it.
fn word(index: u32) -> String {
    const WORDS: [&str; 12] = [
        "Balance",
        "is",
        "not",
        "stillness",
        "but",
        "many",
        "small",
        "corrections,",
        "each",
        "made",
        "in",
        "time.",
    ];
    let word = WORDS[index as usize % WORDS.len()];
    if index == 0 {
        word.to_owned()
    } else {
        format!(" {word}")
    }
}

/// A server-sent event without a name, as OpenAI sends them.
fn data(value: &Value) -> Bytes {
    Bytes::from(format!("data: {value}\n\n"))
}

/// A server-sent event named by its `type`, as Anthropic and the responses API send them.
fn event(value: &Value) -> Bytes {
    Bytes::from(format!(
        "event: {}\ndata: {value}\n\n",
        value["type"].as_str().unwrap_or("message")
    ))
}
