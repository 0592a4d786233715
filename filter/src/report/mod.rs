//! What Junheng shows of itself: the names of its metrics, and the header that explains a decision.

pub mod decision;
pub mod metrics;
