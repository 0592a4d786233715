//! Each algorithm's spread over three unlike endpoints: one fast, one medium, one slow.

use std::sync::Arc;

use serde_json::{Value, json};

use super::load::{self, CHAT, Load, chat, served};
use super::{Event, Tour};
use crate::fleet::{Caller, json_request};
use crate::front::Error;

const TOPIC: &str = "algorithms";
/// Callers at once: enough for queues of different lengths, too few to fill any endpoint.
const CALLERS: usize = 24;
/// Sessions that are hashed, and requests of each.
const SESSIONS: usize = 60;
const REQUESTS: usize = 3;

pub async fn visit(tour: &mut Tour<'_>) -> Result<(), Error> {
    tour.topic("Five ways to choose among a fast, a medium and a slow endpoint");
    let weights = [100, 100, 50];
    let spread = under_load(tour, "round_robin", [100; 3]).await?;
    even(tour, &spread);
    let spread = under_load(tour, "weighted_round_robin", weights).await?;
    weighted(tour, &spread, weights);
    for algorithm in ["least_connections", "response_time"] {
        let spread = under_load(tour, algorithm, [100; 3]).await?;
        faster_first(tour, algorithm, &spread);
    }
    hashed(tour).await
}

/// The spread of one algorithm under a steady load, shown as it grows.
async fn under_load(
    tour: &mut Tour<'_>,
    algorithm: &str,
    weights: [u64; 3],
) -> Result<Vec<(String, u64)>, Error> {
    let (_front, caller) = tour
        .open(|document| balance(document, json!({"algorithm": algorithm}), weights))
        .await?;
    let servers = tour.servers(0)?;
    let load = Load::start(CALLERS, &caller);
    let show = &mut *tour.show;
    load::pass(tour.time / 10, &mut |share| show(Event::Progress(share))).await;
    let samples = load.stop().await;
    let spread = load::counts(&servers, samples.iter().map(|sample| &sample.served_by));
    (tour.show)(Event::Chart(algorithm, &spread));
    let failed: Vec<_> = samples
        .iter()
        .filter_map(|sample| sample.served_by.as_ref().err())
        .collect();
    if !failed.is_empty() {
        tour.claim(
            TOPIC,
            format!("{algorithm} answers every request"),
            false,
            json!({"failures": failed.len(), "first": failed[0]}),
        );
    }
    Ok(spread)
}

fn even(tour: &mut Tour<'_>, spread: &[(String, u64)]) {
    let counts = || spread.iter().map(|(_, count)| *count);
    let (least, most) = (counts().min().unwrap_or(0), counts().max().unwrap_or(0));
    // Every worker has its own turn: two workers differ by one request an endpoint each.
    let held = spread.len() == 3 && least > 0 && most - least <= 2 + most / 50;
    tour.claim(
        TOPIC,
        "round_robin gives each the same, fast or slow",
        held,
        json!(spread),
    );
}

fn weighted(tour: &mut Tour<'_>, spread: &[(String, u64)], weights: [u64; 3]) {
    let total: u64 = spread.iter().map(|(_, count)| count).sum();
    let all: u64 = weights.iter().sum();
    let share = |(count, weight): (u64, u64)| {
        (count as f64 / total.max(1) as f64 - weight as f64 / all as f64).abs()
    };
    let worst = spread
        .iter()
        .map(|(_, count)| *count)
        .zip(weights)
        .map(share)
        .fold(0.0, f64::max);
    let held = spread.len() == 3 && total > 0 && worst < 0.02;
    tour.claim(
        TOPIC,
        "weighted_round_robin follows the weights 100, 100 and 50",
        held,
        json!({"served": spread, "largest_error": worst}),
    );
}

fn faster_first(tour: &mut Tour<'_>, algorithm: &str, spread: &[(String, u64)]) {
    let counts: Vec<u64> = spread.iter().map(|(_, count)| *count).collect();
    let held = counts.len() == 3 && counts[0] > counts[1] && counts[1] > counts[2];
    tour.claim(
        TOPIC,
        format!("{algorithm} gives the faster more"),
        held,
        json!(spread),
    );
}

/// One request at a time, so that no bound on load sends a session elsewhere.
async fn hashed(tour: &mut Tour<'_>) -> Result<(), Error> {
    let hash =
        json!({"algorithm": "consistent_hash", "hash": {"on": "header", "header": "x-session"}});
    let (_front, caller) = tour
        .open(|document| balance(document, hash, [100; 3]))
        .await?;
    let servers = tour.servers(0)?;
    let show = &mut *tour.show;
    let mut progress = |share| show(Event::Progress(share));
    let answers = load::each(0..SESSIONS * REQUESTS, &mut progress, |n| {
        in_session(&caller, n % SESSIONS)
    })
    .await;
    let spread = load::counts(&servers, answers.iter());
    (tour.show)(Event::Chart("consistent_hash", &spread));
    let moved = (0..SESSIONS).filter(|session| {
        let mut of_session = answers.iter().skip(*session).step_by(SESSIONS);
        let first = of_session.next();
        of_session.any(|served| Some(served) != first || served.is_err())
    });
    let moved = moved.count();
    let used = spread.iter().filter(|(_, count)| *count > 0).count();
    tour.claim(
        TOPIC,
        format!(
            "consistent_hash keeps each of {SESSIONS} sessions at one endpoint, and uses all three"
        ),
        moved == 0 && used == 3,
        json!({"served": spread, "moved": moved}),
    );
    Ok(())
}

async fn in_session(caller: &Arc<Caller>, session: usize) -> Result<String, String> {
    let mut request = json_request(CHAT, chat("Hello").to_string());
    request
        .headers_mut()
        .insert("x-session", http::HeaderValue::from(session));
    served(caller.send(request).await)
}

/// Gives the first pool a way to balance, and its endpoints weights that stay.
fn balance(document: &mut Value, balance: Value, weights: [u64; 3]) {
    document["pools"][0]["balance"] = balance;
    // What is claimed is how an algorithm goes by its weights, not how weights go by load.
    document["pools"][0]["load"] = json!({"weights": false});
    if let Some(endpoints) = document["pools"][0]["endpoints"].as_array_mut() {
        for (endpoint, weight) in endpoints.iter_mut().zip(weights) {
            endpoint["weight"] = json!(weight);
        }
    }
}
