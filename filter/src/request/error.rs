//! Why a body is refused. Every one of these is a 400: nothing that has two meanings, or none, is
//! forwarded for a model server to choose.

use thiserror::Error as ThisError;

/// Why a body is refused, with its place: a byte offset, or the path of a field.
#[derive(Clone, Debug, PartialEq, Eq, ThisError)]
pub enum Error {
    /// Nothing at all.
    #[error("the body is empty: send a JSON object")]
    Empty,
    /// It begins with the mark of UTF-8 or UTF-16.
    #[error("the body begins with a byte order mark: send UTF-8 without one")]
    ByteOrderMark,
    /// Not UTF-8, be it in a field that is not read.
    #[error("the body is not valid UTF-8 at byte {offset}")]
    InvalidUtf8 {
        /// The first byte of the invalid sequence.
        offset: usize,
    },
    /// Not JSON.
    #[error("the body is not valid JSON at byte {offset}: expected {expected}")]
    Syntax {
        /// The first byte that does not fit.
        offset: usize,
        /// What would.
        expected: &'static str,
    },
    /// Arrays and objects inside each other.
    #[error("the body nests deeper than {limit} arrays and objects at byte {offset}")]
    TooDeep {
        /// The bracket that opens one too many.
        offset: usize,
        /// How many may be open.
        limit: u32,
    },
    /// Something follows the object.
    #[error("the body goes on after the end of its JSON object at byte {offset}")]
    TrailingData {
        /// The first byte that is not white space.
        offset: usize,
    },
    /// A number beyond a double's range.
    #[error(
        "the number at byte {offset} is out of range: a double holds up to 1.7976931348623157e308"
    )]
    NumberOutOfRange {
        /// The number's first byte.
        offset: usize,
    },
    /// JSON, but not an object.
    #[error("the body must be a JSON object")]
    NotAnObject,
    /// A field that is read twice.
    #[error("`{field}` is given twice: give it once")]
    Duplicate {
        /// Its path.
        field: String,
    },
    /// A field of a type that says nothing.
    #[error("`{field}` must be {expected}")]
    WrongType {
        /// Its path.
        field: String,
        /// What it may be.
        expected: &'static str,
    },
    /// An output bound that is not one.
    #[error(
        "`{field}` must be an integer from 0 to 4294967295, written without fraction or exponent"
    )]
    BoundOutOfRange {
        /// Its path.
        field: String,
    },
    /// Both bounds, and they differ.
    #[error("`max_tokens` and `max_completion_tokens` differ: give one of them")]
    BoundsDisagree,
    /// No model is asked for.
    #[error("`model` is missing: name the model to use")]
    ModelMissing,
    /// The model has no name.
    #[error("`model` is empty: name the model to use")]
    ModelEmpty,
    /// No model has such a name.
    #[error("`model` is longer than {limit} bytes")]
    ModelTooLong {
        /// The most it may have.
        limit: usize,
    },
    /// A query that servers decode each as they like.
    #[error("the query must be UTF-8, escaped as in a form: `%25` is a percent sign")]
    QueryEscapes,
}

impl Error {
    /// The field at fault, as OpenAI's `error.param`.
    pub fn param(&self) -> Option<&str> {
        match self {
            Error::Duplicate { field }
            | Error::WrongType { field, .. }
            | Error::BoundOutOfRange { field } => Some(field),
            Error::BoundsDisagree => Some("max_completion_tokens"),
            Error::ModelMissing | Error::ModelEmpty | Error::ModelTooLong { .. } => Some("model"),
            _ => None,
        }
    }

    /// The kind of fault, as OpenAI's `error.code`.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Empty => "empty_body",
            Error::ByteOrderMark => "byte_order_mark",
            Error::InvalidUtf8 { .. } => "invalid_utf8",
            Error::Syntax { .. } | Error::NotAnObject => "invalid_json",
            Error::TooDeep { .. } => "nesting_too_deep",
            Error::TrailingData { .. } => "trailing_data",
            Error::NumberOutOfRange { .. } => "number_out_of_range",
            Error::Duplicate { .. } => "duplicate_parameter",
            Error::WrongType { .. } => "invalid_type",
            Error::BoundOutOfRange { .. } | Error::BoundsDisagree | Error::QueryEscapes => {
                "invalid_value"
            }
            Error::ModelMissing => "missing_required_parameter",
            Error::ModelEmpty | Error::ModelTooLong { .. } => "invalid_model",
        }
    }

    /// The same fault, of a field that is inside of `outer` (a name, or an index in brackets).
    #[cold]
    pub(super) fn within(mut self, outer: &str) -> Self {
        if let Error::Duplicate { field }
        | Error::WrongType { field, .. }
        | Error::BoundOutOfRange { field } = &mut self
        {
            let dot = if field.is_empty() || field.starts_with('[') {
                ""
            } else {
                "."
            };
            *field = format!("{outer}{dot}{field}");
        }
        self
    }

    /// A value of the wrong type, whose name is still to come by [`Error::within`].
    #[cold]
    pub(super) fn wrong_type(expected: &'static str) -> Self {
        Error::WrongType {
            field: String::new(),
            expected,
        }
    }
}
