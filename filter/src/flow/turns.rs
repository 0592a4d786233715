//! Asking an endpoint once a turn, where several configurations of a plugin ask alike.
//!
//! Each configuration in force has a leader, and most of what they ask is the same: during a drain
//! each endpoint would be checked as often as there are configurations, and three failures in a row
//! would be one. So a turn is taken: in a value of the endpoint's stands for each question the last
//! turn in which it was asked. A question is all that is written of it, so two configurations that
//! ask differently both ask.

use std::hash::{DefaultHasher, Hash, Hasher};

use crate::ports::{Host, update};

/// The questions of one endpoint, each with the turn that was taken last.
type Turn = (u64, u64);

/// What one endpoint may be asked at once; the oldest question gives way.
const MOST: usize = 16;

/// The value of the endpoint `address` of `pool`.
fn key(pool: &str, address: &str) -> String {
    ["junheng/turns/", pool, "/", address].concat()
}

/// Makes the value of an endpoint.
pub(super) fn prepare(pool: &str, address: &str, host: &mut dyn Host) {
    host.create(&key(pool, address), b"");
}

/// Names what is asked, by all that is written of it.
pub(super) fn question(what: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    hasher.finish()
}

/// Whether `question` is to be asked in `turn`: not if another configuration has. Where the store
/// does not tell, it is.
pub(super) fn take(
    (pool, address): (&str, &str),
    question: u64,
    turn: u64,
    host: &mut dyn Host,
) -> bool {
    let mut taken = false;
    update(host, &key(pool, address), |_, bytes| {
        let mut turns = decode(bytes);
        taken = turns.contains(&(question, turn));
        turns.retain(|(known, _)| *known != question);
        turns.truncate(MOST.saturating_sub(1));
        turns.insert(0, (question, turn));
        (!taken).then(|| (encode(&turns), ()))
    });
    !taken
}

fn encode(turns: &[Turn]) -> Vec<u8> {
    let words = turns.iter().flat_map(|(question, turn)| [*question, *turn]);
    words.flat_map(u64::to_le_bytes).collect()
}

fn decode(bytes: &[u8]) -> Vec<Turn> {
    let (words, _) = bytes.as_chunks::<8>();
    let (turns, _) = words.as_chunks::<2>();
    let turn = |[question, turn]: &[[u8; 8]; 2]| {
        (u64::from_le_bytes(*question), u64::from_le_bytes(*turn))
    };
    turns.iter().map(turn).collect()
}
