//! The orders in force at one endpoint, and what they make of each request.
//!
//! Each ailment looks from outside as it does on a real server. A killed one refuses connections, a
//! hanging one answers neither requests nor `/health` nor `/metrics`, one that fails all requests
//! fails its health checks with the same status and still serves its metrics, as vLLM does whose
//! engine died. One that fails only some requests passes its health checks: passive checks are for
//! those.

use http::StatusCode;

use super::order::{Opening, Order};

/// What a request is to the orders that concern some requests only.
#[derive(Clone, Copy, Debug, Default)]
pub struct Traits {
    /// Its body holds [`super::POISON`].
    pub poisoned: bool,
    /// It is of [`super::LIMITED_TENANT`].
    pub limited: bool,
}

/// What becomes of one request under the orders in force.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fate {
    /// Serve it.
    Serve(Service),
    /// Answer this.
    Fail(Failure),
    /// Answer a stream with an error event that stands for this status, and anything else with the
    /// status.
    ErrorInStream(u16),
    /// Keep it for ever.
    Hang,
    /// Reset its connection.
    Reset,
}

/// How a request is served.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Service {
    /// How many times slower than usual.
    pub slow: f64,
    /// How long the first token takes and what comes before it, if that was ordered.
    pub think: Option<(u64, Opening)>,
    /// The bound on running requests, and the answer beyond it.
    pub shed: Option<(usize, Failure)>,
}

/// An error answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Failure {
    /// 400 to 599.
    pub status: u16,
    /// Seconds in `Retry-After`.
    pub retry_after: Option<f64>,
}

/// The orders in force at one endpoint.
#[derive(Debug, Default)]
pub struct Conduct {
    service: Service,
    ailment: Option<Ailment>,
    /// What `/health` answers, if that was ordered.
    health: Option<u16>,
    lasting: Lasting,
}

/// What only an order of the same kind ends.
#[derive(Clone, Copy, Debug, Default)]
struct Lasting {
    gpu: Option<f64>,
    poison: Option<Fate>,
    limit: Option<Fate>,
}

#[derive(Debug)]
enum Ailment {
    Fails {
        status: u16,
        ratio: f64,
        /// The part of a failure owed since the last one.
        owed: f64,
    },
    ErrsInStreams(u16),
    Hangs,
    Resets,
}

impl Default for Service {
    fn default() -> Self {
        Service {
            slow: 1.0,
            think: None,
            shed: None,
        }
    }
}

impl Failure {
    /// An answer of `status` alone.
    pub fn of(status: u16) -> Failure {
        Failure {
            status,
            retry_after: None,
        }
    }

    /// The status; 500 where an order named none.
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl Conduct {
    /// Takes `order` into force. Kill, leave and revive concern the socket; of them only the return to
    /// good behaviour is kept here.
    pub fn take(&mut self, order: Order) {
        match order {
            Order::Behave | Order::Revive => {
                *self = Conduct {
                    lasting: self.lasting,
                    ..Conduct::default()
                }
            }
            Order::Slow { factor } => {
                self.service.slow = factor.max(0.0);
                self.ailment
                    .take_if(|ailment| matches!(ailment, Ailment::Hangs | Ailment::Resets));
            }
            Order::Fail { status, ratio } => {
                self.ailment = Some(Ailment::Fails {
                    status,
                    ratio: ratio.clamp(0.0, 1.0),
                    owed: 0.0,
                })
            }
            Order::ErrorInStream { status } => self.ailment = Some(Ailment::ErrsInStreams(status)),
            Order::Hang => self.ailment = Some(Ailment::Hangs),
            Order::Reset => self.ailment = Some(Ailment::Resets),
            Order::Shed {
                slots,
                status,
                retry_after,
            } => {
                let refusal = Failure {
                    status,
                    retry_after,
                };
                self.service.shed = Some((slots, refusal));
            }
            Order::Think { millis, opening } => self.service.think = Some((millis, opening)),
            Order::Health { status } => self.health = (status != 200).then_some(status),
            Order::Gpu { utilisation } => self.lasting.gpu = Some(utilisation.clamp(0.0, 1.0)),
            Order::Poison { status, in_stream } => {
                let fate = match in_stream {
                    true => Fate::ErrorInStream(status),
                    false => Fate::Fail(Failure::of(status)),
                };
                self.lasting.poison = (status != 200).then_some(fate);
            }
            Order::LimitTenant { retry_after } => {
                let refusal = Failure {
                    status: 429,
                    retry_after: Some(retry_after),
                };
                self.lasting.limit = (retry_after > 0.0).then_some(Fate::Fail(refusal));
            }
            Order::Kill | Order::Leave => {}
        }
    }

    /// The fate of the next request. A ratio is met exactly, not by chance: tests count failures.
    pub fn fate(&mut self, traits: Traits) -> Fate {
        match &mut self.ailment {
            Some(Ailment::Hangs) => return Fate::Hang,
            Some(Ailment::Resets) => return Fate::Reset,
            Some(Ailment::ErrsInStreams(status)) => return Fate::ErrorInStream(*status),
            Some(Ailment::Fails {
                status,
                ratio,
                owed,
            }) => {
                *owed += *ratio;
                // Sums of tenths fall a hair short of one.
                if *owed >= 1.0 - 1e-9 {
                    *owed -= 1.0;
                    return Fate::Fail(Failure::of(*status));
                }
            }
            None => {}
        }
        let limit = self.lasting.limit.filter(|_| traits.limited);
        let poison = self.lasting.poison.filter(|_| traits.poisoned);
        limit.or(poison).unwrap_or(Fate::Serve(self.service))
    }

    /// The fate of a `GET /health`. A 4xx means a bad request or one too many, not an ill server.
    pub fn fate_of_health(&self) -> Fate {
        match (&self.ailment, self.health) {
            (Some(Ailment::Hangs), _) => Fate::Hang,
            (Some(Ailment::Resets), _) => Fate::Reset,
            (_, Some(status)) => Fate::Fail(Failure::of(status)),
            (Some(Ailment::Fails { status, ratio, .. }), _) if *ratio >= 1.0 && *status >= 500 => {
                Fate::Fail(Failure::of(*status))
            }
            _ => Fate::Serve(Service::default()),
        }
    }

    /// The fate of a `GET /metrics`.
    pub fn fate_of_metrics(&self) -> Fate {
        match self.ailment {
            Some(Ailment::Hangs) => Fate::Hang,
            Some(Ailment::Resets) => Fate::Reset,
            _ => Fate::Serve(Service::default()),
        }
    }

    /// The GPU utilisation to report, if one was ordered.
    pub fn gpu(&self) -> Option<f64> {
        self.lasting.gpu
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BROKEN: Order = Order::Fail {
        status: 500,
        ratio: 1.0,
    };

    fn served(slow: f64) -> Fate {
        Fate::Serve(Service {
            slow,
            ..Service::default()
        })
    }

    fn failed(status: u16) -> Fate {
        Fate::Fail(Failure::of(status))
    }

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
            .filter(|_| conduct.fate(Traits::default()) == failed(503))
            .count();
        assert_eq!(failed, 10);
    }

    #[test]
    fn behaving_undoes_every_order() {
        let slow = Order::Slow { factor: 9.0 };
        let mut conduct = under(&[slow, BROKEN, Order::Hang, Order::Health { status: 500 }]);
        assert_eq!(conduct.fate(Traits::default()), Fate::Hang);
        conduct.take(Order::Behave);
        assert_eq!(conduct.fate(Traits::default()), served(1.0));
        assert_eq!(conduct.fate_of_health(), served(1.0));
    }

    #[test]
    fn a_hanging_server_that_is_told_to_fail_fails() {
        assert_eq!(
            under(&[Order::Hang, BROKEN]).fate(Traits::default()),
            failed(500)
        );
        assert_eq!(
            under(&[BROKEN, Order::Reset]).fate(Traits::default()),
            Fate::Reset
        );
        let slow = Order::Slow { factor: 2.0 };
        assert_eq!(
            under(&[BROKEN, Order::Hang, slow]).fate(Traits::default()),
            served(2.0)
        );
        assert_eq!(under(&[BROKEN, slow]).fate(Traits::default()), failed(500));
    }

    #[test]
    fn health_tells_of_what_ails_all_requests_and_of_nothing_less() {
        let fail = |status, ratio| under(&[Order::Fail { status, ratio }]).fate_of_health();
        assert_eq!(fail(500, 1.0), failed(500));
        assert_eq!(fail(500, 0.9), served(1.0));
        assert_eq!(fail(429, 1.0), served(1.0));
        assert_eq!(under(&[Order::Hang]).fate_of_health(), Fate::Hang);
        assert_eq!(under(&[Order::Reset]).fate_of_health(), Fate::Reset);
    }

    #[test]
    fn health_can_fail_while_requests_are_served() {
        let mut conduct = under(&[Order::Health { status: 503 }]);
        assert_eq!(conduct.fate(Traits::default()), served(1.0));
        assert_eq!(conduct.fate_of_health(), failed(503));
        conduct.take(Order::Health { status: 200 });
        assert_eq!(conduct.fate_of_health(), served(1.0));
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
            fates.push(conduct.fate(Traits::default()) == failed(500));
        }
        assert_eq!(fates, [false, true, false, true]);
    }

    #[test]
    fn poison_and_the_limited_tenant_fail_apart_from_all_others_and_outlive_good_behaviour() {
        let orders = [
            Order::Poison {
                status: 501,
                in_stream: false,
            },
            Order::LimitTenant { retry_after: 60.0 },
            Order::Behave,
        ];
        let mut conduct = under(&orders);
        let poisoned = Traits {
            poisoned: true,
            ..Traits::default()
        };
        let limited = Traits {
            limited: true,
            ..Traits::default()
        };
        assert_eq!(conduct.fate(Traits::default()), served(1.0));
        assert_eq!(conduct.fate(poisoned), failed(501));
        let refusal = Failure {
            status: 429,
            retry_after: Some(60.0),
        };
        assert_eq!(conduct.fate(limited), Fate::Fail(refusal));
        assert_eq!(conduct.fate_of_health(), served(1.0));
        conduct.take(Order::Poison {
            status: 200,
            in_stream: false,
        });
        conduct.take(Order::LimitTenant { retry_after: 0.0 });
        assert_eq!(conduct.fate(poisoned), served(1.0));
        assert_eq!(conduct.fate(limited), served(1.0));
    }
}
