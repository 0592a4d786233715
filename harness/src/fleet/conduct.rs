//! Orders: what an endpoint is told to do at run time, and how it behaves under them.
//!
//! The same orders come through [`super::Endpoint::order`] and, for a person with curl or a test
//! in another language, as JSON to `POST /control` of any endpoint of the fleet.
//!
//! Each ailment looks from outside as it does on a real server. A killed one refuses connections, a hanging one
//! answers neither requests nor `/health` nor `/metrics`, one that fails all requests fails its health checks
//! with the same status and goes on telling its metrics, as vLLM does whose engine died. One that fails only
//! some requests passes its health checks: that is what passive checks are for.

use serde::Deserialize;

/// Something to do from now on; an order stands until another replaces it. Fail, hang and reset replace
/// each other, and slow ends a hang or a reset; slow, health and gpu go together with a failure.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case", deny_unknown_fields)]
pub enum Order {
    /// Behave: undo slow, fail, hang, reset and health.
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
    /// Answer `GET /health` with this status, whatever becomes of requests; 200 leaves health to the other
    /// orders again.
    Health {
        /// 200 to 599.
        status: u16,
    },
    /// Report this GPU utilisation (0 to 1) instead of the share of busy slots, in the ORCA header and in
    /// `/metrics`. Nothing but another such order ends it.
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
    ailment: Option<Ailment>,
    /// What `/health` answers, if that was ordered.
    health: Option<u16>,
    /// The GPU utilisation to report, if one was ordered.
    pub gpu: Option<f64>,
}

#[derive(Debug)]
enum Ailment {
    Fails {
        status: u16,
        ratio: f64,
        /// The part of a failure owed since the last one.
        owed: f64,
    },
    Hangs,
    Resets,
}

impl Default for Conduct {
    fn default() -> Self {
        Conduct {
            slow: 1.0,
            ailment: None,
            health: None,
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
            Order::Slow { factor } => {
                self.slow = factor.max(0.0);
                self.ailment
                    .take_if(|ailment| !matches!(ailment, Ailment::Fails { .. }));
            }
            Order::Fail { status, ratio } => {
                self.ailment = Some(Ailment::Fails {
                    status,
                    ratio: ratio.clamp(0.0, 1.0),
                    owed: 0.0,
                })
            }
            Order::Hang => self.ailment = Some(Ailment::Hangs),
            Order::Reset => self.ailment = Some(Ailment::Resets),
            Order::Health { status } => self.health = (status != 200).then_some(status),
            Order::Gpu { utilisation } => self.gpu = Some(utilisation.clamp(0.0, 1.0)),
            Order::Kill | Order::Leave => {}
        }
    }

    /// The fate of the next request. A ratio is met exactly, not by chance: tests count failures.
    pub fn fate(&mut self) -> Fate {
        match &mut self.ailment {
            Some(Ailment::Hangs) => return Fate::Hang,
            Some(Ailment::Resets) => return Fate::Reset,
            Some(Ailment::Fails {
                status,
                ratio,
                owed,
            }) => {
                *owed += *ratio;
                // Sums of tenths fall a hair short of one.
                if *owed >= 1.0 - 1e-9 {
                    *owed -= 1.0;
                    return Fate::Fail(*status);
                }
            }
            None => {}
        }
        Fate::Serve(self.slow)
    }

    /// The fate of a `GET /health`. 4xx says that a request was bad or one too many, not that the server is ill.
    pub fn fate_of_health(&self) -> Fate {
        match (&self.ailment, self.health) {
            (Some(Ailment::Hangs), _) => Fate::Hang,
            (Some(Ailment::Resets), _) => Fate::Reset,
            (_, Some(status)) => Fate::Fail(status),
            (Some(Ailment::Fails { status, ratio, .. }), _) if *ratio >= 1.0 && *status >= 500 => {
                Fate::Fail(*status)
            }
            _ => Fate::Serve(1.0),
        }
    }

    /// The fate of a `GET /metrics`.
    pub fn fate_of_metrics(&self) -> Fate {
        match self.ailment {
            Some(Ailment::Hangs) => Fate::Hang,
            Some(Ailment::Resets) => Fate::Reset,
            _ => Fate::Serve(1.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BROKEN: Order = Order::Fail {
        status: 500,
        ratio: 1.0,
    };

    fn under(orders: &[Order]) -> Conduct {
        let mut conduct = Conduct::default();
        orders.iter().for_each(|order| conduct.take(*order));
        conduct
    }

    #[test]
    fn a_failure_ratio_is_met_exactly() {
        let mut conduct = under(&[Order::Fail {
            status: 503,
            ratio: 0.1,
        }]);
        let failed = (0..100)
            .filter(|_| conduct.fate() == Fate::Fail(503))
            .count();
        assert_eq!(failed, 10);
    }

    #[test]
    fn behaving_undoes_every_order() {
        let slow = Order::Slow { factor: 9.0 };
        let mut conduct = under(&[slow, BROKEN, Order::Hang, Order::Health { status: 500 }]);
        assert_eq!(conduct.fate(), Fate::Hang);
        conduct.take(Order::Behave);
        assert_eq!(conduct.fate(), Fate::Serve(1.0));
        assert_eq!(conduct.fate_of_health(), Fate::Serve(1.0));
    }

    #[test]
    fn a_hanging_server_that_is_told_to_fail_fails() {
        assert_eq!(under(&[Order::Hang, BROKEN]).fate(), Fate::Fail(500));
        assert_eq!(under(&[BROKEN, Order::Reset]).fate(), Fate::Reset);
        let slow = Order::Slow { factor: 2.0 };
        assert_eq!(under(&[BROKEN, Order::Hang, slow]).fate(), Fate::Serve(2.0));
        assert_eq!(under(&[BROKEN, slow]).fate(), Fate::Fail(500));
    }

    #[test]
    fn health_tells_of_what_ails_all_requests_and_of_nothing_less() {
        let fail = |status, ratio| under(&[Order::Fail { status, ratio }]).fate_of_health();
        assert_eq!(fail(500, 1.0), Fate::Fail(500));
        assert_eq!(fail(500, 0.9), Fate::Serve(1.0));
        assert_eq!(fail(429, 1.0), Fate::Serve(1.0));
        assert_eq!(under(&[Order::Hang]).fate_of_health(), Fate::Hang);
        assert_eq!(under(&[Order::Reset]).fate_of_health(), Fate::Reset);
    }

    #[test]
    fn health_can_fail_while_requests_are_served() {
        let mut conduct = under(&[Order::Health { status: 503 }]);
        assert_eq!(conduct.fate(), Fate::Serve(1.0));
        assert_eq!(conduct.fate_of_health(), Fate::Fail(503));
        conduct.take(Order::Health { status: 200 });
        assert_eq!(conduct.fate_of_health(), Fate::Serve(1.0));
    }

    #[test]
    fn a_health_check_uses_up_no_failure_that_requests_are_owed() {
        let mut conduct = under(&[Order::Fail {
            status: 500,
            ratio: 0.5,
        }]);
        let mut fates = Vec::new();
        for _ in 0..4 {
            conduct.fate_of_health();
            fates.push(conduct.fate() == Fate::Fail(500));
        }
        assert_eq!(fates, [false, true, false, true]);
    }

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
    }
}
