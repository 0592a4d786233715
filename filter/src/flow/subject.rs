//! A request as rules, limits and balancers look at it.

use crate::config::{Config, HashKey};
use crate::identity;
use crate::request::Facts;
use crate::route::Query;
use crate::values::headers::Headers;
use crate::values::murmur3::murmur3_32;
use crate::values::units::Tokens;

use super::quota::EngineAnswer;
use super::request::{Asked, Kind};

/// A request as rules and balancers look at it.
pub(super) struct Subject<'a> {
    pub(super) headers: &'a Headers,
    pub(super) facts: Option<&'a Facts>,
    /// The model asked for.
    pub(super) model: Option<&'a str>,
    realtime: bool,
    pub(super) tenant: Option<&'a str>,
    /// How often the engine was asked for its limits, and what it says.
    pub(super) limits: (u8, Option<EngineAnswer>),
}

impl<'a> Subject<'a> {
    pub(super) fn new(config: &Config, asked: &'a Asked, facts: Option<&'a Facts>) -> Subject<'a> {
        let (model, realtime) = match &asked.kind {
            Kind::Body(_) => (facts.map(|facts| facts.model.as_str()), false),
            Kind::Realtime(model) => (model.as_deref(), true),
            Kind::Plain => (None, false),
        };
        Subject {
            headers: &asked.headers,
            facts,
            model,
            realtime,
            limits: asked.limits.so_far(),
            tenant: match &asked.caller.tenant {
                Some(proven) => Some(proven),
                None => identity::believed(config, &asked.headers),
            },
        }
    }

    pub(super) fn query(&self, input: Option<Tokens>) -> Query<'a> {
        let path = self.headers.first(":path").unwrap_or_default();
        Query {
            model: self.model,
            input,
            stream: self.facts.map(|facts| facts.stream),
            realtime: self.realtime,
            path: path.split(|&byte| byte == b'?').next().unwrap_or_default(),
            headers: self.headers,
            tenant: self.tenant,
        }
    }

    /// The key that `consistent_hash` is to hash.
    pub(super) fn key(&self, from: Option<&HashKey>) -> Option<u64> {
        match from? {
            HashKey::Header(name) => self.headers.first(name).map(key),
            HashKey::Tenant => self.tenant.map(|tenant| key(tenant.as_bytes())),
            HashKey::Prompt => self.facts.map(|facts| facts.prompt_key),
        }
    }
}

fn key(bytes: &[u8]) -> u64 {
    murmur3_32(bytes, 0).into()
}
