//! The numbers of the proxy-wasm ABI, versions 0.1.0 to 0.2.1.
//!
//! Source: proxy-wasm/spec, `abi-versions/v0.2.1`. Values outside an enumeration are answered with
//! [`Status::BadArgument`], as proxy-wasm-cpp-host does, before anything else is looked at.

/// What a hostcall answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u32)]
#[allow(
    missing_docs,
    reason = "the names are the specification's own and say all there is to say"
)]
pub enum Status {
    Ok = 0,
    NotFound = 1,
    BadArgument = 2,
    SerializationFailure = 3,
    ParseFailure = 4,
    BadExpression = 5,
    InvalidMemoryAccess = 6,
    Empty = 7,
    CasMismatch = 8,
    ResultMismatch = 9,
    InternalFailure = 10,
    BrokenConnection = 11,
    Unimplemented = 12,
}

impl Status {
    /// Every status but [`Status::Ok`], in the order of their numbers.
    pub const FAILURES: [Self; 12] = [
        Self::NotFound,
        Self::BadArgument,
        Self::SerializationFailure,
        Self::ParseFailure,
        Self::BadExpression,
        Self::InvalidMemoryAccess,
        Self::Empty,
        Self::CasMismatch,
        Self::ResultMismatch,
        Self::InternalFailure,
        Self::BrokenConnection,
        Self::Unimplemented,
    ];
}

/// How loud a log line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u32)]
#[allow(
    missing_docs,
    reason = "the names are the specification's own and say all there is to say"
)]
pub enum Level {
    Trace = 0,
    Debug = 1,
    Info = 2,
    Warn = 3,
    Error = 4,
    Critical = 5,
}

/// Which version of the ABI a module was written for, told by an export named after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names are the versions")]
pub enum AbiVersion {
    V0_1_0,
    V0_2_0,
    V0_2_1,
}

/// The half of a stream that a callback or an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// From the client to the upstream.
    Request,
    /// From the upstream to the client.
    Response,
}

/// Header maps that a guest can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MapType {
    Headers(Side),
    Trailers(Side),
    GrpcInitialMetadata,
    GrpcTrailingMetadata,
    CallHeaders,
    CallTrailers,
}

/// Buffers that a guest can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BufferType {
    Body(Side),
    Network,
    CallBody,
    GrpcMessage,
    VmConfiguration,
    PluginConfiguration,
    CallData,
}

/// Streams that a guest can resume or close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamType {
    Http(Side),
    Downstream,
    Upstream,
}

/// The kinds of metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum MetricType {
    Counter,
    Gauge,
    Histogram,
}

macro_rules! from_number {
    ($type:ident: $($number:literal => $value:expr),+ $(,)?) => {
        impl TryFrom<u32> for $type {
            type Error = Status;
            fn try_from(number: u32) -> Result<Self, Status> {
                match number {
                    $($number => Ok($value),)+
                    _ => Err(Status::BadArgument),
                }
            }
        }
    };
}

from_number!(MapType:
    0 => Self::Headers(Side::Request),
    1 => Self::Trailers(Side::Request),
    2 => Self::Headers(Side::Response),
    3 => Self::Trailers(Side::Response),
    4 => Self::GrpcInitialMetadata,
    5 => Self::GrpcTrailingMetadata,
    6 => Self::CallHeaders,
    7 => Self::CallTrailers,
);
from_number!(BufferType:
    0 => Self::Body(Side::Request),
    1 => Self::Body(Side::Response),
    2 => Self::Network,
    3 => Self::Network,
    4 => Self::CallBody,
    5 => Self::GrpcMessage,
    6 => Self::VmConfiguration,
    7 => Self::PluginConfiguration,
    8 => Self::CallData,
);
from_number!(StreamType:
    0 => Self::Http(Side::Request),
    1 => Self::Http(Side::Response),
    2 => Self::Downstream,
    3 => Self::Upstream,
);
from_number!(MetricType: 0 => Self::Counter, 1 => Self::Gauge, 2 => Self::Histogram);
from_number!(Level:
    0 => Self::Trace,
    1 => Self::Debug,
    2 => Self::Info,
    3 => Self::Warn,
    4 => Self::Error,
    5 => Self::Critical,
);
