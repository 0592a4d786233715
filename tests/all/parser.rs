//! Junheng's reading of random bodies against `serde_json`'s and Python's.

use std::io::Write;
use std::process::{Command, Stdio};

use junheng::request::{Api, Facts, Limits, read};
use junheng::text::TextCounts;
use junheng::values::rng::Rng;
use serde_json::{Value, json};

use crate::bodies;

#[test]
fn a_million_random_bodies_mean_the_same_to_serde_json_and_to_python() {
    let bodies = std::env::var("JUNHENG_BODIES")
        .ok()
        .and_then(|count| count.parse().ok());
    let bodies: u32 = bodies.unwrap_or(1_000_000);
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/all/python_reads_the_same.py"
    );
    let mut python = Command::new("python3")
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("python3 is needed for this test: install Python 3");
    let mut stdin = std::io::BufWriter::new(python.stdin.take().unwrap());
    let mut rng = Rng::new(20_260_401);
    let mut accepted = 0u32;
    let mut told = Ok(());
    for _ in 0..bodies {
        let (api, body) = bodies::body(&mut rng);
        let Ok(facts) = read(api, &body, &Limits::default()) else {
            continue;
        };
        accepted += 1;
        let seen = serde_reading(api, &body, &facts);
        told = told.and_then(|()| tell(&mut stdin, &body, &facts));
        assert!(
            seen.is_ok(),
            "{}: {}",
            seen.unwrap_err(),
            String::from_utf8_lossy(&body)
        );
    }
    told = told.and_then(|()| stdin.flush());
    drop(stdin);
    let python = python.wait_with_output().unwrap();
    let verdict = String::from_utf8_lossy(&python.stdout).trim().to_owned();
    assert!(
        python.status.success(),
        "{}",
        String::from_utf8_lossy(&python.stderr)
    );
    told.unwrap();
    assert_eq!(verdict, accepted.to_string());
    assert!(
        accepted > bodies / 3 && accepted < bodies / 4 * 3,
        "{accepted} of {bodies} accepted"
    );
}

fn tell(stdin: &mut impl Write, body: &[u8], facts: &Facts) -> std::io::Result<()> {
    let api = match facts.api {
        Api::ChatCompletions => "chat",
        Api::Completions => "completions",
        Api::Embeddings => "embeddings",
        Api::Responses => "responses",
        Api::Messages => "messages",
    };
    let model: String = facts
        .model
        .bytes()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let bound = facts
        .max_output
        .map_or("-".to_owned(), |bound| bound.to_string());
    let TextCounts {
        ids,
        images,
        messages,
        ..
    } = facts.text;
    let (length, stream, key) = (body.len(), u8::from(facts.stream), facts.prompt_key);
    let characters = characters(&facts.text);
    writeln!(
        stdin,
        "{length} {api} {model} {stream} {bound} {key} {ids} {images} {messages} {characters}"
    )?;
    stdin.write_all(body)
}

fn characters(text: &TextCounts) -> u32 {
    let TextCounts {
        letters,
        spaces,
        breaks,
        marks,
        latin,
        greek,
        cyrillic,
        hebrew,
        ..
    } = text;
    let TextCounts {
        arabic,
        indic,
        symbols,
        kana,
        han,
        hangul,
        astral,
        ..
    } = text;
    [
        letters, spaces, breaks, marks, latin, greek, cyrillic, hebrew,
    ]
    .into_iter()
    .chain([arabic, indic, symbols, kana, han, hangul, astral])
    .sum()
}

/// Reads `body` by way of a `Value` and compares.
fn serde_reading(api: Api, body: &[u8], facts: &Facts) -> Result<(), String> {
    let value: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let streamed = api != Api::Embeddings && value["stream"] == json!(true);
    let names: &[&str] = match api {
        Api::ChatCompletions => &["max_tokens", "max_completion_tokens"],
        Api::Completions | Api::Messages => &["max_tokens"],
        Api::Responses => &["max_output_tokens"],
        Api::Embeddings => &[],
    };
    let mut bounds = names.iter().filter_map(|name| value[*name].as_u64());
    let bound = bounds.find(|bound| *bound > 0);
    let place: Value = serde_json::from_slice(&body[facts.model_span.clone()])
        .map_err(|error| error.to_string())?;
    let ours = (
        json!(facts.model),
        facts.stream,
        facts.max_output.map(|bound| u64::from(bound.0)),
        u64::from(facts.answers),
    );
    let counts: &[&str] = match api {
        Api::ChatCompletions => &["n"],
        Api::Completions => &["n", "best_of"],
        Api::Embeddings | Api::Responses | Api::Messages => &[],
    };
    let counts = counts.iter().filter_map(|name| value[*name].as_u64());
    let prompts = match (api, &value["prompt"]) {
        (Api::Completions, Value::Array(items)) => {
            items.iter().filter(|item| !item.is_number()).count().max(1)
        }
        _ => 1,
    };
    let answers = counts
        .max()
        .unwrap_or(1)
        .max(1)
        .saturating_mul(prompts as u64);
    let answers = answers.min(u32::MAX.into());
    let theirs = (value["model"].clone(), streamed, bound, answers);
    if ours != theirs || place != theirs.0 {
        return Err(format!("{ours:?} is to serde_json {theirs:?}"));
    }
    let mut naive = Naive::default();
    naive.request(api, &value);
    let whole: Vec<u8> = [naive.instructions, naive.content].concat();
    // The key of the same text, or the same ids, sent in the plainest way.
    if naive.counts.ids == 0 {
        let plain = json!({"model": "m", "input": String::from_utf8(whole).unwrap()});
        let plain = serde_json::to_vec(&plain).unwrap();
        let plain = read(Api::Embeddings, &plain, &Limits::default()).unwrap();
        if plain.prompt_key != facts.prompt_key {
            return Err("another prompt key".into());
        }
    }
    if !naive.raw && naive.counts != facts.text {
        return Err(format!(
            "{:?} is counted from a Value {:?}",
            facts.text, naive.counts
        ));
    }
    Ok(())
}

/// The prompt of a `Value`, counted character by character.
#[derive(Default)]
struct Naive {
    counts: TextCounts,
    instructions: Vec<u8>,
    content: Vec<u8>,
    /// Whether there is JSON in it that counts as it is spelled, which a `Value` no longer knows.
    raw: bool,
}

impl Naive {
    fn request(&mut self, api: Api, value: &Value) {
        let (raw, prompt): (&[&str], &str) = match api {
            Api::ChatCompletions => (&["tools", "functions", "response_format"], "messages"),
            Api::Completions => (&[], "prompt"),
            Api::Embeddings => (&[], "input"),
            Api::Responses => (&["tools", "text"], "input"),
            Api::Messages => (&["tools"], "messages"),
        };
        self.raw |= raw.iter().any(|name| !value[*name].is_null());
        let instructions = match api {
            Api::Responses => &value["instructions"],
            Api::Messages => &value["system"],
            _ => &Value::Null,
        };
        if !instructions.is_null() {
            self.counts.messages += 1;
            self.content(instructions);
            self.instructions = std::mem::take(&mut self.content);
        }
        if api == Api::Completions {
            self.count(value["suffix"].as_str().unwrap_or_default());
        }
        match &value[prompt] {
            Value::String(text) => {
                self.counts.messages += u32::from(api == Api::Responses);
                self.prompt(text);
            }
            Value::Array(items) => items.iter().for_each(|item| match item {
                Value::Object(_) => {
                    self.counts.messages += 1;
                    self.part(item);
                }
                Value::String(text) => self.prompt(text),
                Value::Array(ids) => self.counts.ids += ids.len() as u32,
                _ => self.counts.ids += 1,
            }),
            _ => {}
        }
    }

    fn content(&mut self, value: &Value) {
        match value {
            Value::String(text) => self.prompt(text),
            Value::Array(parts) => parts.iter().for_each(|part| match part {
                Value::String(text) => self.prompt(text),
                part => self.part(part),
            }),
            _ => {}
        }
    }

    fn part(&mut self, part: &Value) {
        for (name, value) in part.as_object().unwrap() {
            let text = value.as_str().unwrap_or_default();
            match name.as_str() {
                "content" => self.content(value),
                "text" => self.prompt(text),
                "name" | "refusal" | "thinking" | "arguments" => self.count(text),
                "tool_calls" | "function_call" | "input" | "output" => self.raw |= !value.is_null(),
                "type" => {
                    let image = ["image_url", "input_image", "image"].contains(&text);
                    self.counts.images += u32::from(image);
                }
                "source" => {
                    self.content(&value["content"]);
                    if value["type"] == "text" {
                        self.count(value["data"].as_str().unwrap_or_default());
                    }
                }
                _ => {}
            }
        }
    }

    fn prompt(&mut self, text: &str) {
        self.content.extend_from_slice(text.as_bytes());
        self.count(text);
    }

    fn count(&mut self, text: &str) {
        let counts = &mut self.counts;
        let mut in_word = false;
        for char in text.chars() {
            let letter = ('@'..='\u{7f}').contains(&char);
            counts.words += u32::from(letter && !in_word);
            in_word = letter;
            *match char as u32 {
                0x20 => &mut counts.spaces,
                0x00..0x20 => &mut counts.breaks,
                0x21..0x40 => &mut counts.marks,
                0x40..0x80 => &mut counts.letters,
                0x80..0x380 | 0x1000..0x2000 => &mut counts.latin,
                0x380..0x400 => &mut counts.greek,
                0x400..0x540 => &mut counts.cyrillic,
                0x540..0x600 => &mut counts.hebrew,
                0x600..0x800 => &mut counts.arabic,
                0x800..0x1000 => &mut counts.indic,
                0x2000..0x3000 => &mut counts.symbols,
                0x3000..0x4000 => &mut counts.kana,
                0x4000..0xa000 | 0xe000..0x1_0000 => &mut counts.han,
                0xa000..0xe000 => &mut counts.hangul,
                _ => &mut counts.astral,
            } += 1;
        }
    }
}
