//! Requests go to pools by model and length, and every API comes through whole.

use serde_json::json;

use super::load::{self, CHAT, MODEL, chat, served};
use super::{Event, Tour};
use crate::front::Error;

const TOPIC: &str = "routes";
/// Requests of each kind.
const EACH: usize = 30;

pub async fn visit(tour: &mut Tour<'_>) -> Result<(), Error> {
    tour.topic("Short prompts to one pool, long ones to the other");
    let (_front, caller) = tour.open(|_| {}).await?;
    let (small, long) = (tour.servers(0)?, tour.servers(1)?);
    let show = &mut *tour.show;
    let mut progress = |share| show(Event::Progress(share));
    let short_ones = load::each(0..EACH, &mut progress, |_| async {
        served(caller.post(CHAT, &chat("Hello")).await)
    })
    .await;
    let prompt = "all work and no play ".repeat(300 * 1024 / 21);
    let body = chat(&prompt);
    let long_ones = load::each(0..EACH, &mut progress, |_| async {
        served(caller.post(CHAT, &body).await)
    })
    .await;
    for (kind, served, servers) in [
        ("short prompts", short_ones, &small),
        ("prompts of 300 KB", long_ones, &long),
    ] {
        let counts = load::counts(servers, served.iter());
        let failures: Vec<_> = served
            .iter()
            .filter_map(|served| served.as_ref().err())
            .collect();
        let strangers = counts.iter().any(|(name, _)| !servers.contains(name));
        let pool = servers
            .first()
            .and_then(|name| name.rsplit_once('-'))
            .map_or("", |(pool, _)| pool);
        let held = failures.is_empty()
            && !strangers
            && counts.iter().map(|(_, count)| *count).sum::<u64>() == EACH as u64;
        tour.claim(
            TOPIC,
            format!("{EACH} of {EACH} {kind} went to pool {pool}"),
            held,
            json!({"served": counts, "failures": failures}),
        );
    }

    let request = json!({"model": MODEL, "stream": true, "stream_options": {"include_usage": true}, "messages": [{"role": "user", "content": "Hello"}]});
    let (streamed, figures) = match caller.post(CHAT, &request).await {
        Ok(answer) => {
            let events = answer.events();
            let usage = events
                .last()
                .map(|event| event["usage"]["completion_tokens"].clone())
                .unwrap_or_default();
            let whole = answer.body.ends_with(b"data: [DONE]\n\n") && usage.is_u64();
            let (head, all) = (
                answer.first_byte.as_micros() as u64,
                answer.whole.as_micros() as u64,
            );
            (
                whole && head < all,
                json!({"events": events.len(), "usage": usage, "head_us": head, "whole_us": all}),
            )
        }
        Err(error) => (false, json!(error.to_string())),
    };
    tour.claim(
        TOPIC,
        "a stream comes through event by event, usage and [DONE] at its end",
        streamed,
        figures,
    );

    let embedding = served(
        caller
            .post(
                "/v1/embeddings",
                &json!({"model": "bge-m3", "input": "Hello"}),
            )
            .await,
    );
    let held = embedding.as_ref().is_ok_and(|name| small.contains(name));
    tour.claim(
        TOPIC,
        "an embedding goes where its model is served",
        held,
        json!({"served": embedding}),
    );

    let decision = caller.post(CHAT, &chat("Hello")).await;
    let decision = decision
        .ok()
        .and_then(|answer| answer.header("x-junheng-decision").map(str::to_owned));
    tour.claim(
        TOPIC,
        "the answer says how it was decided: x-junheng-decision",
        decision.is_some(),
        json!(decision),
    );
    Ok(())
}
