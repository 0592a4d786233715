//! What an answer says, read while it passes by in pieces and is never held.

mod usage;

pub use usage::UsageReader;
