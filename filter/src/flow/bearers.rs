//! What a worker knows of bearer tokens, and the requests that wait until it knows more.
//!
//! Most requests find their token among those that were looked at before. A JWT that was not is checked here and
//! now, unless its key is not known; then the issuer's key set may have to be fetched. An opaque token is asked
//! about. Either way the request is held, and told when the answer is there: the flow never waits, it returns.
//! Requests with one token share one question, and as many are held as [`Room`] has places for; more are refused, as is everybody
//! whom an issuer that does not answer leaves unproven.

use std::time::Duration;

use crate::config::{Identity, Introspection};
use crate::identity::bearer::{self, Answer, Digest, Fault, Jwt, KeySet, Remembered, SKEW};
use crate::ports::{Host, Meter};
use crate::report::metrics;
use crate::values::clock::{Instant, UnixTime};

use super::counter::Counter;
use super::errand::{About, Errand, Reply};
use super::keys::{Fetch, Keys};
use super::waiting::{GRACE, Room};

/// What is known of bearer tokens.
pub(super) struct Bearers {
    /// Of each issuer, in the configuration's order.
    keys: Vec<Keys>,
    /// The tenants of tokens whose signatures were checked, or whom their issuers vouched for.
    proven: Remembered<String>,
    /// What was wrong with tokens that issuers did not vouch for.
    refuted: Remembered<Fault>,
    /// What issuers say of tokens, once they have said or failed to.
    waiting: Room<Option<Answer>>,
    /// The tokens that are being asked about, and since when.
    questions: Vec<(Digest, Instant)>,
    /// What is to be asked.
    pub errands: Vec<Errand>,
    /// Counts what is agreed on anew by all workers.
    changes: Option<Meter>,
    counters: [Counter; 4],
}

/// What a held request waits for.
#[derive(Debug)]
pub(super) struct Pending {
    digest: Digest,
    /// For a JWT: itself, without its key.
    jwt: Option<Box<Jwt>>,
}

/// What is found out about a token.
#[derive(Debug)]
pub(super) enum Found {
    /// It speaks for this tenant.
    Tenant(String),
    /// It does not tell who calls.
    Refused(Fault),
    /// Nobody can tell at the moment.
    Unavailable,
    /// That will turn out.
    Waits(Pending),
}

/// A worker has no more questions about tokens under way than this.
const MOST_QUESTIONS: usize = 64;
/// How many verified JWTs a worker remembers.
const VERIFIED: usize = 1024;
/// How many refuted tokens.
const REFUTED: usize = 256;
/// How long a JWT's verification is taken for granted, if neither it ends nor its issuer's keys change before.
const VERIFIED_FOR: Duration = Duration::from_secs(300);
/// How long a token that is not in force is not asked about again. Short, for a token may be used before its
/// issuer has written it everywhere.
const REFUTED_FOR: Duration = Duration::from_secs(5);
impl Bearers {
    /// Knows nothing but what other workers have fetched.
    pub fn new(config: &Identity, changes: Option<Meter>, host: &mut dyn Host) -> Bearers {
        let cached = config.introspection.as_ref();
        let cached = cached.map_or(0, |introspection| introspection.cache_entries);
        Bearers {
            keys: config
                .issuers
                .iter()
                .map(|issuer| Keys::new(issuer, host))
                .collect(),
            proven: Remembered::new(cached.max(VERIFIED)),
            refuted: Remembered::new(REFUTED),
            waiting: Room::default(),
            questions: Vec::new(),
            errands: Vec::new(),
            changes,
            counters: [
                metrics::KEY_FETCHES,
                metrics::KEY_FETCHES_FAILED,
                metrics::INTROSPECTIONS,
                metrics::INTROSPECTIONS_FAILED,
            ]
            .map(|name| Counter::define(host, name)),
        }
    }

    /// Finds out about the token of `stream`.
    pub fn look(
        &mut self,
        token: &str,
        stream: u32,
        config: &Identity,
        host: &mut dyn Host,
    ) -> Found {
        let now = host.now();
        let digest = bearer::digest(token);
        if let Some(tenant) = self.proven.find(&digest, now) {
            return Found::Tenant(tenant.clone());
        }
        if let Some(fault) = self.refuted.find(&digest, now) {
            return Found::Refused(*fault);
        }
        match &config.introspection {
            Some(introspection) if config.issuers.is_empty() || !bearer::is_jwt(token) => {
                self.ask(token, digest, stream, introspection, now)
            }
            _ => self.verify_or_fetch(token, digest, stream, config, now, host),
        }
    }

    /// What came of a held request's wait; `None` if it still waits.
    pub fn answer(&mut self, stream: u32, pending: &Pending, host: &mut dyn Host) -> Option<Found> {
        let answer = self.waiting.answer(stream)?;
        let now = host.now();
        Some(match (&pending.jwt, answer) {
            (Some(jwt), _) => match self.verify(jwt, pending.digest, now, host) {
                Err(Fault::UnknownKey) => self.unknown_key(jwt.issuer, host),
                Err(fault) => Found::Refused(fault),
                Ok(()) => Found::Tenant(jwt.tenant.clone()),
            },
            (None, Some(Answer::Active { tenant, .. })) => Found::Tenant(tenant),
            (None, Some(Answer::Inactive(fault))) => Found::Refused(fault),
            (None, None) => Found::Unavailable,
        })
    }

    /// A held request is gone.
    pub fn leave(&mut self, stream: u32) {
        self.waiting.leave(stream);
    }

    /// The streams whose answers have come, since the last time.
    pub fn woken(&mut self) -> Vec<u32> {
        self.waiting.woken()
    }

    /// An errand has come to its end; `None` if it ended without an answer.
    pub fn on_reply(
        &mut self,
        about: About,
        reply: Option<&Reply>,
        config: &Identity,
        host: &mut dyn Host,
    ) {
        let body = reply.filter(|reply| reply.status == 200);
        let body = body.map(|reply| reply.body.as_slice());
        let now = host.now();
        match about {
            About::Keys(place) => {
                let document = body.filter(|body| KeySet::parse(body).is_some());
                self.count(0, document.is_none());
                if let Some(keys) = self.keys.get(place) {
                    keys.publish(document, now, host);
                }
                if let Some(changes) = self.changes {
                    host.add(changes, 1);
                }
                self.follow(host);
                self.waiting.wake(about, &None);
            }
            About::Token(digest) => {
                let asked = config.introspection.as_ref();
                let answer = asked.zip(body).zip(host.wall());
                let answer = answer.and_then(|((asked, body), wall)| {
                    let answer = bearer::answer(body, &asked.audiences, &asked.tenant_claim, wall)?;
                    self.remember(digest, &answer, asked.cache, (now, wall));
                    Some(answer)
                });
                self.count(2, answer.is_none());
                self.questions.retain(|(asked, _)| *asked != digest);
                self.waiting.wake(about, &answer);
            }
            About::Endpoint { .. } | About::Limits(_) => {}
        }
    }

    /// Time has passed.
    pub fn on_tick(&mut self, config: &Identity, leads: bool, now: Instant, host: &mut dyn Host) {
        for (place, (keys, issuer)) in self.keys.iter().zip(&config.issuers).enumerate() {
            if leads
                && keys.is_due(issuer, now, host)
                && keys.claim(issuer, now, host) == Fetch::Ours
            {
                self.errands.push(Errand::for_keys(place, issuer));
            }
        }
        if self.waiting.is_empty() {
            return;
        }
        // Of what another worker fetches no reply comes here: it is there, or has become too late.
        self.follow(host);
        for (place, issuer) in config.issuers.iter().enumerate() {
            let about = About::Keys(place);
            let waits = self.waiting.awaits(about);
            let keys = self.keys.get(place);
            if waits && keys.is_some_and(|keys| !keys.is_awaited(issuer, now, host)) {
                self.waiting.wake(about, &None);
            }
        }
        if let Some(asked) = &config.introspection {
            let patience = asked.service.timeout.saturating_add(GRACE);
            let late = |since: Instant| now.since(since) >= patience;
            let questions = std::mem::take(&mut self.questions);
            let (late, going): (Vec<_>, Vec<_>) =
                questions.into_iter().partition(|(_, since)| late(*since));
            self.questions = going;
            for (digest, _) in late {
                self.waiting.wake(About::Token(digest), &None);
            }
        }
    }

    /// Reads the key sets that were fetched anew. What was verified under the last ones is to be verified again: a
    /// key that was withdrawn proves nothing.
    pub fn follow(&mut self, host: &mut dyn Host) {
        let changed = self.keys.iter_mut().map(|keys| keys.follow(host));
        if changed.fold(false, |any, changed| any | changed) {
            self.proven.clear();
        }
    }

    /// No answer will come any more.
    pub fn give_up(&mut self) {
        self.waiting.wake_all(&None);
    }

    /// Tells the host what was counted.
    pub fn tell_counts(&mut self, host: &mut dyn Host) {
        self.counters
            .iter_mut()
            .for_each(|counter| counter.tell(host));
    }

    #[cold]
    #[inline(never)]
    fn verify_or_fetch(
        &mut self,
        token: &str,
        digest: Digest,
        stream: u32,
        config: &Identity,
        now: Instant,
        host: &mut dyn Host,
    ) -> Found {
        let Some(wall) = host.wall() else {
            return Found::Unavailable;
        };
        let jwt = match Jwt::read(token, &config.issuers, wall) {
            Ok(jwt) => jwt,
            Err(fault) => return Found::Refused(fault),
        };
        let mut outcome = self.verify(&jwt, digest, now, host);
        if outcome == Err(Fault::UnknownKey) {
            // Another worker may have fetched it since the last tick.
            self.follow(host);
            outcome = self.verify(&jwt, digest, now, host);
        }
        match outcome {
            Ok(()) => return Found::Tenant(jwt.tenant),
            Err(Fault::UnknownKey) => {}
            Err(fault) => return Found::Refused(fault),
        }
        let place = jwt.issuer;
        let Some((keys, issuer)) = self.keys.get(place).zip(config.issuers.get(place)) else {
            return Found::Unavailable;
        };
        if self.waiting.is_full() {
            return Found::Unavailable;
        }
        match keys.claim(issuer, now, host) {
            Fetch::Rests => return self.unknown_key(place, host),
            Fetch::Ours => self.errands.push(Errand::for_keys(place, issuer)),
            Fetch::Theirs => {}
        }
        self.waiting.hold(stream, About::Keys(place));
        Found::Waits(Pending {
            digest,
            jwt: Some(Box::new(jwt)),
        })
    }

    /// A key that is not known is unknown, unless the issuer could not be asked.
    fn unknown_key(&self, place: usize, host: &mut dyn Host) -> Found {
        let keys = self.keys.get(place);
        match keys.is_none_or(|keys| keys.is_unreachable(host)) {
            true => Found::Unavailable,
            false => Found::Refused(Fault::UnknownKey),
        }
    }

    fn verify(
        &mut self,
        jwt: &Jwt,
        digest: Digest,
        now: Instant,
        host: &mut dyn Host,
    ) -> Result<(), Fault> {
        let keys = self.keys.get(jwt.issuer).ok_or(Fault::UnknownKey)?;
        jwt.verify(keys.set())?;
        if let Some(wall) = host.wall() {
            let until = now.after(VERIFIED_FOR.min(left(jwt.expires, wall)));
            self.proven.keep(digest, jwt.tenant.clone(), until);
        }
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn ask(
        &mut self,
        token: &str,
        digest: Digest,
        stream: u32,
        asked: &Introspection,
        now: Instant,
    ) -> Found {
        let about = About::Token(digest);
        let shared = self.questions.iter().any(|(asked, _)| *asked == digest);
        if self.waiting.is_full() || (!shared && self.questions.len() >= MOST_QUESTIONS) {
            return Found::Unavailable;
        }
        if !shared {
            self.questions.push((digest, now));
            self.errands.push(Errand::about_token(token, digest, asked));
        }
        self.waiting.hold(stream, about);
        Found::Waits(Pending { digest, jwt: None })
    }

    fn remember(
        &mut self,
        digest: Digest,
        answer: &Answer,
        most: Duration,
        (now, wall): (Instant, UnixTime),
    ) {
        match answer {
            Answer::Active { tenant, expires } => {
                let left = expires.map_or(most, |expires| left(expires, wall));
                let until = now.after(most.min(left));
                self.proven.keep(digest, tenant.clone(), until);
            }
            Answer::Inactive(fault) => {
                let until = now.after(most.min(REFUTED_FOR));
                self.refuted.keep(digest, *fault, until);
            }
        }
    }

    /// Counts a question, and whether it failed.
    fn count(&mut self, which: usize, failed: bool) {
        let counters = self.counters.iter_mut().skip(which);
        for counter in counters.take(if failed { 2 } else { 1 }) {
            counter.add(1);
        }
    }
}

/// How long something that ends at `expires` still lasts, by the clock that is behind as far as it may be.
fn left(expires: UnixTime, wall: UnixTime) -> Duration {
    Duration::from_secs(expires.0.saturating_add(SKEW).saturating_sub(wall.0))
}
