//! One endpoint dies under load and comes back; nobody notices but the others.

use serde_json::json;

use super::load::{self, Load, Sample};
use super::{Event, Tour};
use crate::fleet::Order;
use crate::front::Error;

const TOPIC: &str = "death";
const CALLERS: usize = 24;

pub async fn visit(tour: &mut Tour<'_>) -> Result<(), Error> {
    tour.topic("An endpoint dies under load, and comes back");
    let (_front, caller) = tour.open(|_| {}).await?;
    let servers = tour.servers(0)?;
    // The fast one: it has the most to lose.
    let victim = servers.first().cloned().unwrap_or_default();
    let act = tour.time / 6;
    let load = Load::start(CALLERS, &caller);
    let began = std::time::Instant::now();
    let mut moments = Vec::new();
    for (number, order) in [None, Some(Order::Kill), Some(Order::Revive)]
        .into_iter()
        .enumerate()
    {
        if let Some(order) = order {
            order_to(tour, &victim, order)?;
            moments.push(began.elapsed());
        }
        let show = &mut *tour.show;
        load::pass(act, &mut |share| {
            show(Event::Progress((number as f64 + share) / 3.0))
        })
        .await;
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
            "{victim} died under load and 0 of {} requests failed",
            samples.len()
        ),
        held,
        figures,
    );

    let (killed, revived) = (moments[0], moments[1]);
    let by_victim = |from, to| {
        samples
            .iter()
            .filter(|s| (from..to).contains(&s.sent) && s.served_by.as_ref() == Ok(&victim))
            .count()
    };
    let by_others = |s: &&Sample| {
        s.sent >= killed
            && s.sent < revived
            && s.served_by.as_ref().is_ok_and(|name| *name != victim)
    };
    let before = by_victim(Default::default(), killed);
    let during = by_victim(killed, revived);
    let others = samples.iter().filter(by_others).count();
    let after = by_victim(revived, std::time::Duration::MAX);
    let figures =
        json!({"before": before, "while_dead": during, "others_meanwhile": others, "after": after});
    tour.claim(
        TOPIC,
        "its traffic moved on to the others, and came back",
        before > 0 && during == 0 && others > 0 && after > 0,
        figures,
    );
    Ok(())
}

fn order_to(tour: &Tour<'_>, name: &str, order: Order) -> Result<(), Error> {
    let endpoints = tour.stage.fleet.endpoints();
    let endpoint = endpoints.iter().find(|endpoint| endpoint.name() == name);
    endpoint
        .map_or(Ok(()), |endpoint| endpoint.order(order))
        .map_err(Error::Fleet)
}
