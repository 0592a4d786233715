//! Whose bearer tokens are accepted.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::checks::{duration, each, header_text, unique, url_path, within};
use super::{At, Result, wrong};
use crate::config::wire;
use crate::config::{Introspection, Issuer, Secret, Service, SignatureAlgorithm};
use crate::values::{base64, form};

const ISSUERS: usize = 16;
const AUDIENCES: usize = 32;
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
/// Not more often than a key that is not known may have it fetched.
const REFRESH: RangeInclusive<Duration> = Duration::from_secs(10)..=HOUR.saturating_mul(24);
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(30);
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);
const CACHE_ENTRIES: RangeInclusive<u32> = 16..=65_536;

pub(super) fn issuers(issuers: &[wire::Jwt]) -> Result<Vec<Issuer>> {
    if cfg!(not(feature = "jwt")) && !issuers.is_empty() {
        return wrong("this build has no JWT signatures (feature `jwt`); leave it out");
    }
    let parsed = each(0..=ISSUERS, issuers, &issuer)?;
    unique("issuer", parsed.iter().map(|issuer| issuer.name.as_str()))?;
    Ok(parsed)
}

fn issuer(issuer: &wire::Jwt) -> Result<Issuer> {
    let all = || {
        vec![
            SignatureAlgorithm::Rs256,
            SignatureAlgorithm::Es256,
            SignatureAlgorithm::EdDsa,
        ]
    };
    let algorithms = issuer.algorithms.clone().unwrap_or_else(all);
    if algorithms.is_empty() {
        return wrong("is empty; list what tokens are signed with, or leave it out")
            .at("algorithms");
    }
    let keys = &issuer.jwks;
    Ok(Issuer {
        name: text(&issuer.issuer).at("issuer")?,
        audiences: each(1..=AUDIENCES, &issuer.audiences, &|audience| text(audience))
            .at("audiences")?,
        algorithms,
        keys: service(&keys.cluster, &keys.authority, &keys.path, &keys.timeout).at("jwks")?,
        refresh: duration(keys.refresh.as_deref(), REFRESH, MINUTE.saturating_mul(10))
            .at("refresh")
            .at("jwks")?,
        tenant_claim: text(issuer.tenant_claim.as_deref().unwrap_or("sub")).at("tenant_claim")?,
    })
}

pub(super) fn introspection(asked: &wire::Introspection) -> Result<Introspection> {
    let (id, secret) = (
        text(&asked.client_id).at("client_id")?,
        asked.client_secret.reveal(),
    );
    if secret.is_empty() {
        return wrong("is empty; give the client's secret at the issuer").at("client_secret");
    }
    // RFC 6749 §2.3.1: both escaped as in a form, so that a colon in one is none between them.
    let credentials = format!("{}:{}", form::escape(&id), form::escape(secret));
    Ok(Introspection {
        service: service(
            &asked.cluster,
            &asked.authority,
            &asked.path,
            &asked.timeout,
        )?,
        authorization: Secret::new(format!("Basic {}", base64::encode(credentials.as_bytes()))),
        audiences: each(0..=AUDIENCES, &asked.audiences, &|audience| text(audience))
            .at("audiences")?,
        tenant_claim: text(asked.tenant_claim.as_deref().unwrap_or("client_id"))
            .at("tenant_claim")?,
        cache: duration(asked.cache.as_deref(), Duration::ZERO..=HOUR, MINUTE).at("cache")?,
        cache_entries: within(asked.cache_entries, CACHE_ENTRIES, 1024).at("cache_entries")?
            as usize,
    })
}

fn service(
    cluster: &str,
    authority: &str,
    path: &str,
    timeout: &Option<String>,
) -> Result<Service> {
    Ok(Service {
        cluster: header_text(cluster).at("cluster")?,
        authority: header_text(authority).at("authority")?,
        path: url_path(path).at("path")?,
        timeout: duration(timeout.as_deref(), TIMEOUT, TIMEOUT_DEFAULT).at("timeout")?,
    })
}

fn text(text: &str) -> Result<String> {
    match text {
        "" => wrong("is empty; write it as the issuer does"),
        text => Ok(text.to_owned()),
    }
}
