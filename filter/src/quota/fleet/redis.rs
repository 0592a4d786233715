//! Redis, reached over HTTP through webdis.
//!
//! The script does in Redis' Lua, with its doubles and its clock, what [`super::super::Bucket`] does here: levels of what is taken and
//! paid, holds in two generations, nothing given back that has drained. First it takes in what is released and used of each
//! budget, then it sees whether all of what is wanted fits, and takes all of it or nothing. A bucket is one value, which
//! ends when it is full and nothing of it is on loan.
//!
//! A bucket here forgets holds that have drained, as each says which generation it is of. Reports of loans do not, so there all
//! holds are kept for an hour to two ([`super::HALF_TERM`]), what comes back is taken for the youngest, so that what is lost
//! gets old and is forgotten, and whoever reports first finds drained what has drained, be it his or
//! another's: refunds may come later than they would here, never sooner. (Redis from 5 on: a script that reads the clock is replicated by its effects.)
//!
//! webdis takes a command as `EVAL/script/number of keys/key…/argument…` in a body, each part percent-encoded, and
//! answers `{"EVAL":[…]}`: here the question's own mark, then five integers a budget, times in microseconds. The mark is
//! there as webdis 0.1.9 may give one caller the answer that another has not waited for: it goes by connections, whose
//! numbers the system gives out again.

use super::{Line, Named, Told, micros};
use crate::config::Json;
use crate::quota::{Left, Refused};
use crate::values::form;

/// What a decision runs in Redis.
pub const SCRIPT: &str = include_str!("bucket.lua");

/// The body of the request that asks about `lines`, each with its names; keys begin with `prefix`. No two questions of a fleet
/// have the same `mark`.
pub fn command(prefix: &str, mark: u64, lines: &[(&Line, Named<'_>)]) -> Vec<u8> {
    let mut command = format!("EVAL/{}/{}", form::escape(SCRIPT), lines.len());
    for (line, named) in lines {
        let Named { limit, unit, .. } = named;
        let of = line.id.key.0;
        command.push_str(&format!("/{prefix}:quota:{limit}:{unit}:{of:032x}"));
    }
    for (line, Named { rate, .. }) in lines {
        let (limit, period) = rate.per_micros();
        let Line {
            want,
            ahead,
            released,
            used,
            ..
        } = line;
        let burst = rate.burst();
        // A unit of so many microseconds, `limit` a period: the script divides, and gets units a second.
        let period = format!("{}.{:06}", period / 1_000_000, period % 1_000_000);
        command.push_str(&format!(
            "/{limit}/{period}/{burst}/{want}/{ahead}/{released}/{used}"
        ));
    }
    command.push_str(&format!("/{mark:016x}"));
    command.into_bytes()
}

/// What webdis' answer says of each of `lines`; `None` if it is none, is another question's, or tells of a failure.
pub fn read(answer: &[u8], mark: u64, lines: &[Line]) -> Option<Vec<Told>> {
    let Json::Object(fields) = Json::parse(answer)? else {
        return None;
    };
    let numbers = fields.into_iter().find(|(name, _)| name == "EVAL");
    let Some((_, Json::Array(numbers))) = numbers else {
        return None;
    };
    let (said, numbers) = numbers.split_first()?;
    let ours = matches!(said, Json::Text(said) if *said == format!("{mark:016x}"));
    if !ours || numbers.len() != lines.len().checked_mul(FIELDS)? {
        return None;
    }
    numbers.chunks(FIELDS).map(told).collect()
}

const FIELDS: usize = 5;

fn told(numbers: &[Json]) -> Option<Told> {
    let natural = |at: usize| match numbers.get(at)? {
        Json::Natural(number) => Some(*number),
        _ => None,
    };
    let granted = match numbers.first()? {
        Json::Negative(_) => Err(Refused::After(micros(natural(1)?))),
        _ => Ok(natural(0)?),
    };
    Some(Told {
        granted,
        left: Some(Left {
            units: natural(2)?,
            next: micros(natural(3)?),
            full: micros(natural(4)?),
        }),
    })
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;
    use std::time::Duration;

    use super::*;
    use crate::config::Budget;
    use crate::quota::fleet::LoanId;
    use crate::quota::{Key, Rate};

    fn line() -> Line {
        Line {
            id: LoanId {
                limit: 0,
                key: Key(0xabc),
            },
            budget: 1,
            want: 7,
            ahead: 10,
            released: 3,
            used: 2,
            shared: Rc::new([]),
        }
    }

    #[test]
    fn a_command_has_the_script_then_keys_then_arguments() {
        let rate = Rate::of(&Budget {
            limit: 100,
            per: Duration::from_millis(60_500),
            burst: 200,
            lease: 10,
        });
        let named = Named {
            limit: "team",
            unit: "tokens",
            rate,
        };
        let command = command("junheng", 0xfe, &[(&line(), named), (&line(), named)]);
        let command = String::from_utf8(command).expect("ASCII");
        let parts: Vec<&str> = command.split('/').collect();
        assert_eq!(parts[0], "EVAL");
        assert!(parts[1].starts_with("local%20clock%20%3D%20redis.call%28%27TIME%27%29%0A"));
        let key = "junheng:quota:team:tokens:00000000000000000000000000000abc";
        assert_eq!(parts[2..5], ["2", key, key]);
        let arguments = ["100", "60.500000", "200", "7", "10", "3", "2"];
        assert_eq!(parts[5..12], arguments);
        assert_eq!(parts[12..19], arguments);
        assert_eq!(parts[19..], ["00000000000000fe"]);
    }

    #[test]
    fn an_answer_tells_what_is_granted_and_left() {
        let answer = br#"{"EVAL":["00000000000000fe",17,0,83,0,600000]}"#;
        let told = read(answer, 0xfe, &[line()]).expect("an answer");
        let left = Left {
            units: 83,
            next: Duration::ZERO,
            full: Duration::from_millis(600),
        };
        let granted = Told {
            granted: Ok(17),
            left: Some(left),
        };
        assert_eq!(told, [granted]);
        let answer = br#"{"EVAL":["00000000000000fe",-1,1500,83,9,600000]}"#;
        let told = read(answer, 0xfe, &[line()]).expect("an answer");
        let wait = Duration::from_micros(1500);
        assert_eq!(told[0].granted, Err(Refused::After(wait)));
    }

    #[test]
    fn what_is_no_answer_decides_nothing() {
        for answer in [
            r#"{"EVAL":[false,"ERR unknown command"]}"#,
            r#"{"EVAL":["0000000000000001",1,0,83,0]}"#,
            r#"{"EVAL":["0000000000000001",1,0,83,0,1,2]}"#,
            r#"{"EVAL":["0000000000000001",1,0,-1,0,1]}"#,
            r#"{"EVAL":["0000000000000001",1.5,0,1,0,1]}"#,
            r#"{"EVAL":["0000000000000001"]}"#,
            r#"{"EVAL":["0000000000000002",1,0,83,0,1]}"#,
            r#"{"EVAL":[1,1,0,83,0,1]}"#,
            r#"{"EVAL":[1,0,83,0,1]}"#,
            r#"{"EVAL":[]}"#,
            r#"{"EVAL":null}"#,
            r#"{"OTHER":[1,0,83,0,1]}"#,
            "[1,0,83,0,1]",
            "",
        ] {
            assert_eq!(read(answer.as_bytes(), 1, &[line()]), None, "{answer}");
        }
    }
}
