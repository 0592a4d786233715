//! A request's way in: its headers, then its body if the decision needs it.

use crate::config::{Config, Upgrades};
use crate::ports::Host;
use crate::request::Api;
use crate::values::headers::Headers;

use super::caller::{self, Caller};
use super::verdict::{Refusal, Verdict};
use super::{Stream, Worker};

/// What is kept of a request's headers while its body is awaited: all of them, or if they are larger what
/// rules and keys look at. A client may hold as many requests open as the proxy lets it, and a VM has
/// 1 GiB for them.
const HELD_HEADER_BYTES: usize = 8 * 1024;

/// What the headers ask for, kept until the body is complete.
pub(super) struct Asked {
    pub(super) headers: Headers,
    pub(super) kind: Kind,
    pub(super) caller: Caller,
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
            false => match caller::admit(worker, &headers, host) {
                Ok(caller) => caller,
                Err(refusal) => return worker.refuse(refusal, host),
            },
        };
        let kind = match kind(&worker.config, &headers) {
            Ok(kind) => kind,
            Err(refusal) => return worker.refuse(refusal, host),
        };
        if matches!(kind, Kind::Body(_)) && !end {
            let headers = match headers.size() {
                ..=HELD_HEADER_BYTES => headers,
                _ => headers.only(|name| worker.config.looks_at(name)),
            };
            if headers.size() > HELD_HEADER_BYTES {
                return worker.refuse(Refusal::headers_too_large(HELD_HEADER_BYTES), host);
            }
            self.asked = Some(Asked {
                headers,
                kind,
                caller,
            });
            return Verdict::Hold;
        }
        let asked = Asked {
            headers,
            kind,
            caller,
        };
        self.decide(worker, &asked, &[], host)
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
        if size <= limit {
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
            Some(asked) => self.decide(worker, &asked, body, host),
            None => worker.refuse(Refusal::unreadable(), host),
        }
    }

    /// The proxy did not hand over the request's headers or body.
    pub fn on_unreadable_request(&mut self, worker: &mut Worker, host: &mut dyn Host) -> Verdict {
        self.asked = None;
        worker.refuse(Refusal::unreadable(), host)
    }
}

/// What kind of request the headers begin.
fn kind(config: &Config, headers: &Headers) -> Result<Kind, Refusal> {
    let path = headers.first(":path").unwrap_or_default();
    let method = headers.first(":method").unwrap_or_default();
    let api = Api::of_path(path).filter(|_| method == b"POST");
    let upgrade = method == b"CONNECT" || headers.first("upgrade").is_some();
    match (api, upgrade) {
        // A body behind an upgrade cannot be read, and a server that ignores the upgrade would read it.
        (Some(_), true) => Err(Refusal::upgrade()),
        (None, true) if config.upgrades == Upgrades::Refuse => Err(Refusal::upgrade()),
        (None, true) => Ok(realtime_model(path).map_or(Kind::Plain, Kind::Realtime)),
        (None, false) => Ok(Kind::Plain),
        (Some(api), false) => readable(config, headers).map(|()| Kind::Body(api)),
    }
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

/// For a path that opens a Realtime session (`…/realtime?model=…`): the model that it names, if any. One
/// that names two, which servers choose between as they like, opens none.
fn realtime_model(path: &[u8]) -> Option<Option<String>> {
    let path = std::str::from_utf8(path).ok()?;
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let mut models = query
        .split('&')
        .filter_map(|pair| pair.strip_prefix("model="));
    let (model, other) = (models.next(), models.next());
    let opens = path.trim_end_matches('/').ends_with("/realtime") && other.is_none();
    opens.then(|| model.filter(|model| !model.is_empty()).map(str::to_owned))
}
