//! A chat request of an exact size, in English prose.
//!
//! The text decides what is measured: one letter repeated has no escapes, one word and one branch, and
//! any scanner looks fast on it. This has sentences, numbers, quotes and line breaks at about the rates
//! of real prompts, and is the same in every run.

use serde_json::json;

const SYSTEM: &str =
    "You are a careful assistant. Answer briefly, and say so when you do not know.";

/// A body of an OpenAI chat request, `bytes` long (at least 400).
pub fn chat(bytes: usize, stream: bool) -> String {
    let frame = body("", stream).len();
    let mut text = prose(bytes.saturating_sub(frame));
    // An escape takes two bytes of JSON for one of text: cut to fit, then fill up.
    while body(&text, stream).len() > bytes && !text.is_empty() {
        let over = body(&text, stream).len() - bytes;
        text.truncate(text.len().saturating_sub(over.div_ceil(2)));
    }
    let missing = bytes.saturating_sub(body(&text, stream).len());
    text.extend(std::iter::repeat_n('.', missing));
    body(&text, stream)
}

fn body(text: &str, stream: bool) -> String {
    let messages =
        json!([{"role": "system", "content": SYSTEM}, {"role": "user", "content": text}]);
    let mut body =
        json!({"model": "qwen2.5-7b", "messages": messages, "max_tokens": 256, "temperature": 0.7});
    if stream {
        body["stream"] = json!(true);
        body["stream_options"] = json!({"include_usage": true});
    }
    body.to_string()
}

/// At least `bytes` of sentences, a few to a paragraph.
fn prose(bytes: usize) -> String {
    let mut text = String::with_capacity(bytes + 256);
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    while text.len() < bytes {
        sentence(&mut text, &mut dice);
        text.push_str(if dice.roll(6) == 0 { "\n\n" } else { " " });
    }
    text
}

fn sentence(text: &mut String, dice: &mut Dice) {
    let subject = dice.pick(&SUBJECTS);
    let action = dice.pick(&ACTIONS);
    let object = dice.pick(&OBJECTS);
    let when = dice.pick(&WHEN);
    match dice.roll(6) {
        0 => text.push_str(&format!(
            "\"{subject} {action} {object},\" the report says, \"but not {when}.\""
        )),
        1 => text.push_str(&format!(
            "{when}, {subject} {action} {} of {object}.",
            2 + dice.roll(9000)
        )),
        2 => text.push_str(&format!(
            "Why is it that {subject} {action} {object} {when}?"
        )),
        3 => text.push_str(&format!(
            "{subject}'s notes ({}) explain how {object} came about.",
            1900 + dice.roll(125)
        )),
        _ => text.push_str(&format!("{subject} {action} {object} {when}.")),
    }
}

const SUBJECTS: [&str; 12] = [
    "the engineer on call",
    "a small team in Utrecht",
    "nobody at the committee",
    "my grandmother",
    "the night train",
    "our third experiment",
    "an unusually cold spring",
    "the translator",
    "every second customer",
    "the old bridge",
    "a paper from the eighties",
    "the maintainer",
];
const ACTIONS: [&str; 10] = [
    "quietly replaced",
    "had already measured",
    "could not reproduce",
    "wrote down",
    "forgot to mention",
    "relied on",
    "argued at length about",
    "eventually understood",
    "was responsible for",
    "never quite trusted",
];
const OBJECTS: [&str; 12] = [
    "the pressure in the upper valve",
    "a list of seventeen exceptions",
    "the second half of the manuscript",
    "what the instruments were showing",
    "the cheaper of the two designs",
    "an agreement that expired long ago",
    "the difference between mean and median",
    "half of the harvest",
    "these calculations",
    "a well-known bug in the scheduler",
    "the harbour's timetable",
    "everything said at dinner",
];
const WHEN: [&str; 8] = [
    "before the snow melted",
    "in the last week of March",
    "without asking anyone",
    "as far as we can tell",
    "at 4:30 in the morning",
    "despite the warnings",
    "for the first time in years",
    "whenever it rained",
];

/// A xorshift generator: the same rolls in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap_or_default() % sides.max(1)
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from.get(self.roll(from.len())).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_exactly_the_size_asked_for_and_is_valid_json() {
        for (bytes, stream) in [
            (1024, false),
            (1024, true),
            (32 * 1024, false),
            (256 * 1024, true),
        ] {
            let body = chat(bytes, stream);
            assert_eq!(body.len(), bytes);
            let parsed: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert_eq!(parsed["stream"].as_bool().unwrap_or(false), stream);
        }
    }

    #[test]
    fn the_text_has_escapes_at_about_the_rate_of_prose() {
        let body = chat(64 * 1024, false);
        let escapes = body.matches('\\').count();
        assert!(
            (200..2000).contains(&escapes),
            "{escapes} escapes in 64 KiB"
        );
        assert_eq!(body, chat(64 * 1024, false));
    }
}
