//! Random bodies of requests, about half of them faulty, each in one of the ways that readers of
//! JSON are known to differ in.

use junheng::request::Api;
use junheng::values::rng::Rng;

/// A body and the API that it is sent to.
pub fn body(rng: &mut Rng) -> (Api, Vec<u8>) {
    const APIS: [Api; 6] = [
        Api::ChatCompletions,
        Api::ChatCompletions,
        Api::Completions,
        Api::Embeddings,
        Api::Responses,
        Api::Messages,
    ];
    let api = APIS[rng.below(APIS.len())];
    let faulty = rng.below(5) < 2;
    let mut writer = Writer {
        rng,
        out: Vec::new(),
        faulty,
    };
    writer.request(api);
    if faulty {
        writer.damage();
    }
    (api, writer.out)
}

struct Writer<'r> {
    rng: &'r mut Rng,
    out: Vec<u8>,
    faulty: bool,
}

/// The last doubles, and what is not one any more.
const EDGE: &str = "1.7976931348623157e308 1.7976931348623158e308 1.7976931348623159e308";
const SPACES: [&str; 8] = ["", "", "", "", "", " ", "\n", "\t\r\n  "];
const WORDS: [&str; 20] = [
    "hello",
    " ",
    "token_count",
    "Ünïcode",
    "naïve",
    "Привет",
    "Ελλάδα",
    "שלום",
    "مرحبا",
    "नमस्ते",
    "สวัสดี",
    "漢字",
    "かな。",
    "한국어",
    "😀",
    "–",
    "12.5%",
    "\u{7f}",
    "tiếng Việt",
    "// {}[]:,",
];

impl Writer<'_> {
    fn one_of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.rng.below(choices.len())]
    }

    fn word_of<'a>(&mut self, words: &'a str) -> &'a str {
        let count = words.split(' ').count();
        words.split(' ').nth(self.rng.below(count)).unwrap_or(words)
    }

    fn chance(&mut self, of: usize) -> bool {
        self.rng.below(of) == 0
    }

    fn put(&mut self, text: &str) {
        let space = self.one_of(&SPACES);
        self.out.extend_from_slice(space.as_bytes());
        self.out.extend_from_slice(text.as_bytes());
    }

    fn request(&mut self, api: Api) {
        let mut fields: Vec<&str> = match api {
            Api::ChatCompletions => {
                vec![
                    "messages",
                    "max_tokens",
                    "max_completion_tokens",
                    "tools",
                    "stream_options",
                    "n",
                ]
            }
            Api::Completions => vec![
                "prompt",
                "suffix",
                "max_tokens",
                "stream_options",
                "n",
                "best_of",
            ],
            Api::Embeddings => vec!["input", "stream"],
            Api::Responses => vec!["input", "instructions", "max_output_tokens", "text"],
            Api::Messages => vec!["messages", "system", "max_tokens"],
        };
        fields.extend(["stream", "temperature", "user", "metadata"]);
        fields.retain(|_| self.rng.below(3) > 0);
        fields.retain(|name| *name != "max_completion_tokens" || self.rng.below(4) == 0);
        fields.retain(|name| !["tools", "text"].contains(name) || self.rng.below(4) == 0);
        fields.push("model");
        if self.faulty && self.chance(5) {
            let again = fields[self.rng.below(fields.len())];
            fields.push(again);
        }
        for i in (1..fields.len()).rev() {
            fields.swap(i, self.rng.below(i + 1));
        }
        self.object(fields.len(), |writer, i| {
            writer.string(fields[i], 40);
            writer.put(":");
            writer.field(api, fields[i]);
        });
        let space = self.one_of(&SPACES);
        self.out.extend_from_slice(space.as_bytes());
    }

    fn field(&mut self, api: Api, name: &str) {
        if self.faulty && self.chance(25) {
            return self.junk(2);
        }
        match name {
            "model" => {
                let model = self.one_of(&["gpt-4o", "qwen2.5-7b", "модель", "a\"b\\c", "m\n"]);
                self.string(model, 10);
            }
            "messages" => self.messages(),
            "input" if api == Api::Responses && self.chance(2) => self.messages(),
            "input" if api == Api::Responses => self.text(),
            "input" | "prompt" => self.prompt(),
            "system" | "instructions" => self.content(2),
            "suffix" | "user" => self.text(),
            "stream" => {
                let value = self.one_of(&["true", "false", "null"]);
                self.put(value);
            }
            "max_tokens" | "max_completion_tokens" | "max_output_tokens" | "n" | "best_of" => {
                let value = if self.faulty && self.chance(4) {
                    self.word_of("-1 1.5 1e400 1e2 4294967296 -0 \"1\" 007")
                } else {
                    self.one_of(&["0", "16", "16", "16", "4294967295", "null"])
                };
                self.put(value);
            }
            _ => self.junk(3),
        }
    }

    fn messages(&mut self) {
        let count = self.rng.below(4);
        self.array(count, |writer, _| {
            let fields = 1 + writer.rng.below(3);
            writer.object(fields, |writer, i| match i {
                0 => {
                    writer.string("content", 40);
                    writer.put(":");
                    writer.content(2);
                }
                1 => {
                    writer.string("role", 40);
                    writer.put(":");
                    writer.string("user", 40);
                }
                _ => {
                    let again = writer.faulty && writer.chance(8);
                    let other = writer.one_of(&["name", "refusal", "x", "tool_calls"]);
                    writer.string(if again { "content" } else { other }, 40);
                    writer.put(":");
                    match other {
                        "x" | "tool_calls" => writer.junk(2),
                        _ => writer.text(),
                    }
                }
            });
        });
    }

    fn content(&mut self, depth: usize) {
        match self.rng.below(8) {
            0 => self.put("null"),
            1 | 2 if depth > 0 => {
                let count = self.rng.below(4);
                self.array(count, |writer, _| writer.part(depth - 1));
            }
            _ => self.text(),
        }
    }

    fn part(&mut self, depth: usize) {
        let kind = self.rng.below(5);
        self.object(2, |writer, i| match (kind, i) {
            (_, 0) => {
                writer.string("type", 40);
                writer.put(":");
                let names = [
                    "text",
                    "image_url",
                    "document",
                    "tool_result",
                    "input_image",
                ];
                writer.string(names[kind], 40);
            }
            (0, _) => {
                writer.string("text", 20);
                writer.put(":");
                writer.text();
            }
            (2, _) => {
                writer.put("\"source\":");
                let kind = writer.one_of(&["text", "base64"]);
                let first = writer.chance(2);
                writer.object(2, |writer, i| {
                    let data = first == (i == 0);
                    writer.string(if data { "data" } else { "type" }, 20);
                    writer.put(":");
                    if data {
                        writer.text()
                    } else {
                        writer.string(kind, 40)
                    }
                });
            }
            (3, _) => {
                writer.put("\"content\":");
                writer.content(depth);
            }
            _ => {
                writer.put("\"image_url\":");
                writer.junk(2);
            }
        });
    }

    fn prompt(&mut self) {
        let kind = self.rng.below(4);
        let count = self.rng.below(5);
        match kind {
            0 => self.text(),
            1 => self.array(count, |writer, _| writer.text()),
            2 => self.array(count, |writer, _| writer.id()),
            _ => self.array(count, |writer, _| {
                let count = writer.rng.below(5);
                writer.array(count, |writer, _| writer.id());
            }),
        }
    }

    fn id(&mut self) {
        let id = self.rng.below(200_000).to_string();
        self.put(&id);
    }

    /// Mostly short; now and then longer than a key's prefix and than a counter's range.
    fn text(&mut self) {
        let words = match self.rng.below(200) {
            0 => 1500,
            1..10 => 100,
            _ => self.rng.below(12),
        };
        let mut text = String::new();
        for _ in 0..words {
            let word = if self.chance(3) {
                self.one_of(&["\n", "\"", "\\", "\t", "\u{0}", "/", "\u{1f}"])
            } else if self.chance(2) {
                WORDS[0]
            } else {
                self.one_of(&WORDS)
            };
            text.push_str(word);
        }
        self.string(&text, 12);
    }

    /// `text` in quotes; about one character of `rarity` is an escape though it need not be.
    fn string(&mut self, text: &str, rarity: usize) {
        self.put("\"");
        for char in text.chars() {
            let short = match char {
                '"' => Some("\\\""),
                '\\' => Some("\\\\"),
                '\n' => Some("\\n"),
                '\t' => Some("\\t"),
                '/' if rarity < 20 => Some("\\/"),
                _ => None,
            };
            if (char as u32) < 0x20 && short.is_none() || self.chance(rarity) {
                for unit in char.encode_utf16(&mut [0; 2]) {
                    let upper = self.chance(2);
                    let code = if upper {
                        format!("{unit:04X}")
                    } else {
                        format!("{unit:04x}")
                    };
                    self.out.extend_from_slice(b"\\u");
                    self.out.extend_from_slice(code.as_bytes());
                }
            } else if let Some(short) = short {
                self.out.extend_from_slice(short.as_bytes());
            } else {
                self.out
                    .extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        if self.faulty && self.chance(100) {
            let bad: [&[u8]; 8] = [
                b"\\ud800",
                b"\\udc00x",
                b"\\ud83d\\u0041",
                b"\\x41",
                b"\\u12",
                b"\n",
                b"\0",
                b"\xff",
            ];
            self.out.extend_from_slice(bad[self.rng.below(bad.len())]);
        }
        self.out.push(b'"');
    }

    /// Any value.
    fn junk(&mut self, depth: usize) {
        match self.rng.below(if depth == 0 { 5 } else { 7 }) {
            0 => self.text(),
            1 | 2 => {
                let number = match self.rng.below(12) {
                    0..3 if self.faulty => {
                        self.word_of("1e309 -1e400 01 1. .5 +1 NaN -Infinity 1e 0x1 -")
                    }
                    3 if self.faulty => self.word_of(EDGE),
                    _ => self.word_of("0 -1 1.5 -0.0 1E+2 1e308 1e-999 0e999 18446744073709551616"),
                };
                self.put(number);
            }
            3 => self.put("true"),
            4 => self.put("null"),
            5 => {
                let count = self.rng.below(4);
                self.array(count, |writer, _| writer.junk(depth - 1));
            }
            _ => {
                let count = self.rng.below(4);
                self.object(count, |writer, _| {
                    let name = writer.one_of(&["model", "a", "content", "usage", ""]);
                    writer.string(name, 20);
                    writer.put(":");
                    writer.junk(depth - 1);
                });
            }
        }
    }

    fn object(&mut self, count: usize, member: impl FnMut(&mut Self, usize)) {
        self.put("{");
        self.list(count, member);
        self.put("}");
    }

    fn array(&mut self, count: usize, item: impl FnMut(&mut Self, usize)) {
        self.put("[");
        self.list(count, item);
        self.put("]");
    }

    fn list(&mut self, count: usize, mut item: impl FnMut(&mut Self, usize)) {
        for i in 0..count {
            if i > 0 {
                self.put(",");
            }
            item(self, i);
        }
    }

    /// What happens to bytes on their way, and what an attacker adds to them.
    fn damage(&mut self) {
        let length = self.out.len();
        let at = self.rng.below(length);
        match self.rng.below(12) {
            0 => self.out.truncate(at),
            1 => self.out[at] ^= 1 << self.rng.below(8),
            2 => self.out[at] = self.rng.bits() as u8,
            3 => drop(self.out.remove(at)),
            4 => self.out.insert(at, b"\"\\{}[],:0 \x80"[self.rng.below(11)]),
            5 => self
                .out
                .extend_from_slice([&b"{}"[..], b"0", b",", b"\0", b" \n"][self.rng.below(5)]),
            6 => drop(
                self.out
                    .splice(..0, [[0xef, 0xbb, 0xbf], *b" \t\n"][self.rng.below(2)]),
            ),
            7 => {
                let levels = 60 + self.rng.below(8);
                let deep = format!("{{\"x\":{}{},", "[".repeat(levels), "]".repeat(levels));
                drop(self.out.splice(..1, deep.into_bytes()));
            }
            _ => {}
        }
    }
}
