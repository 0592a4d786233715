//! Who keeps the limits that are the whole fleet's.

use std::ops::RangeInclusive;
use std::time::Duration;

use super::checks::{duration, header_text, name};
use super::{At, Result, wrong};
use crate::config::wire;
use crate::config::{EngineProtocol, Quota, QuotaEngine, Secret, Service};
use crate::values::base64;

/// A request may wait for an answer this long.
const TIMEOUT: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_secs(5);
const TIMEOUT_DEFAULT: Duration = Duration::from_millis(100);
const SHOULD_RATE_LIMIT: &str = "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit";

/// Who keeps those of `quotas` that are the fleet's.
pub(super) fn engine(engine: &wire::QuotaEngine, quotas: &[Quota]) -> Result<QuotaEngine> {
    if quotas.iter().all(|quota| quota.fleet.is_none()) {
        return wrong("no limit has `scope: fleet`; leave it out");
    }
    let timeout = duration(engine.timeout.as_deref(), TIMEOUT, TIMEOUT_DEFAULT).at("timeout")?;
    match (&engine.webdis, &engine.rate_limit_service) {
        (Some(asked), None) => webdis(asked, timeout).at("webdis"),
        (None, Some(asked)) => service(asked, timeout).at("rate_limit_service"),
        (None, None) => wrong("is nobody; give `webdis` or `rate_limit_service`"),
        (Some(_), Some(_)) => {
            wrong("is two, `webdis` and `rate_limit_service`; a limit is kept by one")
        }
    }
}

fn webdis(asked: &wire::Webdis, timeout: Duration) -> Result<QuotaEngine> {
    let basic = |user: &Secret| match user.reveal().contains(':') {
        true => Ok(Secret::new(format!(
            "Basic {}",
            base64::encode(user.reveal().as_bytes())
        ))),
        false => wrong("is not `user:password`"),
    };
    let authorization = asked.basic_auth.as_ref().map(basic).transpose();
    Ok(QuotaEngine {
        service: Service {
            cluster: header_text(&asked.cluster).at("cluster")?,
            authority: header_text(asked.authority.as_deref().unwrap_or("webdis"))
                .at("authority")?,
            path: "/".to_owned(),
            timeout,
        },
        protocol: EngineProtocol::Webdis {
            prefix: name(asked.prefix.as_deref().unwrap_or("junheng")).at("prefix")?,
            authorization: authorization.at("basic_auth")?,
        },
    })
}

fn service(asked: &wire::RateLimitService, timeout: Duration) -> Result<QuotaEngine> {
    Ok(QuotaEngine {
        service: Service {
            cluster: header_text(&asked.cluster).at("cluster")?,
            authority: header_text(asked.authority.as_deref().unwrap_or("ratelimit"))
                .at("authority")?,
            path: SHOULD_RATE_LIMIT.to_owned(),
            timeout,
        },
        protocol: EngineProtocol::RateLimitService {
            domain: header_text(asked.domain.as_deref().unwrap_or("junheng")).at("domain")?,
        },
    })
}
