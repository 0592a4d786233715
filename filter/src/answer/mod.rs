//! What an answer says, read while it passes by in pieces and is never held.
//!
//! [`OpeningReader`] is for streams: it reads the first event with data, which tells whether there
//! is an answer. [`UsageReader`] is for every answer: it looks for one number and leaves all else
//! alone. [`Meter`] is for answers that somebody has to pay for: it follows each event, counts the
//! text in it, and knows at every byte what the client has got. [`Relay`] is a meter that changes
//! what passes: takes out the event with the usage, ends a stream at its budget.

mod ending;
mod events;
mod fault;
mod fields;
mod json;
mod meter;
mod opening;
mod relay;
mod usage;

pub use fault::Fault;
pub use meter::{Form, Meter, Relayed, Usage};
pub use opening::{Opening, OpeningReader};
pub use relay::Relay;
pub use usage::UsageReader;
