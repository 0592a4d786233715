//! The configuration as it is written: the plugin configuration, one JSON object (in Envoy's YAML the text
//! of a `google.protobuf.StringValue`; a `Struct` is handed over as protobuf, not as JSON).
//!
//! These types say what may be written and nothing of what it means; [`super::parse`] turns them into
//! a [`super::Config`]. The JSON Schema is generated from them, so their doc comments are what an
//! editor shows.

mod bearer;
mod check;
mod identity;
mod quota;

use super::read::{Names, choices, objects};

pub use bearer::{Introspection, Jwt, SignatureAlgorithm};
pub use check::{Check, Status, Statuses};
pub use identity::{
    Addresses, Anonymous, Identity, JwtAuthn, Keys, KeysOfTenant, Signatures, SigningKey,
};
pub use quota::{Budget, OnError, Quota, QuotaEngine, RateLimitService, Scope, Webdis};

objects! {
    /// Junheng's plugin configuration.
    #[cfg_attr(not(target_arch = "wasm32"), schemars(title = "Junheng"))]
    pub struct Document {
        /// Groups of endpoints that serve the same models equally well; 1 to 256.
        pub pools: Vec<Pool>,
        /// Rules, tried in order: the first that matches a request decides its pools; 1 to 1024.
        pub routes: Vec<Route>,
        /// Who may call, and who a caller is.
        pub identity: Identity = default,
        /// Budgets of requests and tokens; a request takes from each that matches it, or is refused; at most 64.
        pub quotas: Vec<Quota> = default,
        /// Who keeps the limits that are the whole fleet's.
        pub quota_engine: Option<QuotaEngine>,
        /// Bounds on what a request may be.
        pub limits: Limits = default,
        /// Who is shown, in the response header `x-junheng-decision`, how the endpoint was chosen.
        pub decision_header: DecisionHeader = default,
        /// What becomes of WebSocket upgrades and CONNECT, whose bodies no filter can read.
        pub upgrades: Upgrades = default,
    }

    /// A group of endpoints that serve the same models equally well.
    pub struct Pool {
        /// A name for routes, metrics and decisions: 1 to 64 of a-z, 0-9, `_` and `-`.
        pub name: String,
        /// The proxy's cluster that holds the endpoints; the pool's name if absent.
        pub cluster: Option<String>,
        /// The models served here; any model if empty.
        pub models: Vec<String> = default,
        /// The longest request that fits, input and output together, in tokens; unbounded if absent.
        pub context_window: Option<u32>,
        /// How an endpoint is chosen.
        pub balance: Balance = default,
        /// When an endpoint is left out, and how it comes back.
        pub health: Health = default,
        /// How what endpoints report of their load changes their weights.
        pub load: Load = default,
        /// The model servers; 1 to 4096.
        pub endpoints: Vec<Endpoint>,
    }

    /// One model server.
    pub struct Endpoint {
        /// `ip:port`, as the proxy's cluster has it; IPv6 in brackets.
        pub address: String,
        /// The share of traffic relative to the pool's other endpoints: 0 (drained) to 1000.
        pub weight: Option<u16>,
        /// Where it stands, named like a pool; shown in decisions.
        pub zone: Option<String>,
    }

    /// When an endpoint is left out, and how it comes back.
    pub struct Health {
        /// Asking each endpoint how it is.
        pub check: Check = default,
        /// Leaving out an endpoint whose answers are bad.
        pub breaker: Breaker = default,
        /// How long an endpoint that comes back is ramped up: `1s` to `1h`; `60s` if absent.
        pub ramp: Option<String>,
    }

    /// Leaving out an endpoint whose answers are bad: not connected, reset, timed out, or a status
    /// of 500 and above but 503 and 529.
    pub struct Breaker {
        /// `false` leaves nobody out; `true` if absent.
        pub enabled: Option<bool>,
        /// Trips above this share of failures within the window, in percent: 1 to 99; 20 if absent.
        pub error_percent: Option<u8>,
        /// Not before so many requests within the window: 1 to 1000000; 20 if absent.
        pub minimum_requests: Option<u32>,
        /// The window: `30s` to `1h`; `5m` if absent.
        pub window: Option<String>,
        /// Trips at so many failures in a row: 1 to 1000; 5 if absent.
        pub failures_in_a_row: Option<u16>,
        /// How long nothing is sent, before one request probes: `1s` to `1h`; `30s` if absent.
        pub open: Option<String>,
        /// The most of a pool that is left out, in percent of its endpoints: 0 to 100; 50 if
        /// absent. Below 100 one always stays.
        pub max_ejected_percent: Option<u8>,
        /// As nginx has it: so many failures within `fail_timeout` leave the endpoint out for as
        /// long: 1 to 1000. In place of all but `enabled` and `max_ejected_percent`.
        pub max_fails: Option<u16>,
        /// For `max_fails`: `1s` to `1h`; `10s` if absent.
        pub fail_timeout: Option<String>,
    }

    /// How what endpoints report of their load changes their weights.
    pub struct Load {
        /// `false` keeps the weights as they are written; `true` if absent.
        pub weights: Option<bool>,
        /// How often weights are computed: `1s` to `1m`; `5s` if absent.
        pub interval: Option<String>,
        /// Where an endpoint's Prometheus text is, to be read once per interval; not read if absent.
        pub metrics_path: Option<String>,
        /// The port of the endpoints' addresses at which that text is served, 1 to 65535, like 9400
        /// for DCGM's exporter; the endpoint's own if absent. Needs `metrics_cluster`.
        pub metrics_port: Option<u16>,
        /// The proxy's cluster that holds the addresses the text is read from; the pool's if
        /// absent.
        pub metrics_cluster: Option<String>,
    }

    /// How an endpoint of a pool is chosen.
    pub struct Balance {
        /// The algorithm.
        pub algorithm: Algorithm = default,
        /// What `consistent_hash` hashes; only for that algorithm.
        pub hash: Option<Hash>,
    }
}

choices! {
    /// The algorithms.
    pub enum Algorithm {
        /// One endpoint after the other, weights ignored but for 0.
        RoundRobin = "round_robin",
        /// In turn, as often as the weights say, without bursts.
        WeightedRoundRobin = "weighted_round_robin",
        /// The fewest requests in flight over weight.
        #[default]
        LeastConnections = "least_connections",
        /// The smallest mean time to first byte, times requests in flight, over weight.
        ResponseTime = "response_time",
        /// The same key to the same endpoint, unless that one carries more than its bound.
        ConsistentHash = "consistent_hash",
    }
}

objects! {
    /// What `consistent_hash` hashes.
    pub struct Hash {
        /// Where the key comes from. A request that has none goes to a random endpoint.
        pub on: HashOn,
        /// The header's name, for `on: header`.
        pub header: Option<String>,
    }
}

choices! {
    /// Where a hash key comes from.
    pub enum HashOn {
        /// A request header.
        #[default]
        Header = "header",
        /// The caller's tenant.
        Tenant = "tenant",
        /// The start of the prompt, so that prompts with a common start meet a warm prefix cache.
        Prompt = "prompt",
    }
}

objects! {
    /// A rule: which requests, to which pools.
    pub struct Route {
        /// A name for decisions; `route-<index>` if absent.
        pub name: Option<String>,
        /// All that is given must hold; an empty match holds for every request.
        pub matches as "match": Match = default,
        /// Model names to rewrite in the body: asked for -> sent upstream.
        #[cfg_attr(
            not(target_arch = "wasm32"),
            schemars(with = "std::collections::BTreeMap<String, String>")
        )]
        pub alias: Names = default,
        /// `true` asks for `usage` in every OpenAI stream (`stream_options.include_usage`), and takes the event that
        /// tells it out again for callers who did not ask; `false` if absent.
        pub stream_usage: Option<bool>,
        /// Pools in order of preference: the next is used where one has no candidate.
        pub pools: Vec<String>,
        /// How many endpoints a request may try, the first included: 1 to 8; 3 if absent.
        pub attempts: Option<u8>,
        /// When the next endpoint is tried.
        pub retry: Retry = default,
        /// What becomes of a request when no endpoint of the rule's pools is fit.
        pub when_none_is_fit: WhenNoneIsFit = default,
    }

    /// When the next endpoint is tried. Never once a byte of an answer has been relayed.
    pub struct Retry {
        /// After what; all but `too_many_requests` if absent.
        pub on: Option<Vec<RetryOn>>,
        /// How long a streamed answer may take to begin: `10ms` to `1h`; unbounded if absent.
        pub first_byte: Option<String>,
        /// The same for an answer that is not streamed, and so begins when it is complete.
        pub answer: Option<String>,
    }
}

choices! {
    /// A reason to try the next endpoint.
    pub enum RetryOn {
        /// No connection.
        #[default]
        ConnectFailure = "connect_failure",
        /// The endpoint refused the stream before it looked at it (HTTP/2).
        RefusedStream = "refused_stream",
        /// The connection broke, or time ran out, before the answer began.
        Reset = "reset",
        /// The answer is a status of 500, 501, 502 or 504.
        ServerError = "server_error",
        /// The answer is 503 or 529: the endpoint has too much to do. Only where the next ones have
        /// room to spare.
        Overloaded = "overloaded",
        /// The answer is 429.
        TooManyRequests = "too_many_requests",
    }

    /// What becomes of a request when no endpoint is fit.
    pub enum WhenNoneIsFit {
        /// It is answered 503, with the time after which one may be fit again.
        #[default]
        Refuse = "refuse",
        /// It is sent to any endpoint of the first pool that the request fits, fit or not.
        Panic = "panic",
    }
}

objects! {
    /// Which requests a rule is for.
    pub struct Match {
        /// Model names: `name` (any version), `name@version`, or `*`. Any model, or none, if empty.
        pub models: Vec<String> = default,
        /// Bounds on the estimated input.
        pub input_tokens: Option<TokenRange>,
        /// Whether the answer is asked for as a stream.
        pub stream: Option<bool>,
        /// Whether it is a session of the Realtime API (a WebSocket at `…/realtime`).
        pub realtime: Option<bool>,
        /// The request's path, without its query.
        pub path: Option<TextMatch>,
        /// Request headers; each must match.
        pub headers: Vec<HeaderMatch> = default,
        /// Tenants, as `identity` tells them; any if empty.
        pub tenants: Vec<String> = default,
    }

    /// A range of tokens; both ends belong to it.
    pub struct TokenRange {
        /// The smallest; 0 if absent.
        pub min: Option<u32>,
        /// The largest; unbounded if absent.
        pub max: Option<u32>,
    }

    /// A text to compare with: exactly one of the fields.
    pub struct TextMatch {
        /// The whole text.
        pub exact: Option<String>,
        /// Its start.
        pub prefix: Option<String>,
    }

    /// A header to compare: its name and exactly one of the other fields.
    pub struct HeaderMatch {
        /// The header's name.
        pub name: String,
        /// The whole value.
        pub exact: Option<String>,
        /// The value's start.
        pub prefix: Option<String>,
        /// Whether the header is there at all.
        pub present: Option<bool>,
    }

    /// Bounds on what a request may be.
    pub struct Limits {
        /// The largest body that is read, in bytes: 1024 to 67108864; 8388608 if absent. The proxy's own buffer must hold it.
        pub body_bytes: Option<u32>,
        /// How many bytes of a prompt's text, from its start, make the key of `hash: {on: prompt}`: 1 to 65536; 1024 if absent.
        pub prompt_key_bytes: Option<u32>,
    }

    /// Who is shown how a decision was made.
    pub struct DecisionHeader {
        /// Which callers.
        pub callers: Callers = default,
        /// The tenants, for `callers: tenants`.
        pub tenants: Vec<String> = default,
    }
}

choices! {
    /// A choice of callers.
    pub enum Callers {
        /// Nobody.
        #[default]
        None = "none",
        /// The tenants listed.
        Tenants = "tenants",
        /// Everybody.
        All = "all",
    }

    /// What becomes of upgrades and CONNECT.
    pub enum Upgrades {
        /// Routed by what their headers tell, bytes untouched.
        #[default]
        Forward = "forward",
        /// Answered 403.
        Refuse = "refuse",
    }
}
