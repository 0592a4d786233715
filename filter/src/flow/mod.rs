//! The order of decisions: one request runs straight through this floor.
//!
//! headers -> the client's copies of our headers removed -> identity -> (body complete) request
//! facts -> rule -> pools -> endpoint -> verdict. Response: status -> who answered -> beginning ->
//! usage -> end, and the endpoint is judged. Tick: what the others agreed on; the leader's audit,
//! weights and errands.
//!
//! A flow asks its proxy for nothing but the time, meters and what workers share ([`crate::ports`]); what it wants
//! done it returns as a [`Verdict`] or an [`Errand`], and the floor above carries it out. That keeps every
//! decision testable without a proxy.

mod announce;
mod attempts;
mod audit;
mod bearers;
mod begin;
mod caller;
mod counter;
#[cfg(feature = "identity")]
mod credentials;
mod errand;
mod forward;
mod held;
mod judgement;
mod keys;
mod learned;
mod lease;
mod loads;
mod member;
mod overdue;
mod pick;
mod place;
mod pool;
mod quota;
mod refusal;
mod request;
mod response;
mod retries;
mod stream;
mod subject;
mod suspects;
mod turns;
mod unplaced;
mod verdict;
mod waiting;
mod watch;
mod worker;

pub use errand::{Errand, Reply};
pub use member::Member;
pub use refusal::Refusal;
pub use response::{EndedBy, Origin, ResponseStart};
pub use stream::Stream;
pub use verdict::{DECISION, Forward, Verdict, is_for_us, is_ours};
pub use worker::Worker;
