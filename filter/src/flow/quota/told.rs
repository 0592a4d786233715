//! What callers are told of their limits.
//!
//! `RateLimit` and `RateLimit-Policy` as draft-ietf-httpapi-ratelimit-headers-11 has them, structured fields (RFC 9651)
//! with an item for each budget: `"name.tokens";q=60000;w=60;qu="tokens"` and `"name.tokens";r=59000;t=1`. `q` is the
//! burst and `w` the seconds in which it comes back, for that is what a bucket promises; `t` the seconds until there
//! is one unit more than `r`, never later than `Retry-After`. The draft's registry has no unit for tokens; the name says it.
//!
//! And `x-ratelimit-{limit,remaining,reset}-{requests,tokens}` as OpenAI's API has them, of the budget that has the
//! least left; the reset, until it is full, as Go writes durations: `6m0s`, `1.25s`, `20ms`.

use std::time::Duration;

use crate::config::{Budget, Quota};
use crate::quota::{Left, Rate, seconds};

const OPENAI: [[&str; 3]; 2] = [
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

/// The headers that tell what is left of limits.
#[cold]
pub(super) fn headers<'c>(
    all: impl Iterator<Item = (&'c Quota, [Option<Left>; 2])>,
) -> Vec<(&'static str, String)> {
    let (mut policy, mut state) = (String::new(), String::new());
    let mut tightest: [Option<(&'c Budget, Left)>; 2] = [None; 2];
    for (quota, left) in all {
        let budgets = [&quota.requests, &quota.tokens];
        let units = super::UNITS.iter().zip(budgets).zip(&left);
        for (((unit, budget), left), tightest) in units.zip(&mut tightest) {
            let (Some(budget), Some(left)) = (budget, left) else {
                continue;
            };
            let name = format!("\"{}.{unit}\"", quota.name);
            let window = Rate::of(budget).window();
            let burst = budget.burst;
            item(
                &mut policy,
                &format!("{name};q={burst};w={window};qu=\"{unit}\""),
            );
            item(
                &mut state,
                &format!("{name};r={};t={}", left.units, seconds(left.next)),
            );
            if tightest.is_none_or(|(_, known)| left.units < known.units) {
                *tightest = Some((budget, *left));
            }
        }
    }
    let mut headers = vec![("ratelimit-policy", policy), ("ratelimit", state)];
    for (names, tightest) in OPENAI.iter().zip(tightest) {
        if let Some((budget, left)) = tightest {
            let values = [
                budget.burst.to_string(),
                left.units.to_string(),
                duration(left.full),
            ];
            headers.extend(names.iter().copied().zip(values));
        }
    }
    headers
}

fn item(list: &mut String, item: &str) {
    if !list.is_empty() {
        list.push_str(", ");
    }
    list.push_str(item);
}

/// A duration as Go writes it, in milliseconds rounded up.
fn duration(time: Duration) -> String {
    let millis = time.as_nanos().div_ceil(1_000_000);
    let (seconds, rest) = (millis / 1000, millis % 1000);
    let fraction = match rest {
        0 => String::new(),
        rest => format!(".{rest:03}"),
    };
    let fraction = fraction.trim_end_matches('0');
    let (hours, minutes, below) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes, seconds) {
        (0, 0, 0) if rest > 0 => format!("{rest}ms"),
        (0, 0, _) => format!("{below}{fraction}s"),
        (0, ..) => format!("{minutes}m{below}{fraction}s"),
        _ => format!("{hours}h{minutes}m{below}{fraction}s"),
    }
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
            (1250, "1.25s"),
            (8640, "8.64s"),
            (360_000, "6m0s"),
            (86_399_001, "23h59m59.001s"),
        ] {
            assert_eq!(duration(Duration::from_millis(millis)), text);
        }
        assert_eq!(duration(Duration::from_nanos(1)), "1ms");
    }
}
