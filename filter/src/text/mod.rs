//! What text is made of and how many tokens that is, for all who read text: requests that come whole, and
//! answers that come in pieces.
//!
//! [`lanes`] and [`stops`] find what interrupts a string, sixteen and sixty-four bytes at a time;
//! [`TextCounts`] is what there was between; [`Estimator`] makes tokens of it.

mod counts;
mod estimate;
mod flowing;
pub mod lanes;
pub mod stops;

pub use counts::TextCounts;
pub use estimate::{Correction, Estimator, raw};
pub use flowing::Flowing;
