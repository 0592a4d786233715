use std::rc::Rc;

use super::*;
use crate::config::Budget;
use crate::quota::fleet::LoanId;
use crate::quota::{Key, Rate};

fn rate(per: Duration) -> Rate {
    Rate::of(&Budget {
        limit: 300,
        per,
        burst: 300,
        lease: 0,
    })
}

fn line(want: u64, (released, used): (u64, u64)) -> Line {
    Line {
        id: LoanId {
            limit: 0,
            key: Key(1),
        },
        budget: 1,
        want,
        ahead: 0,
        released,
        used,
        shared: Rc::new([("tenant".to_owned(), "acme".to_owned())]),
    }
}

fn asked(lines: &[Line], per: Duration) -> Vec<u8> {
    let named = |line| {
        let named = Named {
            limit: "team",
            unit: "tokens",
            rate: rate(per),
        };
        (line, named)
    };
    request("d", &lines.iter().map(named).collect::<Vec<_>>())
}

/// A message from its fields, each of bytes.
fn message(fields: &[(u32, &[u8])]) -> Vec<u8> {
    let mut message = Vec::new();
    for (number, bytes) in fields {
        put_bytes(&mut message, *number, bytes);
    }
    message
}

fn entry(name: &str, value: &str) -> Vec<u8> {
    message(&[(1, name.as_bytes()), (2, value.as_bytes())])
}

#[test]
fn a_request_names_the_limit_and_what_its_requests_share() {
    let entries = [
        entry("limit", "team"),
        entry("unit", "tokens"),
        entry("tenant", "acme"),
    ];
    let [limit, unit, tenant] = entries.each_ref().map(|entry| (1, entry.as_slice()));
    // 300 = 0xac 0x02 a minute.
    let per_minute = [0x08, 0xac, 0x02, 0x10, 2];
    let descriptor = message(&[limit, unit, tenant, (2, &per_minute)]);
    let mut expected = message(&[(1, b"d"), (2, &descriptor)]);
    expected.extend([0x18, 7]);
    let asked = asked(&[line(7, (5, 5))], Duration::from_secs(60));
    assert_eq!(asked[..5], [0, 0, 0, 0, expected.len() as u8]);
    assert_eq!(asked[5..], expected);
}

#[test]
fn a_period_without_a_name_is_left_to_the_service() {
    let named = asked(&[line(1, (0, 0))], Duration::from_secs(3600));
    let nameless = asked(&[line(1, (0, 0))], Duration::from_secs(90));
    assert_eq!(named.len() - nameless.len(), 2 + 5);
}

#[test]
fn hits_are_each_descriptors_own_where_they_differ() {
    let asked = asked(&[line(7, (0, 0)), line(0, (3, 5))], Duration::from_secs(60));
    let mut fields = Fields::new(&asked[5..]);
    let mut hits = Vec::new();
    for field in fields.by_ref() {
        match field.expect("a message") {
            (2, Value::Bytes(descriptor)) => {
                hits.extend(Fields::new(descriptor).filter_map(|field| match field {
                    Ok((3, Value::Bytes(value))) => Some(value.to_vec()),
                    _ => None,
                }));
            }
            (number, _) => assert_eq!(number, 1, "no hits of all together"),
        }
    }
    assert_eq!(hits, [vec![0x08, 7], vec![0x08, 2]]);
}

fn status(code: u8, remaining: Option<u8>, reset: Option<u8>) -> Vec<u8> {
    let mut status = vec![0x08, code];
    put_bytes(&mut status, 2, &[0x08, 100]);
    status.extend(remaining.into_iter().flat_map(|left| [0x18, left]));
    if let Some(reset) = reset {
        put_bytes(&mut status, 4, &[0x08, reset, 0x10, 1]);
    }
    status
}

fn answer(code: u8, statuses: &[Vec<u8>]) -> Vec<u8> {
    let mut message = vec![0x08, code];
    for status in statuses {
        put_bytes(&mut message, 2, status);
    }
    framed(&message)
}

#[test]
fn an_answer_grants_all_or_nothing() {
    let lines = [line(7, (0, 0)), line(3, (0, 0))];
    let granted = read(
        &answer(1, &[status(1, Some(5), None), status(1, None, Some(9))]),
        &lines,
    );
    let granted = granted.expect("an answer");
    assert_eq!(
        granted.iter().map(|told| told.granted).collect::<Vec<_>>(),
        [Ok(7), Ok(3)]
    );
    assert_eq!(granted[0].left.map(|left| left.units), Some(5));
    let second = granted[1].left.expect("zero, which is not written");
    assert_eq!(second.units, 0);
    assert_eq!(second.full, Duration::from_nanos(9_000_000_001));

    let refused = read(
        &answer(2, &[status(1, Some(5), None), status(2, None, Some(9))]),
        &lines,
    );
    let refused = refused.expect("an answer");
    let wait = Duration::from_nanos(9_000_000_001);
    assert_eq!(refused[0].granted, Ok(0));
    assert_eq!(refused[1].granted, Err(Refused::After(wait)));
}

#[test]
fn a_refusal_that_does_not_say_which_is_one_of_all() {
    let told = read(&answer(2, &[]), &[line(7, (0, 0))]).expect("an answer");
    assert_eq!(told[0].granted, Err(Refused::After(WAIT)));
    assert_eq!(told[0].left, None);
}

#[test]
fn what_is_no_answer_decides_nothing() {
    let lines = [line(7, (0, 0))];
    let good = answer(1, &[status(1, Some(5), None)]);
    assert!(read(&good, &lines).is_some());
    for cut in 0..good.len() {
        assert_eq!(read(&good[..cut], &lines), None, "{cut} bytes of it");
    }
    let mut compressed = good.clone();
    compressed[0] = 1;
    assert_eq!(read(&compressed, &lines), None);
    assert_eq!(read(&answer(0, &[]), &lines), None, "UNKNOWN");
    assert_eq!(read(&answer(3, &[]), &lines), None);
    assert_eq!(read(b"", &lines), None);
}
