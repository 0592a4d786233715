//! Budgets of requests and tokens: what one may take at once, and how soon it comes back.
//!
//! A budget is a bucket under the generic cell rate algorithm (GCRA: ITU-T I.371, annex A; the virtual scheduling
//! form of the ATM Forum's Traffic Management Specification 4.0, section 4.4.2). It needs one reading of the clock
//! for a state, knows no windows that double the limit at their seam, and tells exactly when a cost will fit. What
//! is added to it here is that a cost is not known when it is admitted: it is *reserved*, and *settled* when the answer
//! has told what was really used (see [`Bucket`] for how little may then be given back).
//!
//! Where buckets are kept is [`Table`]'s: values of fixed size by a key's hash, so that no caller can make them more.
//! Everything here is a pure step `(old, now, input) -> (new, outcome)`; the flow runs them under compare-and-swap.

mod bucket;
mod carry;
pub mod fleet;
mod rate;
mod table;

pub use bucket::{Bucket, Hold, RENEWAL, Refused};
pub use carry::Moved;
pub use rate::{Rate, seconds};
pub use table::{BUDGETS, Costs, Holds, Key, Left, Place, Rates, Reserved, Table};

#[cfg(test)]
mod reference;
