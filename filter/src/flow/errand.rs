//! What a worker asks of others over HTTP, beside the requests that it forwards.
//!
//! The leader asks endpoints whether they are well, and what their metrics say. Each endpoint is asked once per interval by the whole proxy. Its turns are laid out on the clock all
//! workers read, shifted by a phase that follows from its address: a hundred endpoints are not asked at
//! once, and a new leader goes on where the old one was, without asking twice. What is asked of the issuers
//! of bearer tokens, and when, is [`super::bearers`]'.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::balance::View;
use crate::config::{EngineProtocol, Introspection, Issuer, Pool, QuotaEngine, Service};
use crate::identity::bearer::{self, Digest};
use crate::ports::Host;
use crate::values::clock::Instant;
use crate::values::murmur3::murmur3_32;

use super::turns;
use super::verdict::DESTINATION;

/// A request of the worker's own.
#[derive(Clone, PartialEq, Eq)]
pub struct Errand {
    /// Whom and what it is about.
    pub(super) about: About,
    /// The proxy's cluster.
    pub cluster: String,
    /// The request's headers.
    pub headers: Vec<(&'static str, String)>,
    /// The request's body; none if empty.
    pub body: Vec<u8>,
    /// How long the answer may take.
    pub timeout: Duration,
}

/// Without headers and body, which hold secrets.
impl fmt::Debug for Errand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Errand({:?} to {})", self.about, self.cluster)
    }
}

/// What an errand is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// An endpoint, by its pool's place and its own.
    Endpoint {
        pool: usize,
        endpoint: usize,
        what: What,
    },
    /// The key set of an issuer, by its place.
    Keys(usize),
    /// A bearer token.
    Token(Digest),
    /// Limits of the fleet, by the number of the question.
    Limits(u32),
}

/// What is asked of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Check,
    Metrics,
}

/// The answer to an errand; the proxy's own if the endpoint gave none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The body, if [`Errand::wants_body`].
    pub body: Vec<u8>,
}

impl Errand {
    /// The request for the key set of the issuer at `place`.
    pub(super) fn for_keys(place: usize, issuer: &Issuer) -> Errand {
        let headers = vec![(":method", "GET".to_owned()), accepts_json()];
        Errand::to(&issuer.keys, About::Keys(place), headers, Vec::new())
    }

    /// The request that asks about `token`, whose digest is given.
    pub(super) fn about_token(token: &str, digest: Digest, asked: &Introspection) -> Errand {
        let headers = vec![
            (":method", "POST".to_owned()),
            accepts_json(),
            ("authorization", asked.authorization.reveal().to_owned()),
            (
                "content-type",
                "application/x-www-form-urlencoded".to_owned(),
            ),
        ];
        let body = bearer::form(token).into_bytes();
        Errand::to(&asked.service, About::Token(digest), headers, body)
    }

    /// The question `number` about limits of the fleet.
    pub(super) fn about_limits(number: u32, engine: &QuotaEngine, body: Vec<u8>) -> Errand {
        let mut headers = vec![(":method", "POST".to_owned())];
        match &engine.protocol {
            EngineProtocol::Webdis { authorization, .. } => {
                let shown = authorization.as_ref();
                headers.extend(shown.map(|shown| ("authorization", shown.reveal().to_owned())));
            }
            EngineProtocol::RateLimitService { .. } => headers.extend([
                ("content-type", "application/grpc".to_owned()),
                ("te", "trailers".to_owned()),
            ]),
        }
        Errand::to(&engine.service, About::Limits(number), headers, body)
    }

    fn to(
        service: &Service,
        about: About,
        mut headers: Vec<(&'static str, String)>,
        body: Vec<u8>,
    ) -> Errand {
        headers.extend([
            (":path", service.path.clone()),
            (":authority", service.authority.clone()),
            ("user-agent", "junheng".to_owned()),
        ]);
        Errand {
            about,
            cluster: service.cluster.clone(),
            headers,
            body,
            timeout: service.timeout,
        }
    }

    /// Whether the answer's body is of use.
    pub fn wants_body(&self) -> bool {
        let check = matches!(
            self.about,
            About::Endpoint {
                what: What::Check,
                ..
            }
        );
        !check
    }
}

fn accepts_json() -> (&'static str, String) {
    ("accept", "application/json".to_owned())
}

/// Which turns of a pool's endpoints have been taken.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    checks: Vec<Option<u64>>,
    metrics: Vec<Option<u64>>,
}

/// What is asked of each endpoint of a pool, and how often.
struct Question<'a> {
    what: What,
    /// Its name among those that several configurations ask.
    name: u64,
    cluster: &'a str,
    path: &'a str,
    /// The port, where it is not the endpoint's.
    port: Option<u16>,
    every: Duration,
    timeout: Duration,
}

/// How long an exposition may take: it is wanted for a refresh every few seconds.
const METRICS_TIMEOUT: Duration = Duration::from_secs(2);

impl Rounds {
    /// Adds what is due now. The first look only finds out whose turn it is.
    pub fn due(
        &mut self,
        pool: usize,
        config: &Pool,
        view: &View,
        now: Instant,
        (errands, host): (&mut Vec<Errand>, &mut dyn Host),
    ) {
        let mut ask = |turns: &mut Vec<Option<u64>>, question: &Question<'_>| {
            turns.resize(view.len(), None);
            for (endpoint, turn) in turns.iter_mut().enumerate() {
                let address = view.address(endpoint).unwrap_or_default();
                let this = turn_at(address, question.every, now);
                let last = turn.replace(this);
                if last.is_some_and(|last| last != this)
                    && turns::take((&config.name, address), question.name, this, host)
                {
                    let its = config.endpoints.get(endpoint);
                    let exporter = its
                        .zip(question.port)
                        .map(|(its, port)| with_port(its.address, port));
                    errands.push(Errand {
                        about: About::Endpoint {
                            pool,
                            endpoint,
                            what: question.what,
                        },
                        cluster: question.cluster.to_owned(),
                        headers: headers(question.path, exporter.as_deref().unwrap_or(address)),
                        body: Vec::new(),
                        timeout: question.timeout,
                    });
                }
            }
        };
        if let Some(check) = &config.check {
            let question = Question {
                what: What::Check,
                name: turns::question(check),
                cluster: &config.cluster,
                path: &check.path,
                port: None,
                every: check.interval,
                timeout: check.timeout,
            };
            ask(&mut self.checks, &question);
        }
        let load = config.load.as_ref();
        if let Some((load, page)) = load.and_then(|load| Some((load, load.metrics.as_ref()?))) {
            let question = Question {
                what: What::Metrics,
                name: turns::question(load),
                cluster: &page.cluster,
                path: &page.path,
                port: page.port,
                every: load.interval,
                timeout: METRICS_TIMEOUT,
            };
            ask(&mut self.metrics, &question);
        }
    }

    /// Somebody else takes the turns, or has taken them.
    pub fn leave(&mut self) {
        self.checks.clear();
        self.metrics.clear();
    }
}

/// The endpoint's address with another port: an exporter beside the server.
fn with_port(mut address: SocketAddr, port: u16) -> String {
    address.set_port(port);
    address.to_string()
}

/// The number of the turn of `address` that `now` lies in.
fn turn_at(address: &str, every: Duration, now: Instant) -> u64 {
    let every = u64::try_from(every.as_nanos()).unwrap_or(u64::MAX).max(1);
    let phase = u128::from(murmur3_32(address.as_bytes(), 0)).saturating_mul(every.into()) >> 32;
    now.as_nanos()
        .saturating_add(phase as u64)
        .checked_div(every)
        .unwrap_or_default()
}

fn headers(path: &str, address: &str) -> Vec<(&'static str, String)> {
    let pair = |name, value: &str| (name, value.to_owned());
    vec![
        pair(":method", "GET"),
        pair(":path", path),
        pair(":authority", address),
        pair("user-agent", "junheng"),
        pair(DESTINATION, address),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_are_an_interval_apart_and_spread_over_it() {
        let every = Duration::from_secs(10);
        let starts: Vec<u64> = (0..100)
            .map(|n| {
                let address = format!("10.0.0.{n}:80");
                let turn =
                    |second| turn_at(&address, every, Instant::from_nanos(second * 1_000_000_000));
                let begins: Vec<u64> = (1..=60).filter(|s| turn(*s) != turn(s - 1)).collect();
                assert!(
                    begins.windows(2).all(|pair| pair[1] - pair[0] == 10),
                    "{begins:?}"
                );
                assert_eq!(begins.len(), 6);
                begins[0]
            })
            .collect();
        for second in 1..=10 {
            let at_once = starts.iter().filter(|start| **start == second).count();
            assert!(at_once < 25, "{at_once} of 100 in second {second}");
        }
    }
}
