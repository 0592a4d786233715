//! Orders: how an endpoint is to behave from now on.
//!
//! The same orders come through [`super::Endpoint::order`] and, for a person with curl or a test in
//! another language, as JSON to `POST /control` of any endpoint of the fleet.

use serde::Deserialize;

/// A request whose body holds this text is poisoned: see [`Order::Poison`].
pub const POISON: &str = "{{poison}}";
/// The header that names a request's tenant to the fleet.
pub const TENANT_HEADER: &str = "x-tenant";
/// The tenant that [`Order::LimitTenant`] limits.
pub const LIMITED_TENANT: &str = "limited";

/// A behaviour; it stands until another order replaces it.
///
/// Fail, error_in_stream, hang and reset replace each other, and slow ends a hang or a reset. All
/// others go together with any of them.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case", deny_unknown_fields)]
pub enum Order {
    /// Behave: undo slow, fail, error_in_stream, hang, reset, shed, think and health.
    Behave,
    /// Take `factor` times as long.
    Slow {
        /// 1 is the usual speed.
        factor: f64,
    },
    /// Answer `status` to a share of requests, spread evenly: 0.5 is every second one.
    Fail {
        /// The status of the failures, 400 to 599.
        status: u16,
        /// Between 0 and 1.
        #[serde(default = "all")]
        ratio: f64,
    },
    /// Answer streamed requests 200 with an event stream whose first event is an error, as an API
    /// server does whose engine has died, and all other requests `status`.
    ErrorInStream {
        /// The status that the error stands for, 400 to 599.
        status: u16,
    },
    /// Accept connections and requests and never answer.
    Hang,
    /// Reset the connection of every request once it has been read.
    Reset,
    /// Close the listener and reset all connections: further connects are refused.
    Kill,
    /// Shut down as a server does that is asked to: close the listener, finish what runs, then
    /// close the connections.
    Leave,
    /// Listen again on the same port after [`Order::Kill`] or [`Order::Leave`], and behave.
    Revive,
    /// Refuse requests beyond `slots` running ones instead of queueing them.
    Shed {
        /// At most the server's own; 0 refuses all.
        slots: usize,
        /// The status of the refusals, 400 to 599.
        status: u16,
        /// Seconds in the refusals' `Retry-After`; `None` sends none.
        #[serde(default)]
        retry_after: Option<f64>,
    },
    /// Take this long to the first token, whatever the prompt.
    Think {
        /// On the fleet's clock, as all service times.
        millis: u64,
        /// What a streamed answer begins with meanwhile.
        #[serde(default)]
        opening: Opening,
    },
    /// Answer `GET /health` with this status, whatever becomes of requests; 200 leaves health to
    /// the other orders again.
    Health {
        /// 200 to 599.
        status: u16,
    },
    /// Report this GPU utilisation (0 to 1) instead of the share of busy slots, in the ORCA header
    /// and in `/metrics`. Only another such order ends it.
    Gpu {
        /// Between 0 and 1.
        utilisation: f64,
    },
    /// Answer requests whose body holds [`POISON`] with `status`, as a server does that a certain
    /// request makes fail. Only another such order ends it; 200 serves them.
    Poison {
        /// 200, or 400 to 599.
        status: u16,
        /// Answer streams as [`Order::ErrorInStream`] does.
        #[serde(default)]
        in_stream: bool,
    },
    /// Answer requests of [`LIMITED_TENANT`] with 429. Only another such order ends it; 0 serves
    /// them.
    LimitTenant {
        /// Seconds in `Retry-After`.
        retry_after: f64,
    },
}

/// What a streamed answer begins with before its first token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Opening {
    /// Nothing: its headers come with the first token.
    #[default]
    Nothing,
    /// Its headers at once, as Starlette's servers send them.
    Headers,
    /// Its headers and a comment at once.
    Comment,
    /// Its headers and an event without text at once: Anthropic's `ping`.
    Ping,
}

fn all() -> f64 {
    1.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_are_read_from_json() {
        let read = |text| serde_json::from_str::<Order>(text).unwrap();
        assert_eq!(
            read(r#"{"order": "fail", "status": 500, "ratio": 0.2}"#),
            Order::Fail {
                status: 500,
                ratio: 0.2
            }
        );
        assert_eq!(read(r#"{"order": "kill"}"#), Order::Kill);
        assert_eq!(
            read(r#"{"order": "health", "status": 503}"#),
            Order::Health { status: 503 }
        );
        assert_eq!(
            read(r#"{"order": "shed", "slots": 4, "status": 503}"#),
            Order::Shed {
                slots: 4,
                status: 503,
                retry_after: None
            }
        );
        assert_eq!(
            read(r#"{"order": "think", "millis": 900, "opening": "comment"}"#),
            Order::Think {
                millis: 900,
                opening: Opening::Comment
            }
        );
    }
}
