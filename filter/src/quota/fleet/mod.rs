//! Limits of a whole fleet of proxies, kept by somebody else: what is asked of it, and what its answer says.
//!
//! A proxy asks for what a request costs and for a little more, its *lease*, so that not each request pays the way there;
//! what it has on loan and does not use it gives back ([`Loans`]). So the fleet never takes more than its limit, and what
//! lies idle is at most a lease a worker. (A unit that is used a while after it was taken may come together with what has
//! drained since, so within a window as short as a loan, the limit is held within the leases.)
//!
//! Two engines: [`redis`] runs the algorithm of [`super::Bucket`] in a script, one a decision, for all limits at
//! once; a [`service`] has an algorithm of its own.

mod loans;
pub mod redis;
pub mod service;

use std::rc::Rc;
use std::time::Duration;

use super::rate::Rate;
use super::{Left, Refused};

pub use loans::{Aside, LoanId, Loans};

/// What an engine is asked about one budget.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Whose budget of which limit.
    pub id: LoanId,
    /// Of requests, or of tokens; a place in [`super::Costs`].
    pub budget: usize,
    /// So much is needed, or nothing is taken at all.
    pub want: u64,
    /// So much more is taken if it is there.
    pub ahead: u64,
    /// So much of what was taken before is not on loan any more.
    pub released: u64,
    /// So much was used: less where the rest is given back, more where that was not taken before.
    pub used: u64,
    /// What requests of this budget have in common, each with its name; empty where the engine does not ask.
    pub shared: Shared,
}

/// What requests of a budget have in common, each with its name.
pub type Shared = Rc<[(String, String)]>;

/// What an engine says of one budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// What it gives, or why it does not. All of what a request needs is given, or nothing.
    pub granted: Result<u64, Refused>,
    /// What is left in it for everybody, where that is said.
    pub left: Option<Left>,
}

/// How a budget is called by those who keep it.
#[derive(Clone, Copy, Debug)]
pub struct Named<'a> {
    /// The limit's name.
    pub limit: &'a str,
    /// `requests` or `tokens`.
    pub unit: &'static str,
    /// Of the limit.
    pub rate: Rate,
}

/// Redis knows for an hour at least what is on loan. Nothing lies on loan longer than half of that before a request takes it,
/// and of a request that takes longer than the other half nothing goes back: it counts as used.
pub const HALF_TERM: Duration = Duration::from_secs(1800);

/// A time in microseconds, as engines tell it.
const fn micros(micros: u64) -> Duration {
    Duration::from_micros(micros)
}
