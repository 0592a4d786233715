//! One endpoint is killed under load and comes back; nobody notices but the others.
//!
//! It goes as servers go when they crash: connections are reset, and what was being worked on is lost. No
//! answer had begun to reach its caller, so the proxy asks the next endpoint of the list.

use std::time::{Duration, Instant};

use serde_json::json;

use super::load::{self, Load};
use super::{Event, Tour};
use crate::fleet::{Endpoint, Order};
use crate::front::Error;
use crate::stage::Stage;

const TOPIC: &str = "death";
/// Enough that the others are busy: a returning endpoint is then soon the better choice.
const CALLERS: usize = 64;
/// How long an endpoint that came back may be left alone. Failures count as load that fades in tens of seconds.
const BACK_WITHIN: Duration = Duration::from_secs(60);

pub async fn visit(tour: &mut Tour<'_>) -> Result<(), Error> {
    tour.topic("An endpoint dies under load, and comes back");
    let (_front, caller) = tour.open(|_| {}).await?;
    let servers = tour.servers(0)?;
    // The fast one: it has the most to lose.
    let victim = servers.first().cloned().unwrap_or_default();
    let act = tour.time / 6;
    let load = Load::start(CALLERS, &caller);
    let began = Instant::now();
    let show = &mut *tour.show;
    let mut progress = |share| show(Event::Progress(share));
    load::pass(act, &mut |share| progress(share / 3.0)).await;
    let killed = began.elapsed();
    order_to(&tour.stage, &victim, Order::Kill)?;
    load::pass(act, &mut |share| progress((1.0 + share) / 3.0)).await;
    order_to(&tour.stage, &victim, Order::Revive)?;
    let (revived, served) = (began.elapsed(), served_by(&tour.stage, &victim));
    load::pass(act, &mut |share| progress((2.0 + share) / 3.0)).await;
    while served_by(&tour.stage, &victim) == served && began.elapsed() < revived + BACK_WITHIN {
        load::pass(Duration::from_millis(100), &mut |_| {}).await;
    }
    let samples = load.stop().await;
    let spread = load::counts(&servers, samples.iter().map(|sample| &sample.served_by));
    (tour.show)(Event::Chart("before, during and after", &spread));

    let failures: Vec<_> = samples
        .iter()
        .filter_map(|sample| sample.served_by.as_ref().err())
        .collect();
    let figures =
        json!({"requests": samples.len(), "failed": failures.len(), "first": failures.first()});
    let held = failures.is_empty() && !samples.is_empty();
    tour.claim(
        TOPIC,
        format!(
            "{victim} killed under load and 0 of {} requests failed",
            samples.len()
        ),
        held,
        figures,
    );

    let (mut before, mut during, mut others, mut after) = (0, 0, 0, 0);
    let mut back = None;
    for sample in &samples {
        match (&sample.served_by, sample.sent) {
            (Ok(name), sent) if *name == victim && sent < killed => before += 1,
            (Ok(name), sent) if *name == victim && sent < revived => during += 1,
            (Ok(name), sent) if *name == victim => {
                after += 1;
                back = Some(back.map_or(sent, |back: Duration| back.min(sent)));
            }
            (Ok(_), sent) if sent >= killed && sent < revived => others += 1,
            _ => {}
        }
    }
    let back_ms = back.map(|back| (back - revived).as_millis() as u64);
    let figures = json!({"before": before, "meanwhile": during, "others_meanwhile": others, "after": after, "back_after_ms": back_ms});
    let held = before > 0 && during == 0 && others > 0 && after > 0;
    tour.claim(
        TOPIC,
        "its traffic moved on to the others, and came back",
        held,
        figures,
    );
    Ok(())
}

fn served_by(stage: &Stage, name: &str) -> u64 {
    endpoint(stage, name).map_or(0, |endpoint| endpoint.stats().requests)
}

fn order_to(stage: &Stage, name: &str, order: Order) -> Result<(), Error> {
    endpoint(stage, name)
        .map_or(Ok(()), |endpoint| endpoint.order(order))
        .map_err(Error::Fleet)
}

fn endpoint<'a>(stage: &'a Stage, name: &str) -> Option<&'a Endpoint> {
    stage
        .fleet
        .endpoints()
        .iter()
        .find(|endpoint| endpoint.name() == name)
}
