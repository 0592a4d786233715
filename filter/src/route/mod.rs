//! From a request to its pools: the first rule that matches, and of its pools, in their order, those
//! that serve the model and whose context window holds the request.
//!
//! The first match decides even if none of its pools can take the request: a later, wider rule is not
//! asked, so that a rule which is meant to refuse can be written.

use crate::config::{Config, HeaderPattern, Match, PoolId, Route, RouteId};
use crate::values::headers::Headers;
use crate::values::units::Tokens;

/// What rules look at.
pub struct Query<'a> {
    /// The model asked for; `None` where the request names none.
    pub model: Option<&'a str>,
    /// The estimated input; `None` where there is no prompt.
    pub input: Option<Tokens>,
    /// Whether the answer is asked for as a stream; `None` where there is no body to say so.
    pub stream: Option<bool>,
    /// Whether it opens a Realtime session.
    pub realtime: bool,
    /// The path, without its query.
    pub path: &'a [u8],
    /// The request's headers.
    pub headers: &'a Headers,
    /// The caller's tenant.
    pub tenant: Option<&'a str>,
}

/// The first rule that matches.
pub fn rule<'c>(config: &'c Config, query: &Query<'_>) -> Option<(RouteId, &'c Route)> {
    let mut rules = config.routes.iter().enumerate();
    rules
        .find(|(_, route)| matches(&route.matches, query))
        .map(|(index, route)| (RouteId(index), route))
}

/// Whether all that `rule` asks for holds.
pub fn matches(rule: &Match, query: &Query<'_>) -> bool {
    let model = rule.models.is_empty()
        || query
            .model
            .is_some_and(|model| rule.models.iter().any(|pattern| pattern.matches(model)));
    let input = rule.input.is_none_or(|(min, max)| {
        query
            .input
            .is_some_and(|input| (min..=max).contains(&input))
    });
    let tenant = rule.tenants.is_empty()
        || query
            .tenant
            .is_some_and(|tenant| rule.tenants.iter().any(|known| known == tenant));
    model
        && input
        && tenant
        && rule
            .stream
            .is_none_or(|stream| query.stream == Some(stream))
        && rule
            .realtime
            .is_none_or(|realtime| query.realtime == realtime)
        && rule
            .path
            .as_ref()
            .is_none_or(|pattern| pattern.matches(query.path))
        && rule
            .headers
            .iter()
            .all(|(name, pattern)| header_matches(name, pattern, query.headers))
}

fn header_matches(name: &str, pattern: &HeaderPattern, headers: &Headers) -> bool {
    match pattern {
        HeaderPattern::Present(present) => headers.first(name).is_some() == *present,
        HeaderPattern::Value(pattern) => headers.all(name).any(|value| pattern.matches(value)),
    }
}

/// Why a pool cannot take a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// It does not serve the model.
    Model,
    /// Its context window, given here, is too small.
    Window(Tokens),
}

/// Whether `pool` can take a request for `model` that needs room for `need` tokens, input and output.
///
/// A request that names no model, or has no prompt, fits everywhere.
pub fn fit(
    config: &Config,
    pool: PoolId,
    model: Option<&str>,
    need: Option<Tokens>,
) -> Result<(), Unfit> {
    let Some(pool) = config.pool(pool) else {
        return Err(Unfit::Model);
    };
    if model.is_some_and(|model| !pool.serves(model)) {
        return Err(Unfit::Model);
    }
    match (pool.context_window, need) {
        (Some(window), Some(need)) if !pool.fits(need) => Err(Unfit::Window(window)),
        _ => Ok(()),
    }
}
