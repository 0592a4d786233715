//! Limits, as they are written.

use super::Match;
use crate::config::Secret;
use crate::config::read::{choices, objects};

objects! {
    /// A budget of requests, tokens or both for each caller, or for all together.
    pub struct Quota {
        /// A name for refusals, headers and metrics, like a pool's.
        pub name: String,
        /// Requests that share all of these share a budget: `tenant`, `model`, `route`, `address`, `header:NAME`. All requests share one if empty.
        pub key: Vec<String> = default,
        /// Which requests it counts; all that is given must hold.
        pub matches as "match": Match = default,
        /// How many requests.
        pub requests: Option<Budget>,
        /// How many tokens, input and output together.
        pub tokens: Option<Budget>,
        /// The output tokens to reserve for a request that declares no bound, below the burst; 1024 if absent, or half the burst if that is less.
        pub default_output: Option<u32>,
        /// `true` ends a stream of a request that declares no bound where its output goes beyond `default_output`, by estimate, as if it had been the bound; `false` if absent.
        pub cut_streams: Option<bool>,
        /// How many callers have a budget of their own at once, about; the others share some: 8 to 262144; 8192 if absent.
        pub callers: Option<u32>,
        /// Whose budget it is.
        pub scope: Scope = default,
        /// For `scope: fleet`: what becomes of requests that the engine does not answer for; `local` if absent.
        pub on_error: Option<OnError>,
    }

    /// How much, and how soon it comes back.
    pub struct Budget {
        /// How many in each `per`: 1 to 4294967295. It comes back evenly.
        pub limit: u32,
        /// `1s` to `24h`.
        pub per: String,
        /// How many at once: 1 to 4294967295; the limit if absent.
        pub burst: Option<u32>,
        /// For `scope: fleet`: how many a worker takes ahead of requests to come, 0 to the burst; a hundredth of the burst if absent, 0 with a rate limit service.
        pub lease: Option<u32>,
    }

    /// Who keeps the limits that are the whole fleet's; one of the two.
    pub struct QuotaEngine {
        /// A Redis behind webdis, its HTTP gateway.
        pub webdis: Option<Webdis>,
        /// A service that speaks Envoy's rate limit protocol (`envoy.service.ratelimit.v3`).
        pub rate_limit_service: Option<RateLimitService>,
        /// How long an answer may take: `10ms` to `5s`; `100ms` if absent.
        pub timeout: Option<String>,
    }

    /// A Redis behind webdis.
    pub struct Webdis {
        /// The proxy's cluster through which webdis is reached.
        pub cluster: String,
        /// The host to ask for, as `:authority`; `webdis` if absent.
        pub authority: Option<String>,
        /// What its keys begin with; proxies with the same limits and the same prefix share them. `junheng` if absent.
        pub prefix: Option<String>,
        /// As whom to ask, `user:password`, where webdis asks for it (`http_basic_auth`).
        #[cfg_attr(not(target_arch = "wasm32"), schemars(with = "Option<String>"))]
        pub basic_auth: Option<Secret>,
    }

    /// A rate limit service. Of each limit it is asked about `{limit: NAME, unit: requests or tokens}` and what the limit's `key` names.
    pub struct RateLimitService {
        /// The proxy's cluster through which it is reached, over HTTP/2.
        pub cluster: String,
        /// The host to ask for, as `:authority`; `ratelimit` if absent.
        pub authority: Option<String>,
        /// Its domain; `junheng` if absent.
        pub domain: Option<String>,
    }
}

choices! {
    /// Whose budget a limit is.
    pub enum Scope {
        /// This proxy's: all its workers share it.
        #[default]
        Proxy = "proxy",
        /// That of all proxies that ask the same `quota_engine`.
        Fleet = "fleet",
    }

    /// What becomes of a request while the engine does not answer.
    pub enum OnError {
        /// It takes from a budget of the same size that is this proxy's.
        #[default]
        Local = "local",
        /// It passes, and is not counted.
        Allow = "allow",
        /// It is refused.
        Deny = "deny",
    }
}
