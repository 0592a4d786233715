//! A stream context: one request and its response, between the host's callbacks and the flow.

use std::cell::RefCell;
use std::rc::Rc;

use crate::flow::{
    EndedBy, Forward, Origin, Refusal, ResponseStart, Stream, Verdict, Worker, is_for_us, is_ours,
};
use crate::ports::{Host, Plugin};
use crate::values::headers::Headers;

use super::contexts;
use super::hostcalls::{self, Buffer, Failed, Map};
use super::proxy::Proxy;
use super::{CONTINUE, PAUSE};

/// One request and its response.
pub struct HttpStream {
    /// The name of the root context that it began under.
    root: u32,
    worker: Rc<RefCell<Worker>>,
    /// That of the worker.
    plugin: Plugin,
    stream: Stream,
    /// How much of the request's body the host holds.
    held: usize,
    /// Whether that is all of it.
    complete: bool,
    /// Whether Junheng answered, or the host took the request out of its hands: nothing is left to decide.
    over: bool,
}

impl HttpStream {
    /// The stream `id`, under the configuration of `worker`, which is that of the root context `root`.
    pub fn new(id: u32, root: u32, worker: Rc<RefCell<Worker>>, plugin: Plugin) -> HttpStream {
        HttpStream {
            root,
            worker,
            plugin,
            stream: Stream::new(id),
            held: 0,
            complete: false,
            over: false,
        }
    }

    /// The request's headers are there.
    pub fn request_headers(&mut self, end: bool) -> u32 {
        let verdict = match hostcalls::headers(Map::Request).and_then(without_ours) {
            Ok(headers) => self.decide(|stream, worker, host| {
                stream.on_request_headers(worker, headers, end, host)
            }),
            Err(_) => self.unreadable(),
        };
        if self.stream.awaits_answer() {
            return self.ask();
        }
        self.carry_out(verdict)
    }

    /// Has asked what the request waits for. A question that cannot be sent is answered at once; one that arises while the
    /// root is at work, the root asks.
    #[cold]
    #[inline(never)]
    fn ask(&mut self) -> u32 {
        contexts::with_root(self.root, |root| root.run_errands(&self.worker));
        self.go_on()
    }

    /// What the request waits for may have come.
    fn go_on(&mut self) -> u32 {
        let verdict = self.decide(|stream, worker, host| stream.on_answer(worker, host));
        match verdict {
            Verdict::Hold if self.complete && !self.stream.awaits_answer() => {
                self.request_complete()
            }
            verdict => self.carry_out(verdict),
        }
    }

    /// What the request waits for may have come: it goes on, is answered, or waits for its body.
    #[cold]
    #[inline(never)]
    pub fn resume(&mut self) {
        if self.over || !self.stream.awaits_answer() {
            return;
        }
        if self.go_on() == CONTINUE
            && let Err(failed) = hostcalls::resume_request()
        {
            log::error!("the proxy resumed no request (status {})", failed.0);
        }
    }

    /// More of the request's body is there, `size` bytes of it held.
    pub fn request_body(&mut self, size: usize, end: bool) -> u32 {
        if self.over {
            return PAUSE;
        }
        if !self.stream.awaits_body() {
            return CONTINUE;
        }
        self.held = size;
        if end {
            return self.request_complete();
        }
        let verdict =
            self.decide(|stream, worker, host| stream.on_request_body_growing(worker, size, host));
        self.carry_out(verdict)
    }

    /// The request ends in trailers: its body never said that it was complete, but it is.
    pub fn request_trailers(&mut self) -> u32 {
        if self.over {
            return PAUSE;
        }
        if !self.stream.awaits_body() {
            return CONTINUE;
        }
        self.request_complete()
    }

    fn request_complete(&mut self) -> u32 {
        self.complete = true;
        if self.stream.awaits_answer() {
            return PAUSE;
        }
        let body = match self.held {
            0 => Ok(Vec::new()),
            held => hostcalls::buffer(Buffer::RequestBody, held),
        };
        let verdict = match body {
            Ok(body) => {
                self.decide(|stream, worker, host| stream.on_request_body(worker, &body, host))
            }
            Err(_) => self.unreadable(),
        };
        if self.stream.awaits_answer() {
            return self.ask();
        }
        self.carry_out(verdict)
    }

    fn unreadable(&mut self) -> Verdict {
        self.decide(|stream, worker, host| stream.on_unreadable_request(worker, host))
    }

    fn decide(
        &mut self,
        decide: impl FnOnce(&mut Stream, &mut Worker, &mut dyn Host) -> Verdict,
    ) -> Verdict {
        let mut proxy = Proxy;
        let host = &mut self.plugin.on(&mut proxy);
        match self.worker.try_borrow_mut() {
            Ok(mut worker) => decide(&mut self.stream, &mut worker, host),
            // The worker is borrowed only within a callback, and a host that nests them gets no decision.
            Err(_) => Verdict::Refuse(Refusal::unreadable()),
        }
    }

    fn carry_out(&mut self, verdict: Verdict) -> u32 {
        match verdict {
            Verdict::Hold => PAUSE,
            Verdict::Refuse(refusal) => self.refuse(&refusal),
            Verdict::Forward(forward) => match self.forward(&forward) {
                Ok(()) => CONTINUE,
                // Half-written headers must not leave: the request would go where nobody chose.
                Err(Failed(_)) => {
                    self.end();
                    let refusal = self.unreadable();
                    self.carry_out(refusal)
                }
            },
        }
    }

    fn forward(&self, forward: &Forward) -> Result<(), Failed> {
        if let Some(body) = &forward.body {
            hostcalls::replace_buffer(Buffer::RequestBody, self.held, body)?;
        }
        for name in &forward.removed {
            hostcalls::remove_header(Map::Request, name.as_bytes())?;
        }
        forward.headers.iter().try_for_each(|(name, value)| {
            // The client's headers of our names were removed before.
            match name.starts_with("x-") {
                true => hostcalls::add_header(Map::Request, name, value),
                false => hostcalls::set_header(Map::Request, name, value),
            }
        })
    }

    fn refuse(&mut self, refusal: &Refusal) -> u32 {
        self.over = true;
        let retry_after = refusal.retry_after.map(|seconds| seconds.to_string());
        let mut headers = vec![("content-type", "application/json")];
        headers.extend(
            retry_after
                .as_deref()
                .map(|seconds| ("retry-after", seconds)),
        );
        headers.extend(
            refusal
                .headers
                .iter()
                .map(|(name, value)| (*name, value.as_str())),
        );
        let details = format!("junheng_{}", refusal.code);
        if let Err(failed) = hostcalls::respond(refusal.status, &details, &headers, &refusal.json())
        {
            log::error!("the proxy took no answer (status {})", failed.0);
        }
        PAUSE
    }

    /// The response's headers are there; `end` if nothing follows them.
    pub fn response_headers(&mut self, end: bool) {
        if self.over || !self.stream.is_placed() {
            return;
        }
        let Ok(headers) = hostcalls::headers(Map::Response) else {
            return;
        };
        for (name, _) in headers.iter().filter(|(name, _)| is_for_us(name)) {
            // What stays would be news to the client, and no harm to anybody else.
            let _ = hostcalls::remove_header(Map::Response, name);
        }
        let Ok(mut worker) = self.worker.try_borrow_mut() else {
            return;
        };
        let Some(start) = response_start(&headers, &mut worker) else {
            return;
        };
        let told =
            self.stream
                .on_response_headers(&mut worker, start, &mut self.plugin.on(&mut Proxy));
        if end {
            self.stream.on_response_complete();
            self.stream
                .on_first_byte(&mut worker, &mut self.plugin.on(&mut Proxy));
        }
        if self.stream.changes_response_body() && headers.first("content-length").is_some() {
            // With one that stays, the response would end short of it.
            let _ = hostcalls::remove_header(Map::Response, b"content-length");
        }
        for (name, value) in told {
            // The answer is worth more than its explanation.
            let _ = hostcalls::set_header(Map::Response, name, &value);
        }
    }

    /// The response ends in trailers. What was held back of its body can no longer be written: a stream that ends
    /// so within an event, which is none then, ends without that.
    pub fn response_trailers(&mut self) {
        self.stream.on_response_complete();
    }

    /// The next `size` bytes of the response's body are there; `end` if they are the last.
    pub fn response_body(&mut self, size: usize, end: bool) {
        if end {
            self.stream.on_response_complete();
        }
        if (size > 0 || end) && self.stream.wants_response_body() {
            self.read_response_body(size, end);
        }
        if self.stream.awaits_first_byte()
            && let Ok(mut worker) = self.worker.try_borrow_mut()
        {
            self.stream
                .on_first_byte(&mut worker, &mut self.plugin.on(&mut Proxy));
        }
        if self.stream.is_due()
            && let Ok(mut worker) = self.worker.try_borrow_mut()
        {
            self.stream
                .on_due(&mut worker, &mut self.plugin.on(&mut Proxy));
        }
    }

    /// The stream has not begun in time.
    pub fn overdue(&mut self) {
        if let Ok(mut worker) = self.worker.try_borrow_mut() {
            self.stream
                .on_overdue(&mut worker, &mut self.plugin.on(&mut Proxy));
        }
    }

    #[inline(never)]
    fn read_response_body(&mut self, size: usize, end: bool) {
        let piece = match size {
            0 => Ok(Vec::new()),
            size => hostcalls::buffer(Buffer::ResponseBody, size),
        };
        // A host that takes no bytes gives the client those that came.
        let _ = match piece {
            Ok(piece) => match self.stream.on_response_body(&piece, end) {
                Some(instead) => hostcalls::replace_buffer(Buffer::ResponseBody, size, &instead),
                None => Ok(()),
            },
            Err(_) => match self.stream.on_unreadable_response() {
                Some(held) => hostcalls::replace_buffer(Buffer::ResponseBody, 0, &held),
                None => Ok(()),
            },
        };
    }

    /// The stream is over.
    pub fn end(&mut self) {
        if let Ok(mut worker) = self.worker.try_borrow_mut() {
            let by = match self.stream.is_cut() && cut_upstream() {
                true => EndedBy::Endpoint,
                false => EndedBy::Client,
            };
            self.stream
                .on_end(&mut worker, by, &mut self.plugin.on(&mut Proxy));
        }
    }
}

/// Answers a request that has come without a configuration: nothing may pass that nobody looked at.
pub fn unconfigured() -> u32 {
    // A host that takes no answer keeps the request, which is paused.
    let _ = hostcalls::respond(503, "junheng_unconfigured", &[], "");
    PAUSE
}

/// Removes what the client said in our name.
fn without_ours(headers: Headers) -> Result<Headers, Failed> {
    if !headers.iter().any(|(name, _)| is_ours(name)) {
        return Ok(headers);
    }
    for (name, _) in headers.iter().filter(|(name, _)| is_ours(name)) {
        hostcalls::remove_header(Map::Request, name)?;
    }
    Ok(headers.only(|name| !is_ours(name)))
}

/// What the host tells of a response; `None` where it has no status.
fn response_start<'a>(headers: &'a Headers, worker: &mut Worker) -> Option<ResponseStart<'a>> {
    let status = headers.first_str(":status")?.parse().ok()?;
    let told = match status {
        429 | 500.. => Some(origin()),
        _ => None,
    };
    let from_endpoint = || told.unwrap_or_else(origin) == Origin::Endpoint;
    Some(ResponseStart {
        status,
        attempts: worker.attempts(headers, from_endpoint, attempts),
        origin: told.unwrap_or(Origin::Endpoint),
        headers,
    })
}

/// How many endpoints Envoy has tried.
fn attempts() -> Option<u32> {
    number(&hostcalls::property("upstream\0request_attempt_count").ok()?)
}

/// Who made a response, by Envoy's response code details: `via_upstream` for one that came from
/// there; `upstream_reset_before_response_started{…}`, `upstream_per_try_timeout` and
/// `response_timeout` for one that never came. A host without such details is believed. What Envoy
/// calls an overflow is a bound of its own on the whole cluster (`circuit_breakers`): the request
/// was never sent, and charged to endpoints, a burst of requests would trip them all.
fn origin() -> Origin {
    let details = hostcalls::property("response\0code_details").unwrap_or_default();
    if details.is_empty() || details.starts_with(b"via_upstream") {
        Origin::Endpoint
    } else if details.ends_with(b"{overflow}") {
        Origin::Proxy
    } else if details.starts_with(b"upstream_reset") {
        let contains = |reason: &[u8]| details.windows(reason.len()).any(|part| part == reason);
        match contains(b"connection_failure") || contains(b"connection_timeout") {
            true => Origin::Unreached,
            false => Origin::Reset,
        }
    } else if details.ends_with(b"timeout") {
        Origin::TimedOut
    } else {
        Origin::Proxy
    }
}

/// Whether a response that was cut short was so by its endpoint, by Envoy's response code details:
/// `upstream_reset_after_response_started{…}`.
fn cut_upstream() -> bool {
    hostcalls::property("response\0code_details")
        .is_ok_and(|details| details.starts_with(b"upstream_"))
}

/// A number as a property holds it: Envoy's are 8 bytes little endian, nginx's are text.
fn number(bytes: &[u8]) -> Option<u32> {
    match <[u8; 8]>::try_from(bytes) {
        Ok(bytes) => u32::try_from(u64::from_le_bytes(bytes)).ok(),
        Err(_) => std::str::from_utf8(bytes).ok()?.parse().ok(),
    }
}
