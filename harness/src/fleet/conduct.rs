//! Orders: what an endpoint is told to do at run time, and how it behaves under them.
//!
//! The same orders come through [`super::Endpoint::order`] and, for a person with curl or a test
//! in another language, as JSON to `POST /control` of any endpoint of the fleet.

use serde::Deserialize;

/// Something to do from now on; an order stands until another replaces it.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case", deny_unknown_fields)]
pub enum Order {
    /// Behave: undo slow, fail, hang and reset.
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
    /// Accept connections and requests and never answer.
    Hang,
    /// Reset the connection of every request once it has been read.
    Reset,
    /// Close the listener and reset all connections: further connects are refused.
    Kill,
    /// Shut down as a server does that is asked to: close the listener, finish what runs, then close
    /// the connections.
    Leave,
    /// Listen again on the same port after [`Order::Kill`] or [`Order::Leave`], and behave.
    Revive,
    /// Report this GPU utilisation (0 to 1) instead of the share of busy slots.
    Gpu {
        /// Between 0 and 1.
        utilisation: f64,
    },
}

fn all() -> f64 {
    1.0
}

/// What becomes of one request under the orders in force.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fate {
    /// Serve it, this many times slower than usual.
    Serve(f64),
    /// Answer this status.
    Fail(u16),
    /// Keep it for ever.
    Hang,
    /// Reset its connection.
    Reset,
}

/// The orders in force at one endpoint.
#[derive(Debug)]
pub struct Conduct {
    slow: f64,
    fail: Option<(u16, f64)>,
    /// The part of a failure owed since the last one.
    owed: f64,
    broken: Option<Fate>,
    /// The GPU utilisation to report, if one was ordered.
    pub gpu: Option<f64>,
}

impl Default for Conduct {
    fn default() -> Self {
        Conduct {
            slow: 1.0,
            fail: None,
            owed: 0.0,
            broken: None,
            gpu: None,
        }
    }
}

impl Conduct {
    /// Takes `order` into force. Kill, leave and revive concern the socket; of them only the return to
    /// good behaviour is kept here.
    pub fn take(&mut self, order: Order) {
        match order {
            Order::Behave | Order::Revive => {
                *self = Conduct {
                    gpu: self.gpu,
                    ..Conduct::default()
                }
            }
            Order::Slow { factor } => self.slow = factor.max(0.0),
            Order::Fail { status, ratio } => self.fail = Some((status, ratio.clamp(0.0, 1.0))),
            Order::Hang => self.broken = Some(Fate::Hang),
            Order::Reset => self.broken = Some(Fate::Reset),
            Order::Gpu { utilisation } => self.gpu = Some(utilisation.clamp(0.0, 1.0)),
            Order::Kill | Order::Leave => {}
        }
    }

    /// The fate of the next request. A ratio is met exactly, not by chance: tests count failures.
    pub fn fate(&mut self) -> Fate {
        if let Some(fate) = self.broken {
            return fate;
        }
        if let Some((status, ratio)) = self.fail {
            self.owed += ratio;
            // Sums of tenths fall a hair short of one.
            if self.owed >= 1.0 - 1e-9 {
                self.owed -= 1.0;
                return Fate::Fail(status);
            }
        }
        Fate::Serve(self.slow)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_ratio_is_met_exactly() {
        let mut conduct = Conduct::default();
        conduct.take(Order::Fail {
            status: 503,
            ratio: 0.1,
        });
        let failed = (0..100)
            .filter(|_| conduct.fate() == Fate::Fail(503))
            .count();
        assert_eq!(failed, 10);
    }

    #[test]
    fn behaving_undoes_every_order() {
        let mut conduct = Conduct::default();
        for order in [
            Order::Slow { factor: 9.0 },
            Order::Fail {
                status: 500,
                ratio: 1.0,
            },
            Order::Hang,
        ] {
            conduct.take(order);
        }
        assert_eq!(conduct.fate(), Fate::Hang);
        conduct.take(Order::Behave);
        assert_eq!(conduct.fate(), Fate::Serve(1.0));
    }

    #[test]
    fn orders_are_read_from_json() {
        let order: Order =
            serde_json::from_str(r#"{"order": "fail", "status": 500, "ratio": 0.2}"#).unwrap();
        assert_eq!(
            order,
            Order::Fail {
                status: 500,
                ratio: 0.2
            }
        );
        let order: Order = serde_json::from_str(r#"{"order": "kill"}"#).unwrap();
        assert_eq!(order, Order::Kill);
    }
}
