//! A rate limit service, by Envoy's protocol (`envoy.service.ratelimit.v3`, `rls.proto`).
//!
//! Each budget is a descriptor: the limit's name and unit, then what its requests have in common, and how many hits it takes.
//! The limit goes along (`limit`) where the protocol has a name for its period; a service may go by rules of its own.
//! What was used beyond what had been asked for is told as more hits. The protocol takes nothing back, so what a request
//! leaves over stays on loan, for the next one of the same caller.
//!
//! A call of gRPC is an HTTP/2 request whose body is the message behind five bytes: no compression, its length.

use std::time::Duration;

use super::{Line, Named, Told};
use crate::quota::{Left, Refused};
use crate::values::protobuf::{Fields, Value, put_bytes, put_varint};

/// No limit takes longer to be whole again.
const LONGEST: Duration = Duration::from_secs(366 * 86_400);
/// The wait that is told where the service tells none.
const WAIT: Duration = Duration::from_secs(1);

/// The body of the call that asks about `lines`, each with its names, in `domain`.
pub fn request(domain: &str, lines: &[(&Line, Named<'_>)]) -> Vec<u8> {
    let mut message = Vec::new();
    put_bytes(&mut message, 1, domain.as_bytes());
    // The older field, of all descriptors together, is the one that every service knows.
    let first = lines.first().map(|(line, _)| hits(line));
    let together = first.filter(|first| lines.iter().all(|(line, _)| hits(line) == *first));
    for (line, named) in lines {
        let apart = together.is_none().then(|| hits(line));
        put_bytes(&mut message, 2, &descriptor(line, named, apart));
    }
    if let Some(hits) = together {
        put_varint(&mut message, 3, hits.into());
    }
    framed(&message)
}

/// What the answer says of each of `lines`; `None` if it is none, or leaves the decision open.
pub fn read(answer: &[u8], lines: &[Line]) -> Option<Vec<Told>> {
    let (mut code, mut statuses) = (0, Vec::new());
    for field in Fields::new(unframed(answer)?) {
        match field.ok()? {
            (1, Value::Varint(overall)) => code = overall,
            (2, Value::Bytes(status)) => statuses.push(Status::read(status)?),
            _ => {}
        }
    }
    let over = match code {
        OK => false,
        OVER_LIMIT => true,
        _ => return None,
    };
    let refused = statuses.iter().any(|status| status.over);
    let tell = |(at, line): (usize, &Line)| {
        let status = statuses.get(at);
        // Where it does not say which, it is all of them.
        let this = over && (!refused || status.is_some_and(|status| status.over));
        let reset = status.and_then(|status| status.reset);
        let reset = reset.filter(|reset| !reset.is_zero());
        Told {
            granted: match (this, over) {
                (true, _) => Err(Refused::After(reset.unwrap_or(WAIT))),
                (false, true) => Ok(0),
                (false, false) => Ok(line.want),
            },
            left: status.and_then(|status| {
                let full = status.reset.unwrap_or_default();
                Some(Left {
                    units: status.remaining?,
                    next: full,
                    full,
                })
            }),
        }
    };
    Some(lines.iter().enumerate().map(tell).collect())
}

const OK: u64 = 1;
const OVER_LIMIT: u64 = 2;

/// What a line takes.
fn hits(line: &Line) -> u32 {
    let beyond = line.used.saturating_sub(line.released);
    u32::try_from(line.want.saturating_add(beyond)).unwrap_or(u32::MAX)
}

fn descriptor(line: &Line, named: &Named<'_>, hits: Option<u32>) -> Vec<u8> {
    let mut descriptor = Vec::new();
    let ours = [("limit", named.limit), ("unit", named.unit)];
    let shared = line.shared.iter();
    let shared = shared.map(|(name, value)| (name.as_str(), value.as_str()));
    for (name, value) in ours.into_iter().chain(shared) {
        let mut entry = Vec::new();
        put_bytes(&mut entry, 1, name.as_bytes());
        put_bytes(&mut entry, 2, value.as_bytes());
        put_bytes(&mut descriptor, 1, &entry);
    }
    let (units, micros) = named.rate.per_micros();
    let unit = UNITS.iter().find(|(period, _)| *period == micros);
    if let Some((_, unit)) = unit {
        let mut limit = Vec::new();
        put_varint(&mut limit, 1, units.into());
        put_varint(&mut limit, 2, *unit);
        put_bytes(&mut descriptor, 2, &limit);
    }
    if let Some(hits) = hits {
        let mut value = Vec::new();
        put_varint(&mut value, 1, hits.into());
        put_bytes(&mut descriptor, 3, &value);
    }
    descriptor
}

/// `RateLimitUnit` by its microseconds: a second, a minute, an hour, a day.
const UNITS: [(u64, u64); 4] = [
    (1_000_000, 1),
    (60_000_000, 2),
    (3_600_000_000, 3),
    (86_400_000_000, 4),
];

/// `RateLimitResponse.DescriptorStatus`.
struct Status {
    over: bool,
    remaining: Option<u64>,
    reset: Option<Duration>,
}

impl Status {
    fn read(message: &[u8]) -> Option<Status> {
        let mut status = Status {
            over: false,
            remaining: None,
            reset: None,
        };
        let mut limited = false;
        for field in Fields::new(message) {
            match field.ok()? {
                (1, Value::Varint(code)) => status.over = code == OVER_LIMIT,
                (2, Value::Bytes(_)) => limited = true,
                (3, Value::Varint(remaining)) => {
                    status.remaining = Some(remaining.min(u32::MAX.into()));
                }
                (4, Value::Bytes(reset)) => status.reset = Some(duration(reset)?),
                _ => {}
            }
        }
        if limited {
            // Zero is not written.
            status.remaining.get_or_insert(0);
        }
        Some(status)
    }
}

/// `google.protobuf.Duration`.
fn duration(message: &[u8]) -> Option<Duration> {
    let (mut seconds, mut nanos) = (0, 0);
    for field in Fields::new(message) {
        match field.ok()? {
            (1, Value::Varint(value)) => seconds = value,
            (2, Value::Varint(value)) => nanos = value,
            _ => {}
        }
    }
    // Negative ones are very large, read so; both are none of a limit's.
    let time = Duration::from_secs(seconds).saturating_add(Duration::from_nanos(nanos));
    Some(time).filter(|time| *time <= LONGEST)
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    [&[0], &length.to_be_bytes()[..], message].concat()
}

fn unframed(body: &[u8]) -> Option<&[u8]> {
    let (head, message) = body.split_first_chunk::<5>()?;
    let [compressed, length @ ..] = *head;
    let whole = u32::from_be_bytes(length) as usize == message.len();
    (compressed == 0 && whole).then_some(message)
}

#[cfg(test)]
#[path = "service_tests.rs"]
mod tests;
