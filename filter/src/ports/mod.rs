//! What the flow may ask of the proxy it runs in: the time, meters, what all workers share, and what
//! the proxy knows of a stream beside its headers.
//!
//! Everything else a flow needs is handed to it, and everything it wants done it returns. These are
//! different: an in-flight count is shared by all workers, and it has to be read and stepped in the middle
//! of a decision; so is what they agree on about an endpoint. The time is asked for as most callbacks decide
//! nothing that depends on it, and each reading is a call to the host. The floors below take all of it as
//! arguments.

mod host;
mod plugin;
mod store;

pub use host::{Host, Kind, Meter};
pub use plugin::{Plugin, Scoped};
pub use store::{Store, Stored, Version, update};
