//! One endpoint as a worker watches it.

use crate::balance;
use crate::health::{LEAST_SHARE, Rules, Standing, State, Why};
use crate::ports::{Host, Kind, Meter, update};
use crate::report::metrics;
use crate::values::units::{Share, Weight};

use crate::flow::announce::{Announced, Stand};

use super::doubt::Doubt;

/// One endpoint of a pool.
pub(super) struct Watched {
    /// Of the state in the store.
    pub(super) key: String,
    pub(super) state: State,
    pub(super) standing: Standing,
    /// Whether it is tripped and stays in, as the breaker has taken out as many as it may.
    pub(super) spared: bool,
    /// What it weighs when it is in.
    pub(super) weight: Weight,
    pub(super) answered: Option<Meter>,
    pub(super) trips: Option<Meter>,
    pub(super) announced: Announced,
    pub(super) doubt: Doubt,
}

impl Watched {
    /// The endpoint at `address`. What another configuration has left of it is read under `rules`.
    pub fn new(
        pool: &str,
        address: &str,
        weight: Weight,
        rules: &Rules,
        host: &mut dyn Host,
    ) -> Watched {
        let now = host.now();
        let key = format!("junheng/health/{pool}/{address}");
        host.create(&key, &State::default().encode());
        update(host, &key, |_, bytes| {
            let state = State::decode(bytes).unwrap_or_default();
            let under = state.under(rules, now);
            (under != state).then(|| (under.encode(), ()))
        });
        Watched {
            key,
            state: State::default(),
            standing: Standing::In(Share::WHOLE),
            spared: false,
            weight,
            answered: host.define(Kind::Counter, &metrics::endpoint_answered(pool, address)),
            trips: host.define(Kind::Counter, &metrics::endpoint_trips(pool, address)),
            announced: Announced::new(pool, address, host),
            doubt: Doubt::default(),
        }
    }

    /// Where it stands, for those who are told.
    pub fn stand(&self, bound: Option<u32>) -> Stand {
        Stand {
            code: self.standing.code(),
            spared: self.spared,
            cause: self.state.cause(),
            check_status: self.state.check_status(),
            bound,
        }
    }

    /// Whether it takes traffic.
    pub fn is_in(&self) -> bool {
        let admitted = match self.standing {
            Standing::In(_) => true,
            Standing::DueForProbe => self.spared,
            Standing::Out { why, .. } => self.spared && matches!(why, Why::Tripped | Why::Probing),
        };
        admitted && !self.weight.is_drained()
    }

    /// Gives it in the balance what it weighs by weight and standing.
    pub fn weigh(&self, endpoint: usize, pool: &mut balance::Pool) {
        let (weight, share) = match self.standing {
            Standing::In(share) => (self.weight, share),
            Standing::DueForProbe => self.weight_if_spared(),
            Standing::Out { why, .. } => match why {
                Why::Tripped | Why::Probing => self.weight_if_spared(),
                Why::Unhealthy | Why::Resting => (Weight::DRAINED, Share::WHOLE),
            },
        };
        let view = pool.view();
        if (view.weight(endpoint), view.share(endpoint)) != (weight, share) {
            pool.set_weight(endpoint, weight, share);
        }
    }

    fn weight_if_spared(&self) -> (Weight, Share) {
        match self.spared {
            true => (self.weight, LEAST_SHARE),
            false => (Weight::DRAINED, Share::WHOLE),
        }
    }
}
