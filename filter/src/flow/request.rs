//! A request's way in: its headers, then its body if the decision needs it.

use crate::config::{Config, Upgrades};
use crate::ports::Host;
use crate::request::{Api, is_realtime, realtime_model};
use crate::values::headers::Headers;

use super::caller::{self, Caller};
use super::held::HeldBytes;
use super::quota::EngineAnswer;
use super::verdict::{Refusal, Verdict};
use super::{Stream, Worker};

/// What is kept of a request's headers while its body is awaited: all of them, or if they are larger what
/// rules and keys look at.
const HELD_HEADER_BYTES: usize = 8 * 1024;

/// What the headers ask for, kept until the body is complete.
pub(super) struct Asked {
    pub(super) headers: Headers,
    pub(super) kind: Kind,
    pub(super) caller: Caller,
    pub(super) limits: Asking,
    /// Whether the method is `CONNECT`.
    pub(super) connects: bool,
    /// Whether the decision needs a body that is still to come.
    pub(super) body_follows: bool,
    /// What its headers take of the VM's memory, once it is held.
    held: Option<HeldBytes>,
}

/// Whether the fleet's limits have been asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Asking {
    /// They have not, or need not.
    #[default]
    No,
    /// An answer is awaited, for the so-many-th time.
    Waits(u8),
    /// It has come.
    Answered(u8, EngineAnswer),
}

impl Asking {
    /// How often, and what was answered, if that is known.
    pub(super) fn so_far(self) -> (u8, Option<EngineAnswer>) {
        match self {
            Asking::No => (0, None),
            Asking::Waits(questions) => (questions, None),
            Asking::Answered(questions, answer) => (questions, Some(answer)),
        }
    }
}

/// What can be known of a request.
pub(super) enum Kind {
    /// A body with facts in it.
    Body(Api),
    /// A Realtime session, for the model that its query names.
    Realtime(Option<String>),
    /// Neither: its headers are all there is to go by.
    Plain,
}

impl Stream {
    /// The request's headers are there; `end` if nothing follows them.
    pub fn on_request_headers(
        &mut self,
        worker: &mut Worker,
        headers: Headers,
        end: bool,
        host: &mut dyn Host,
    ) -> Verdict {
        let caller = match worker.config.identity.is_open() {
            true => Caller::default(),
            false => match caller::admit(worker, self.id, &headers, host) {
                Ok(caller) => caller,
                Err(refusal) => return worker.refuse(refusal, host),
            },
        };
        let kind = match kind(&worker.config, &headers) {
            Ok(kind) => kind,
            Err(refusal) => return worker.refuse(refusal, host),
        };
        // Behind an upgrade there is no body that anybody could sign.
        let signed = caller.needs_body() && !is_upgrade(&headers);
        let body_follows = (matches!(kind, Kind::Body(_)) || signed) && !end;
        let waits = body_follows || caller.pending.is_some();
        let connects = is_connect(&headers);
        let asked = Asked {
            headers,
            kind,
            caller,
            limits: Asking::No,
            connects,
            body_follows,
            held: None,
        };
        if waits {
            return self.hold(asked, worker, host);
        }
        self.decide(worker, asked, &[], host)
    }

    /// Keeps what the headers ask for until more is known.
    pub(super) fn hold(
        &mut self,
        mut asked: Asked,
        worker: &mut Worker,
        host: &mut dyn Host,
    ) -> Verdict {
        if asked.headers.size() > HELD_HEADER_BYTES {
            asked.headers = asked.headers.only(|name| worker.config.looks_at(name));
        }
        if asked.headers.size() > HELD_HEADER_BYTES {
            return worker.refuse(Refusal::headers_too_large(HELD_HEADER_BYTES), host);
        }
        if asked.held.is_none() {
            asked.held = worker.held.take(asked.headers.memory());
        }
        if asked.held.is_none() {
            return worker.refuse(Refusal::too_many_held(), host);
        }
        self.asked = Some(asked);
        Verdict::Hold
    }

    /// Whether somebody else is still to tell who calls, or what is left of a limit: the request and all of its body
    /// must be held, and [`Stream::on_request_body`] not be called, until [`Stream::on_answer`] has been.
    pub fn awaits_answer(&self) -> bool {
        self.asked.as_ref().is_some_and(Asked::awaits_answer)
    }

    /// An answer may be there that the request waits for. [`Verdict::Hold`] if it is not, or if the body is still
    /// awaited: one that is complete is then to be handed over.
    pub fn on_answer(&mut self, worker: &mut Worker, host: &mut dyn Host) -> Verdict {
        let Some(asked) = &mut self.asked else {
            return Verdict::Hold;
        };
        if let Asking::Waits(questions) = asked.limits {
            let quotas = worker.quotas.as_mut();
            match quotas.and_then(|quotas| quotas.answer(self.id)) {
                None => return Verdict::Hold,
                Some(answer) => asked.limits = Asking::Answered(questions, answer),
            }
            return self.go_on(worker, host);
        }
        let pending = asked.caller.pending.as_ref();
        let found = pending
            .zip(worker.bearers.as_mut())
            .and_then(|(pending, bearers)| bearers.answer(self.id, pending, host));
        match found.map(caller::by_token) {
            None => return Verdict::Hold,
            Some(Ok(caller)) => asked.caller = caller,
            Some(Err(refusal)) => {
                self.asked = None;
                return worker.refuse(refusal, host);
            }
        }
        self.go_on(worker, host)
    }

    /// Decides what needs no body.
    fn go_on(&mut self, worker: &mut Worker, host: &mut dyn Host) -> Verdict {
        match self.asked.take_if(|asked| !asked.body_follows) {
            Some(asked) => self.decide(worker, asked, &[], host),
            None => Verdict::Hold,
        }
    }

    /// Whether the body is awaited: what comes of it must be held, and handed over when it is complete.
    pub fn awaits_body(&self) -> bool {
        self.asked.is_some()
    }

    /// More of an awaited body is there, `size` bytes so far, and it is not complete.
    pub fn on_request_body_growing(
        &mut self,
        worker: &mut Worker,
        size: usize,
        host: &mut dyn Host,
    ) -> Verdict {
        let limit = worker.config.body_limit;
        let is_read = self.asked.as_ref().is_none_or(|asked| asked.body_follows);
        if size <= limit || !is_read {
            return Verdict::Hold;
        }
        self.asked = None;
        worker.refuse(Refusal::too_large(limit), host)
    }

    /// An awaited body is complete.
    pub fn on_request_body(
        &mut self,
        worker: &mut Worker,
        body: &[u8],
        host: &mut dyn Host,
    ) -> Verdict {
        match self.asked.take() {
            Some(_) if body.len() > worker.config.body_limit => {
                worker.refuse(Refusal::too_large(worker.config.body_limit), host)
            }
            Some(asked) => self.decide(worker, asked, body, host),
            None => worker.refuse(Refusal::unreadable(), host),
        }
    }

    /// The proxy did not hand over the request's headers or body.
    pub fn on_unreadable_request(&mut self, worker: &mut Worker, host: &mut dyn Host) -> Verdict {
        self.asked = None;
        worker.refuse(Refusal::unreadable(), host)
    }
}

impl Asked {
    fn awaits_answer(&self) -> bool {
        self.caller.pending.is_some() || matches!(self.limits, Asking::Waits(_))
    }
}

/// What kind of request the headers begin.
fn kind(config: &Config, headers: &Headers) -> Result<Kind, Refusal> {
    let path = headers.first(":path").unwrap_or_default();
    let method = headers.first(":method").unwrap_or_default();
    let api = Api::of_path(path).filter(|_| method == b"POST");
    let upgrade = is_upgrade(headers);
    match (api, upgrade) {
        // A body behind an upgrade cannot be read, and a server that ignores the upgrade would read it.
        (Some(_), true) => Err(Refusal::upgrade()),
        (None, true) if config.upgrades == Upgrades::Refuse => Err(Refusal::upgrade()),
        (None, true) if is_realtime(path) => realtime_model(path)
            .map(Kind::Realtime)
            .map_err(|error| Refusal::body(&error)),
        (None, _) => Ok(Kind::Plain),
        (Some(api), false) => readable(config, headers).map(|()| Kind::Body(api)),
    }
}

fn is_upgrade(headers: &Headers) -> bool {
    is_connect(headers) || headers.first("upgrade").is_some()
}

fn is_connect(headers: &Headers) -> bool {
    headers.first(":method") == Some(b"CONNECT")
}

/// Refuses, before any of it has come, a body that cannot be read.
fn readable(config: &Config, headers: &Headers) -> Result<(), Refusal> {
    let plain = |coding: &[u8]| coding.is_empty() || coding.eq_ignore_ascii_case(b"identity");
    let mut codings = headers
        .all("content-encoding")
        .flat_map(|value| value.split(|byte| *byte == b','));
    if !codings.all(|coding| plain(coding.trim_ascii())) {
        return Err(Refusal::encoded());
    }
    let declared = headers
        .first_str("content-length")
        .and_then(|length| length.parse::<u64>().ok());
    if declared.is_some_and(|length| length > config.body_limit as u64) {
        return Err(Refusal::too_large(config.body_limit));
    }
    Ok(())
}
