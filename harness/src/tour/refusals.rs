//! What has no one meaning, or fits nowhere, is refused in OpenAI's words and reaches no server.

use serde_json::{Value, json};

use super::Tour;
use super::load::{CHAT, MODEL, chat};
use crate::fleet::json_request;
use crate::front::Error;

const TOPIC: &str = "refusals";

pub async fn visit(tour: &mut Tour<'_>) -> Result<(), Error> {
    tour.topic("What is refused, and how");
    let (_front, caller) = tour.open(|_| {}).await?;
    let largest = tour
        .stage
        .config
        .pools()?
        .iter()
        .filter_map(|pool| pool.context_window)
        .max()
        .unwrap_or(0);
    let messages = json!([{"role": "user", "content": "Hello"}]);
    let with =
        |fields: &str| format!("{{\"model\": \"{MODEL}\", {fields} \"messages\": {messages}}}");
    let cases = [
        (
            "a duplicate `model`",
            with(&format!("\"model\": \"{MODEL}\",")),
            400,
            "",
        ),
        (
            "a duplicate `model` spelled with an escape",
            with("\"mod\\u0065l\": \"other\","),
            400,
            "",
        ),
        (
            "a max_tokens of -1",
            with("\"max_tokens\": -1,"),
            400,
            "max_tokens",
        ),
        ("trailing data", with("") + "{}", 400, ""),
        ("an empty body", String::new(), 400, ""),
        (
            "a model that no route serves",
            with("").replace(MODEL, "gpt-unknown"),
            404,
            "gpt-unknown",
        ),
        (
            "a prompt too long for every window",
            chat(&"all work and no play ".repeat(50_000)).to_string(),
            400,
            &largest.to_string(),
        ),
    ];
    for (what, body, status, named) in cases {
        let before = tour.arrived();
        let (held, figures) = match caller.send(json_request(CHAT, body)).await {
            Ok(answer) => {
                let error = answer.json()["error"].clone();
                let shaped = ["message", "type", "param", "code"]
                    .iter()
                    .all(|field| error.get(*field).is_some());
                let names = error["message"]
                    .as_str()
                    .is_some_and(|message| message.contains(named));
                let held =
                    answer.status.as_u16() == status && shaped && names && tour.arrived() == before;
                (
                    held,
                    json!({"status": answer.status.as_u16(), "error": error, "forwarded": tour.arrived() - before}),
                )
            }
            Err(error) => (false, Value::from(error.to_string())),
        };
        let naming = if named.is_empty() {
            String::new()
        } else {
            format!(" naming {named}")
        };
        tour.claim(
            TOPIC,
            format!("{what} is {status}{naming}, and reaches no server"),
            held,
            figures,
        );
    }
    Ok(())
}
