//! The order of decisions: one request runs straight through this floor.
//!
//! headers -> the client's copies of our headers removed -> identity -> (body complete) request facts ->
//! rule -> pools -> endpoint -> verdict. Response: status -> who answered -> first byte -> usage -> end.
//!
//! A flow asks its proxy for nothing but the time and meters ([`crate::ports`]); what it wants done it returns as a
//! [`Verdict`], and the floor above carries it out. That keeps every decision testable without a proxy.

mod audit;
mod counter;
mod errand;
mod lease;
mod loads;
mod member;
mod place;
mod pool;
mod refusal;
mod request;
mod response;
mod stream;
mod verdict;
mod watch;
mod worker;

pub use errand::{Errand, Reply};
pub use member::Member;
pub use refusal::Refusal;
pub use response::{EndedBy, Origin, ResponseStart};
pub use stream::Stream;
pub use verdict::{DECISION, Forward, Verdict, is_for_us, is_ours};
pub use worker::Worker;
