//! The configuration as it is written: the plugin configuration, one JSON object (in Envoy's YAML the text
//! of a `google.protobuf.StringValue`; a `Struct` is handed over as protobuf, not as JSON).
//!
//! These types say what may be written and nothing of what it means; [`super::parse`] turns them into
//! a [`super::Config`]. The JSON Schema is generated from them, so their doc comments are what an
//! editor shows.

use std::fmt;

use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Junheng's plugin configuration.
#[derive(Debug, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
#[cfg_attr(not(target_arch = "wasm32"), schemars(title = "Junheng"))]
pub struct Document {
    /// Groups of endpoints that serve the same models equally well; 1 to 256.
    pub pools: Vec<Pool>,
    /// Rules, tried in order: the first that matches a request decides its pools; 1 to 1024.
    pub routes: Vec<Route>,
    /// Who a caller is.
    #[serde(default)]
    pub identity: Identity,
    /// Bounds on what a request may be.
    #[serde(default)]
    pub limits: Limits,
    /// Who is shown, in the response header `x-junheng-decision`, how the endpoint was chosen.
    #[serde(default)]
    pub decision_header: DecisionHeader,
    /// What becomes of WebSocket upgrades and CONNECT, whose bodies no filter can read.
    #[serde(default)]
    pub upgrades: Upgrades,
}

/// A group of endpoints that serve the same models equally well.
#[derive(Debug, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Pool {
    /// A name for routes, metrics and decisions: 1 to 64 of a-z, 0-9, `_` and `-`.
    pub name: String,
    /// The proxy's cluster that holds the endpoints; the pool's name if absent.
    pub cluster: Option<String>,
    /// The models served here; any model if empty.
    #[serde(default)]
    pub models: Vec<String>,
    /// The longest request that fits, input and output together, in tokens; unbounded if absent.
    pub context_window: Option<u32>,
    /// How an endpoint is chosen.
    #[serde(default)]
    pub balance: Balance,
    /// The model servers; 1 to 4096.
    pub endpoints: Vec<Endpoint>,
}

/// One model server.
#[derive(Debug, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// `ip:port`, as the proxy's cluster has it; IPv6 in brackets.
    pub address: String,
    /// The share of traffic relative to the pool's other endpoints: 0 (drained) to 1000.
    pub weight: Option<u16>,
    /// Where it stands, named like a pool; shown in decisions.
    pub zone: Option<String>,
}

/// How an endpoint of a pool is chosen.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Balance {
    /// The algorithm.
    #[serde(default)]
    pub algorithm: Algorithm,
    /// What `consistent_hash` hashes; only for that algorithm.
    pub hash: Option<Hash>,
}

/// The algorithms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Algorithm {
    /// One endpoint after the other, weights ignored but for 0.
    RoundRobin,
    /// In turn, as often as the weights say, without bursts.
    WeightedRoundRobin,
    /// The fewest requests in flight over weight.
    #[default]
    LeastConnections,
    /// The smallest mean time to first byte, times requests in flight, over weight.
    ResponseTime,
    /// The same key to the same endpoint, unless that one carries more than its bound.
    ConsistentHash,
}

/// What `consistent_hash` hashes.
#[derive(Debug, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Hash {
    /// Where the key comes from. A request that has none goes to a random endpoint.
    pub on: HashOn,
    /// The header's name, for `on: header`.
    pub header: Option<String>,
}

/// Where a hash key comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum HashOn {
    /// A request header.
    Header,
    /// The caller's tenant.
    Tenant,
    /// The start of the prompt, so that prompts with a common start meet a warm prefix cache.
    Prompt,
}

/// A rule: which requests, to which pools.
#[derive(Debug, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// A name for decisions; `route-<index>` if absent.
    pub name: Option<String>,
    /// All that is given must hold; an empty match holds for every request.
    #[serde(default, rename = "match")]
    pub matches: Match,
    /// Model names to rewrite in the body: asked for -> sent upstream.
    #[serde(default)]
    #[cfg_attr(
        not(target_arch = "wasm32"),
        schemars(with = "std::collections::BTreeMap<String, String>")
    )]
    pub alias: Names,
    /// Pools in order of preference: the next is used where one has no candidate.
    pub pools: Vec<String>,
    /// How many endpoints a request may try, the first included: 1 to 8; 3 if absent.
    pub attempts: Option<u8>,
}

/// Which requests a rule is for.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Match {
    /// Model names: `name` (any version), `name@version`, or `*`. Any model, or none, if empty.
    #[serde(default)]
    pub models: Vec<String>,
    /// Bounds on the estimated input.
    pub input_tokens: Option<TokenRange>,
    /// Whether the answer is asked for as a stream.
    pub stream: Option<bool>,
    /// Whether it is a session of the Realtime API (a WebSocket at `…/realtime`).
    pub realtime: Option<bool>,
    /// The request's path, without its query.
    pub path: Option<TextMatch>,
    /// Request headers; each must match.
    #[serde(default)]
    pub headers: Vec<HeaderMatch>,
    /// Tenants, as `identity` tells them; any if empty.
    #[serde(default)]
    pub tenants: Vec<String>,
}

/// A range of tokens; both ends belong to it.
#[derive(Debug, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct TokenRange {
    /// The smallest; 0 if absent.
    pub min: Option<u32>,
    /// The largest; unbounded if absent.
    pub max: Option<u32>,
}

/// A text to compare with: exactly one of the fields.
#[derive(Debug, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct TextMatch {
    /// The whole text.
    pub exact: Option<String>,
    /// Its start.
    pub prefix: Option<String>,
}

/// A header to compare: its name and exactly one of the other fields.
#[derive(Debug, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
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

/// Who a caller is.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// A header that names the tenant. It is believed: something in front must set it, or remove the client's own.
    pub tenant_header: Option<String>,
}

/// Bounds on what a request may be.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// The largest body that is read, in bytes: 1024 to 67108864; 8388608 if absent. The proxy's own buffer must hold it.
    pub body_bytes: Option<u32>,
    /// How many bytes of a prompt's text, from its start, make the key of `hash: {on: prompt}`: 1 to 65536; 1024 if absent.
    pub prompt_key_bytes: Option<u32>,
}

/// Who is shown how a decision was made.
#[derive(Debug, Default, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct DecisionHeader {
    /// Which callers.
    #[serde(default)]
    pub callers: Callers,
    /// The tenants, for `callers: tenants`.
    #[serde(default)]
    pub tenants: Vec<String>,
}

/// A choice of callers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Callers {
    /// Nobody.
    #[default]
    None,
    /// The tenants listed.
    Tenants,
    /// Everybody.
    All,
}

/// What becomes of upgrades and CONNECT.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize)]
#[cfg_attr(not(target_arch = "wasm32"), derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Upgrades {
    /// Routed by what their headers tell, bytes untouched.
    #[default]
    Forward,
    /// Answered 403.
    Refuse,
}

/// Names for names. A name that stands there twice is refused, where a map would take the last.
#[derive(Debug, Default)]
pub struct Names(pub Vec<(String, String)>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Names, D::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = Names;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of names")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Names, A::Error> {
                let mut names: Vec<(String, String)> = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    if names.iter().any(|(known, _)| *known == name) {
                        return Err(Error::custom(format_args!("duplicate field `{name}`")));
                    }
                    names.push((name, map.next_value()?));
                }
                Ok(Names(names))
            }
        }

        deserializer.deserialize_map(Pairs)
    }
}
