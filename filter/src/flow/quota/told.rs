//! What callers are told of their limits.
//!
//! `RateLimit` and `RateLimit-Policy` as draft-ietf-httpapi-ratelimit-headers-11 has them, structured fields (RFC 9651)
//! with an item for each budget: `"name.tokens";q=60000;w=60;qu="tokens"` and `"name.tokens";r=59000;t=1`. `q` is the
//! burst and `w` the seconds in which it comes back, for that is what a bucket promises; `t` the seconds until there
//! is one unit more than `r`, never later than `Retry-After`. The draft's registry has no unit for tokens; the name says it.
//!
//! And `x-ratelimit-{limit,remaining,reset}-{requests,tokens}` as OpenAI's API has them, of the budget that has the
//! least left; the reset, until it is full, as Go writes durations: `6m0s`, `1.25s`, `20ms`.
//!
//! All that a configuration fixes is written once ([`Texts`]), and numbers without the formatting machinery: to
//! begin eight headers anew would cost each request as much as to decide what is in them.

use std::time::Duration;

use crate::config::Quota;
use crate::quota::{BUDGETS, Left, Rate, seconds};

const OPENAI: [[&str; 3]; BUDGETS] = [
    [
        "x-ratelimit-limit-requests",
        "x-ratelimit-remaining-requests",
        "x-ratelimit-reset-requests",
    ],
    [
        "x-ratelimit-limit-tokens",
        "x-ratelimit-remaining-tokens",
        "x-ratelimit-reset-tokens",
    ],
];

/// What is told of a limit, whatever is left of it; of each budget that it has.
pub(super) struct Texts([Option<Text>; BUDGETS]);

struct Text {
    /// The item of `RateLimit-Policy`.
    policy: String,
    /// The item of `RateLimit`, up to what is left.
    state: String,
    burst: String,
}

impl Texts {
    /// What is told of `quota`.
    pub(super) fn of(quota: &Quota) -> Texts {
        let text = |budget: usize, unit: &str| {
            let budget = [&quota.requests, &quota.tokens].get(budget).copied()?;
            let budget = budget.as_ref()?;
            let name = format!("\"{}.{unit}\"", quota.name);
            let window = Rate::of(budget).window();
            let burst = budget.burst.to_string();
            Some(Text {
                policy: format!("{name};q={burst};w={window};qu=\"{unit}\""),
                state: format!("{name};r="),
                burst,
            })
        };
        let [requests, tokens] = super::UNITS;
        Texts([text(0, requests), text(1, tokens)])
    }
}

/// The headers that tell what is left of limits; none where nobody knows.
#[cold]
#[inline(never)]
pub(super) fn headers<'q>(
    all: impl Iterator<Item = (&'q Texts, [Option<Left>; BUDGETS])>,
) -> Vec<(&'static str, String)> {
    // Room for the items of two limits; what is longer grows.
    let (mut policy, mut state) = (String::with_capacity(256), String::with_capacity(128));
    let mut tightest: [Option<(&Text, Left)>; BUDGETS] = [None; BUDGETS];
    for (texts, left) in all {
        for ((text, left), tightest) in texts.0.iter().zip(&left).zip(&mut tightest) {
            let (Some(text), Some(left)) = (text, left) else {
                continue;
            };
            if !policy.is_empty() {
                policy.push_str(", ");
                state.push_str(", ");
            }
            policy.push_str(&text.policy);
            state.push_str(&text.state);
            number(&mut state, left.units);
            state.push_str(";t=");
            number(&mut state, seconds(left.next));
            if tightest.is_none_or(|(_, known)| left.units < known.units) {
                *tightest = Some((text, *left));
            }
        }
    }
    if policy.is_empty() {
        return Vec::new();
    }
    let mut headers = Vec::with_capacity(2usize.saturating_add(OPENAI.len().saturating_mul(3)));
    headers.push(("ratelimit-policy", policy));
    headers.push(("ratelimit", state));
    for ([limit, remaining, reset], tightest) in OPENAI.into_iter().zip(tightest) {
        if let Some((text, left)) = tightest {
            let mut units = String::with_capacity(DIGITS);
            number(&mut units, left.units);
            headers.push((limit, text.burst.clone()));
            headers.push((remaining, units));
            headers.push((reset, duration(left.full)));
        }
    }
    headers
}

/// A duration as Go writes it, in milliseconds rounded up.
fn duration(time: Duration) -> String {
    let millis = u64::from(time.subsec_nanos().div_ceil(1_000_000));
    let millis = time.as_secs().saturating_mul(1000).saturating_add(millis);
    let (seconds, rest) = (millis / 1000, millis % 1000);
    let mut text = String::with_capacity(DIGITS);
    if seconds == 0 && rest > 0 {
        number(&mut text, rest);
        text.push_str("ms");
        return text;
    }
    if seconds >= 3600 {
        number(&mut text, seconds / 3600);
        text.push('h');
    }
    if seconds >= 60 {
        number(&mut text, seconds / 60 % 60);
        text.push('m');
    }
    number(&mut text, seconds % 60);
    if rest > 0 {
        let (tens, hundreds) = (rest % 100, rest / 100);
        text.push('.');
        number(&mut text, hundreds);
        if tens > 0 {
            number(&mut text, tens / 10);
        }
        if tens % 10 > 0 {
            number(&mut text, tens % 10);
        }
    }
    text.push('s');
    text
}

/// As many as a number has at most.
pub(super) const DIGITS: usize = 20;

/// Writes `number` at the end of `text`.
#[inline(never)]
pub(super) fn number(text: &mut String, mut number: u64) {
    let mut digits = [b'0'; DIGITS];
    let mut start = DIGITS;
    for digit in digits.iter_mut().rev() {
        *digit = b'0'.wrapping_add((number % 10) as u8);
        number /= 10;
        start = start.wrapping_sub(1);
        if number == 0 {
            break;
        }
    }
    let digits = digits
        .get(start..)
        .and_then(|digits| std::str::from_utf8(digits).ok());
    text.push_str(digits.unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_go() {
        for (millis, text) in [
            (0, "0s"),
            (20, "20ms"),
            (1000, "1s"),
            (1001, "1.001s"),
            (1010, "1.01s"),
            (1100, "1.1s"),
            (60_000, "1m0s"),
            (3_600_000, "1h0m0s"),
            (1250, "1.25s"),
            (8640, "8.64s"),
            (360_000, "6m0s"),
            (86_399_001, "23h59m59.001s"),
        ] {
            assert_eq!(duration(Duration::from_millis(millis)), text);
        }
        assert_eq!(duration(Duration::from_nanos(1)), "1ms");
        assert_eq!(duration(Duration::new(59, 999_000_001)), "1m0s");
    }

    #[test]
    fn numbers_are_written_as_everywhere() {
        for value in [
            0,
            9,
            10,
            4_294_967_295,
            10_000_000_000_000_000_000,
            u64::MAX,
        ] {
            let mut text = String::new();
            number(&mut text, value);
            assert_eq!(text, value.to_string());
        }
    }
}
