//! What an endpoint is before it runs.

use super::orca::Format;
use super::speed::Speed;

/// What an endpoint is, before it runs.
#[derive(Clone, Debug)]
pub struct EndpointSpec {
    /// Its name, which answers carry in `x-served-by`.
    pub name: String,
    /// The models it serves; it answers 404 to others. Empty: any.
    pub models: Vec<String>,
    /// How fast it is and how many requests it runs at once.
    pub speed: Speed,
    /// The longest input and output together in tokens, beyond which it answers 400.
    pub context_window: u32,
    /// Tokens of an answer that no `max_tokens` cuts short.
    pub answer_tokens: u32,
    /// The encoding of its `endpoint-load-metrics` response header; `None` sends none.
    pub orca: Option<Format>,
}

impl EndpointSpec {
    /// An endpoint `name` that serves any model at `speed`, with a window of 131,072 tokens,
    /// answers of 24 tokens and ORCA reports in JSON.
    pub fn new(name: impl Into<String>, speed: Speed) -> EndpointSpec {
        EndpointSpec {
            name: name.into(),
            models: Vec::new(),
            speed,
            context_window: 131_072,
            answer_tokens: 24,
            orca: Some(Format::Json),
        }
    }

    /// The same, serving only `models`.
    pub fn models<S: Into<String>>(mut self, models: impl IntoIterator<Item = S>) -> EndpointSpec {
        self.models = models.into_iter().map(Into::into).collect();
        self
    }

    /// The same, with a context window of `tokens`.
    pub fn context_window(mut self, tokens: u32) -> EndpointSpec {
        self.context_window = tokens;
        self
    }
}
