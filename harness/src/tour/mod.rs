//! A tour of what Junheng does, in which every claim is checked against what the servers saw.
//!
//! A demonstration that cannot fail shows nothing. Here each statement comes with its figures and with
//! whether it held, on the embedded gateway and on Envoy alike; the program's exit code is the sum.

mod algorithms;
mod death;
mod load;
mod refusals;
mod routes;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use crate::config::Config;
use crate::fleet::Caller;
use crate::front::{Error, Front, Host};
use crate::stage::Stage;

/// Real servers take 0.2 s for an answer of 24 tokens; at this scale ten seconds show thousands.
const SCALE: f64 = 0.05;

/// One statement, checked.
#[derive(Clone, Debug, Serialize)]
pub struct Claim {
    /// What it is about.
    pub topic: &'static str,
    /// The statement.
    pub claim: String,
    /// Whether it held.
    pub held: bool,
    /// What it rests on.
    pub figures: Value,
}

/// Something to show while the tour goes on.
#[derive(Debug)]
pub enum Event<'a> {
    /// A new topic begins.
    Topic(&'a str),
    /// So much of it is done, from 0 to 1.
    Progress(f64),
    /// How many requests each endpoint served.
    Chart(&'a str, &'a [(String, u64)]),
    /// A claim was checked.
    Claim(&'a Claim),
}

/// Runs the whole tour on `host` and returns its claims. Its loads take about `seconds` together.
pub async fn run(
    host: Host,
    seconds: u64,
    show: &mut dyn FnMut(Event<'_>),
) -> Result<Vec<Claim>, Error> {
    let mut tour = Tour::prepare(host, Duration::from_secs(seconds), show)?;
    routes::visit(&mut tour).await?;
    algorithms::visit(&mut tour).await?;
    death::visit(&mut tour).await?;
    refusals::visit(&mut tour).await?;
    Ok(tour.claims)
}

/// What every topic needs.
struct Tour<'a> {
    host: Host,
    time: Duration,
    stage: Stage,
    claims: Vec<Claim>,
    show: &'a mut dyn FnMut(Event<'_>),
}

impl<'a> Tour<'a> {
    fn prepare(
        host: Host,
        time: Duration,
        show: &'a mut dyn FnMut(Event<'_>),
    ) -> Result<Tour<'a>, Error> {
        let stage = Stage::set(&Config::shipped()?, SCALE)?;
        Ok(Tour {
            host,
            time,
            stage,
            claims: Vec::new(),
            show,
        })
    }

    /// A proxy under the shipped configuration as `change` leaves it, and a caller of it.
    async fn open(&self, change: impl FnOnce(&mut Value)) -> Result<(Front, Arc<Caller>), Error> {
        let mut document = self.stage.config.document();
        change(&mut document);
        let config = Config::from_plugin("the tour's configuration", &document);
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let front = Front::start(self.host, &config, anywhere).await?;
        let caller = Arc::new(Caller::new(front.address()));
        Ok((front, caller))
    }

    fn topic(&mut self, topic: &str) {
        (self.show)(Event::Topic(topic));
    }

    fn claim(&mut self, topic: &'static str, claim: impl Into<String>, held: bool, figures: Value) {
        let claim = Claim {
            topic,
            claim: claim.into(),
            held,
            figures,
        };
        (self.show)(Event::Claim(&claim));
        self.claims.push(claim);
    }

    /// The names of the servers of the pool at `index`.
    fn servers(&self, index: usize) -> Result<Vec<String>, Error> {
        let pools = self.stage.config.pools()?;
        let pool = pools.get(index).map_or("", |pool| pool.name.as_str());
        let cast = self.stage.cast.iter().filter(|role| role.pool == pool);
        Ok(cast.map(|role| role.name.clone()).collect())
    }

    /// Requests that reached any server so far.
    fn arrived(&self) -> u64 {
        self.stage
            .fleet
            .endpoints()
            .iter()
            .map(|endpoint| endpoint.stats().requests)
            .sum()
    }
}
