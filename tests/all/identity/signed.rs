//! A signer of the tests' own, which can also sign what no good one would.

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

pub const SECRET: &str = "0123456789abcdef0123456789abcdef";
pub const PATH: &str = "/v1/chat/completions?api-version=1&b=2";
pub const BODY: &str = r#"{"model":"m","messages":[]}"#;
/// What the proxy's wall clock shows at the start of each scenario, in seconds.
pub const NOW: u64 = (1 << 40) / 1_000_000_000;

/// A request to sign, and what is signed of it.
#[derive(Clone)]
pub struct Request {
    pub method: &'static str,
    pub path: String,
    pub body: String,
    pub covered: Vec<&'static str>,
    pub created: u64,
    pub nonce: String,
    pub key: (&'static str, String),
    /// Parameters behind the others.
    pub more: String,
}

impl Request {
    pub fn new(nonce: &str) -> Request {
        Request {
            method: "POST",
            path: PATH.into(),
            body: BODY.into(),
            covered: vec!["@method", "@path", "@query", "content-digest"],
            created: NOW,
            nonce: nonce.into(),
            key: ("acme-1", SECRET.into()),
            more: ";alg=\"hmac-sha256\"".into(),
        }
    }

    pub fn with(mut self, change: impl FnOnce(&mut Request)) -> Request {
        change(&mut self);
        self
    }

    /// All headers of it, signed.
    pub fn headers(&self) -> Vec<(String, String)> {
        let digest = format!("sha-256=:{}:", base64(&Sha256::digest(&self.body)));
        let (path, query) = self.path.split_once('?').unwrap_or((&self.path, ""));
        let names: Vec<String> = self
            .covered
            .iter()
            .map(|name| format!("{name:?}"))
            .collect();
        let params = format!(
            "({});created={};nonce=\"{}\";keyid=\"{}\"{}",
            names.join(" "),
            self.created,
            self.nonce,
            self.key.0,
            self.more
        );
        let mut base = String::new();
        for name in &self.covered {
            let value = match *name {
                "@method" => self.method.to_owned(),
                "@path" => path.to_owned(),
                "@query" => format!("?{query}"),
                "@authority" => "test".to_owned(),
                "content-digest" => digest.clone(),
                "content-type" => "application/json".to_owned(),
                other => panic!("{other}"),
            };
            base += &format!("\"{name}\": {value}\n");
        }
        base += &format!("\"@signature-params\": {params}");
        let mac = Hmac::<Sha256>::new_from_slice(self.key.1.as_bytes()).expect("any key");
        let mac = mac.chain_update(base).finalize().into_bytes();
        let mut headers = vec![
            (":method", self.method.to_owned()),
            (":path", self.path.clone()),
            (":authority", "Test".to_owned()),
            ("content-type", "application/json".to_owned()),
            ("signature-input", format!("s={params}")),
            ("signature", format!("s=:{}:", base64(&mac))),
        ];
        if self.covered.contains(&"content-digest") {
            headers.push(("content-digest", digest));
        }
        headers
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let word = group
            .iter()
            .fold(0u32, |word, byte| word << 8 | u32::from(*byte));
        let word = word << (8 * (3 - group.len()));
        for place in 0..=group.len() {
            text.push(DIGITS[(word >> (18 - 6 * place)) as usize & 63].into());
        }
    }
    text + &"=".repeat((3 - bytes.len() % 3) % 3)
}
