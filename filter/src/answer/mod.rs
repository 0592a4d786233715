//! What an answer says, read while it passes by in pieces and is never held.
//!
//! Two readers. [`UsageReader`] is for every answer: it looks for one number and leaves all else alone. [`Meter`]
//! is for answers that somebody has to pay for: it follows each event, counts the text in it, and knows at every byte what
//! the client has got.

mod events;
mod fields;
mod json;
mod meter;
mod unasked;
mod usage;

pub use meter::{Form, Meter, Relayed, Usage};
pub use unasked::Unasked;
pub use usage::UsageReader;
