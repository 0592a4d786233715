//! The kinds of trouble: what brings each about, and what is expected of the balancer.

use serde::Serialize;

use crate::fleet::Order;

/// How much slower a slow endpoint is.
const SLOW: f64 = 20.0;
/// What an overloaded endpoint still runs at once: less than its share.
const OVERLOADED_SLOTS: usize = 2;

/// What can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Kind {
    /// Its connections are reset, and new ones refused
    Kill,
    /// It takes 20 times as long
    Slow,
    /// It accepts requests and never answers
    Hang,
    /// It reads each request and resets its connection
    Reset,
    /// It answers each request with 500
    Errors,
    /// It dies and comes back every 1.5 s
    Flap,
    /// It runs two requests at once and answers the others 503 with `Retry-After: 1`
    Overloaded,
    /// It answers streams 200 with an error as their first event, and other requests with 500
    ErrorInStream,
    /// An attack: requests that every server answers 500
    Poison,
    /// An attack: requests of a tenant that every server answers 429 with `Retry-After: 60`
    #[serde(rename = "tenant_429")]
    #[value(name = "tenant_429")]
    Tenant429,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 10] = [
        Kind::Kill,
        Kind::Slow,
        Kind::Hang,
        Kind::Reset,
        Kind::Errors,
        Kind::Flap,
        Kind::Overloaded,
        Kind::ErrorInStream,
        Kind::Poison,
        Kind::Tenant429,
    ];

    /// Its name, as reports have it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Kill => "kill",
            Kind::Slow => "slow",
            Kind::Hang => "hang",
            Kind::Reset => "reset",
            Kind::Errors => "errors",
            Kind::Flap => "flap",
            Kind::Overloaded => "overloaded",
            Kind::ErrorInStream => "error_in_stream",
            Kind::Poison => "poison",
            Kind::Tenant429 => "tenant_429",
        }
    }

    /// Whether a tenant does it, and no endpoint is at fault.
    pub fn is_attack(self) -> bool {
        matches!(self, Kind::Poison | Kind::Tenant429)
    }

    /// Whether health has to see it. Slow and overloaded endpoints answer; the balance gives them
    /// less.
    pub fn must_be_detected(self) -> bool {
        !matches!(self, Kind::Slow | Kind::Overloaded) && !self.is_attack()
    }

    /// The shortest and the longest of its kind in milliseconds. A hang is noticed after a timeout
    /// only.
    pub(super) fn lengths(self) -> (u64, u64) {
        match self {
            Kind::Hang => (12_000, 15_000),
            _ => (6_000, 9_000),
        }
    }

    /// The order that brings it about; attacks need none.
    pub(super) fn strike(self) -> Order {
        match self {
            Kind::Kill | Kind::Flap => Order::Kill,
            Kind::Slow => Order::Slow { factor: SLOW },
            Kind::Hang => Order::Hang,
            Kind::Reset => Order::Reset,
            Kind::Errors => Order::Fail {
                status: 500,
                ratio: 1.0,
            },
            Kind::Overloaded => Order::Shed {
                slots: OVERLOADED_SLOTS,
                status: 503,
                retry_after: Some(1.0),
            },
            Kind::ErrorInStream => Order::ErrorInStream { status: 500 },
            Kind::Poison | Kind::Tenant429 => Order::Behave,
        }
    }

    pub(super) fn heal(self) -> Order {
        match self {
            Kind::Kill | Kind::Flap => Order::Revive,
            _ => Order::Behave,
        }
    }
}
