//! Signed requests: what is covered holds, once, for five minutes.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::signed::{BODY, NOW, PATH, Request, SECRET};
use super::{config, keys};
use crate::on_both;
use crate::scenario::{On, Proxy, Step, Wasm, proxy};

fn signatures() -> Value {
    json!({"keys": [
        {"id": "acme-1", "tenant": "acme", "secret": SECRET},
        {"id": "globex-1", "tenant": "globex", "secret": "f".repeat(32)}
    ]})
}

fn signing(on: On, workers: usize) -> Box<dyn Proxy> {
    proxy(on, &config(json!({"signatures": signatures()})), workers)
}

impl Request {
    fn send(&self, proxy: &mut dyn Proxy) -> String {
        send(proxy, 0, &self.headers(), &self.body)
    }
}

/// What becomes of a request: the pool, or the code of the refusal.
fn send(proxy: &mut dyn Proxy, worker: usize, headers: &[(String, String)], body: &str) -> String {
    let pairs = borrowed(headers);
    let (stream, step) = proxy.open(worker, &pairs, body.is_empty());
    let step = match step {
        Step::Held => proxy.body(stream, body.as_bytes(), true),
        decided => decided,
    };
    match step {
        Step::Forwarded(sent) => {
            let ours = |name: &str| name.starts_with("signature") || name == "content-digest";
            assert!(!sent.headers.iter().any(|(name, _)| ours(name)), "{sent:?}");
            sent.pool().to_owned()
        }
        Step::Refused(refused) => format!("{} {}", refused.status, refused.error("code")),
        Step::Held => "held".to_owned(),
    }
}

fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let pairs = pairs.iter();
    pairs
        .map(|&(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

fn borrowed(pairs: &[(String, String)]) -> Vec<(&str, &str)> {
    let pairs = pairs.iter();
    pairs
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect()
}

const WRONG: &str = "401 invalid_signature";

fn a_signature_shows_its_tenant(on: On) {
    let mut proxy = signing(on, 1);
    let plain = Request::new("a");
    assert_eq!(plain.send(&mut *proxy), "acme");
    let other = Request::new("b").with(|request| request.key = ("globex-1", "f".repeat(32)));
    assert_eq!(other.send(&mut *proxy), "globex");
    let more = Request::new("c").with(|request| {
        request.covered = vec![
            "content-type",
            "content-digest",
            "@authority",
            "@query",
            "@method",
            "@path",
        ];
        request.more = format!(";expires={NOW};tag=\"app\"");
    });
    assert_eq!(more.send(&mut *proxy), "acme");
    let nothing = owned(&[(":method", "GET"), (":path", "/v1/models")]);
    assert_eq!(
        send(&mut *proxy, 0, &nothing, ""),
        "401 missing_credentials"
    );
}

/// GET without a body, a body on a path that Junheng does not read, one that is empty, and an upgrade.
fn a_request_is_signed_with_and_without_a_body(on: On) {
    let mut proxy = signing(on, 1);
    let bare = |nonce: &str| {
        Request::new(nonce).with(|request| {
            request.covered.pop();
            request.body.clear();
            (request.method, request.path) = ("GET", "/v1/models".into());
        })
    };
    assert_eq!(bare("a").send(&mut *proxy), "acme");
    // A body that nobody signed.
    assert_eq!(
        bare("b")
            .with(|request| request.body = "x".into())
            .send(&mut *proxy),
        "401 body_not_signed"
    );
    let digest = bare("c").with(|request| request.covered.push("content-digest"));
    assert_eq!(digest.send(&mut *proxy), "acme", "the digest of nothing");
    let file = Request::new("d")
        .with(|request| (request.path, request.body) = ("/v1/files".into(), "x".repeat(9000)));
    assert_eq!(file.send(&mut *proxy), "acme");
    let altered = Request::new("e").with(|request| request.path = "/v1/files".into());
    assert_eq!(
        send(&mut *proxy, 0, &altered.headers(), "other"),
        "401 body_not_signed"
    );
    let mut upgrade = bare("f")
        .with(|request| request.path = "/v1/realtime?model=m".into())
        .headers();
    upgrade.push(("upgrade".into(), "websocket".into()));
    let pairs = borrowed(&upgrade);
    assert_eq!(proxy.open(0, &pairs, false).1.sent().pool(), "acme");
}

fn nothing_that_is_covered_can_be_altered(on: On) {
    let mut proxy = signing(on, 1);
    let good = Request::new("a").headers();
    let altered = |name: &str, value: &str| {
        let mut headers = good.clone();
        let header = headers.iter_mut().find(|(known, _)| known == name);
        header.expect("a header").1 = value.to_owned();
        headers
    };
    for (name, value, told) in [
        (":method", "PUT", WRONG),
        (":path", "/v1/chat/completions?api-version=1&b=3", WRONG),
        (":path", "/v1/chat/completions?b=2&api-version=1", WRONG),
        (":path", "/v1/chat/completions", WRONG),
        (":path", "/v1/completions?api-version=1&b=2", WRONG),
        (
            "content-digest",
            "sha-256=:AVq9f1zFei3ZS3WQ8ErYCEJzkF7jPsXOvq5iJ2qX+GI=:",
            WRONG,
        ),
        ("signature", "s=::", WRONG),
        ("signature", "nothing", WRONG),
        ("signature-input", "s=()", WRONG),
    ] {
        assert_eq!(
            send(&mut *proxy, 0, &altered(name, value), BODY),
            told,
            "{name}: {value}"
        );
    }
    let body = BODY.replace("[]", "[ ]");
    // None of the above spent the nonce; the body is looked at after that.
    assert_eq!(send(&mut *proxy, 0, &good, &body), "401 body_not_signed");

    let unknown = Request::new("b").with(|request| request.key.0 = "initech-1");
    assert_eq!(unknown.send(&mut *proxy), WRONG);
    let guessed = Request::new("c").with(|request| request.key.1 = "0".repeat(32));
    assert_eq!(guessed.send(&mut *proxy), WRONG);
    for left_out in 0..3 {
        let less = Request::new("d").with(|request| _ = request.covered.remove(left_out));
        assert_eq!(less.send(&mut *proxy), WRONG);
    }
    let without_digest = Request::new("e").with(|request| _ = request.covered.pop());
    assert_eq!(without_digest.send(&mut *proxy), "401 body_not_signed");
}

fn a_signature_holds_for_five_minutes_either_way(on: On) {
    let mut proxy = signing(on, 1);
    for (created, told) in [
        (NOW - 301, "401 signature_out_of_date"),
        (NOW - 300, "acme"),
        (NOW - 299, "acme"),
        (NOW + 299, "acme"),
        (NOW + 300, "acme"),
        (NOW + 301, "401 signature_out_of_date"),
        (0, "401 signature_out_of_date"),
        (u64::MAX, "401 signature_out_of_date"),
    ] {
        let request =
            Request::new(&format!("n{created}")).with(|request| request.created = created);
        assert_eq!(request.send(&mut *proxy), told, "{created}");
    }
    let expired = Request::new("e").with(|request| request.more = format!(";expires={}", NOW - 1));
    assert_eq!(expired.send(&mut *proxy), "401 signature_out_of_date");
}

/// By any worker, until its date refuses it, and also when the clock is set back after that.
fn a_nonce_passes_once(on: On) {
    let mut proxy = signing(on, 2);
    let replayed = "401 signature_replayed";
    let request = Request::new("once");
    let twice = |proxy: &mut dyn Proxy, worker| send(proxy, worker, &request.headers(), BODY);
    assert_eq!(twice(&mut *proxy, 0), "acme");
    assert_eq!(twice(&mut *proxy, 0), replayed);
    assert_eq!(twice(&mut *proxy, 1), replayed);
    let again = Request::new("once").with(|request| request.created = NOW + 60);
    assert_eq!(
        again.send(&mut *proxy),
        replayed,
        "another date makes no other nonce"
    );
    let others = Request::new("once").with(|request| request.key = ("globex-1", "f".repeat(32)));
    assert_eq!(
        others.send(&mut *proxy),
        "globex",
        "each key has its own nonces"
    );
    proxy.advance(Duration::from_secs(299));
    assert_eq!(twice(&mut *proxy, 1), replayed);
    proxy.advance(Duration::from_secs(2));
    assert_eq!(twice(&mut *proxy, 1), "401 signature_out_of_date");
    proxy.step_wall(-300);
    assert_eq!(twice(&mut *proxy, 1), replayed);
}

/// Keys come and go while what another has signed still holds.
#[test]
fn a_key_that_is_added_lets_nothing_pass_twice() {
    let mut keys = signatures();
    let mut proxy = Wasm::new(&config(json!({"signatures": keys})), 1);
    let request = Request::new("once");
    assert_eq!(request.send(&mut proxy), "acme");
    let list = keys["keys"].as_array_mut().expect("keys");
    list.push(json!({"id": "acme-2", "tenant": "acme", "secret": "e".repeat(32)}));
    proxy.reload(&config(json!({"signatures": keys})));
    assert_eq!(request.send(&mut proxy), "401 signature_replayed");
    let added = Request::new("once").with(|request| request.key = ("acme-2", "e".repeat(32)));
    assert_eq!(added.send(&mut proxy), "acme");
    keys["keys"].as_array_mut().expect("keys").remove(1);
    proxy.reload(&config(json!({"signatures": keys})));
    assert_eq!(request.send(&mut proxy), "401 signature_replayed");
    assert_eq!(added.send(&mut proxy), "401 signature_replayed");
}

/// A sixteenth of the nonces for a key: 16 tables of 64.
fn without_room_for_a_nonce_requests_are_refused(on: On) {
    let mut few = signatures();
    few["nonces"] = json!(16_384);
    let mut proxy = proxy(on, &config(json!({"signatures": few})), 1);
    let mut passed = Vec::new();
    let mut full = 0;
    for number in 0..2600 {
        let request = Request::new(&format!("n{number}"));
        match request.send(&mut *proxy).as_str() {
            "acme" => passed.push(request),
            "503 nonces_full" => full += 1,
            other => panic!("{other}"),
        }
    }
    assert!(
        passed.len() <= 1024 && full >= 1576,
        "{} {full}",
        passed.len()
    );
    for request in passed.iter().step_by(50) {
        assert_eq!(request.send(&mut *proxy), "401 signature_replayed");
    }
    proxy.advance(Duration::from_secs(302));
    let later = |request: &mut Request| request.created = NOW + 302;
    for number in 0..100 {
        let request = Request::new(&format!("later{number}")).with(later);
        assert_eq!(request.send(&mut *proxy), "acme");
    }
}

/// A signature decides alone, and the key beside it is nobody's business upstream.
fn a_signature_beats_a_key(on: On) {
    let identity = json!({"signatures": signatures(), "keys": keys()});
    let mut proxy = proxy(on, &config(identity), 1);
    let mut headers = Request::new("a").headers();
    headers.push(("x-api-key".into(), "globex-1".into()));
    let pairs = borrowed(&headers);
    let (stream, _) = proxy.open(0, &pairs, false);
    let sent = proxy.body(stream, BODY.as_bytes(), true).sent();
    assert_eq!(sent.pool(), "acme");
    assert!(!sent.headers.iter().any(|(name, _)| name == "x-api-key"));
    assert_eq!(
        send(&mut *proxy, 0, &headers, BODY),
        "401 signature_replayed"
    );
}

/// Those of `envoy/`, for a request with a body and some without, of which two have URLs that name no path.
fn the_signers_that_are_shipped_sign(on: On) {
    let mut proxy = signing(on, 1);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("envoy");
    for (method, written, path, body) in [
        ("POST", PATH, PATH, BODY),
        ("GET", "/v1/models", "/v1/models", ""),
        ("GET", ":80", "/", ""),
        ("GET", "?x=/1", "/?x=/1", ""),
    ] {
        for (number, signer) in ["sign.py", "sign.sh"].into_iter().enumerate() {
            let nonce = format!("{method}{}{number}", path.len());
            let created = NOW.to_string();
            let url = format!("http://test{written}");
            let mut command = Command::new(folder.join(signer));
            command.env("JUNHENG_SECRET", SECRET);
            match signer {
                "sign.py" => command.args(["--print", "--created", &created, "--nonce", &nonce]),
                _ => command.envs([("PRINT", "1"), ("CREATED", &created), ("NONCE", &nonce)]),
            };
            let signed = command.args(["acme-1", method, &url, body]).output();
            let signed = signed.unwrap_or_else(|error| panic!("{signer}: {error}"));
            let told = String::from_utf8(signed.stderr).expect("UTF-8");
            assert!(signed.status.success(), "{signer}: {told}");
            let text = String::from_utf8(signed.stdout).expect("UTF-8");
            let pairs = text
                .lines()
                .map(|line| line.split_once(": ").expect("a header"));
            let headers = [(":method", method), (":path", path)]
                .into_iter()
                .chain(pairs)
                .collect::<Vec<_>>();
            assert_eq!(
                send(&mut *proxy, 0, &owned(&headers), body),
                "acme",
                "{signer} {method} {url}"
            );
        }
    }
}

on_both! {
    who_signs_much_shuts_out_nobody_else
    a_signature_shows_its_tenant
    a_request_is_signed_with_and_without_a_body
    nothing_that_is_covered_can_be_altered
    a_signature_holds_for_five_minutes_either_way
    a_nonce_passes_once
    without_room_for_a_nonce_requests_are_refused
    a_signature_beats_a_key
    the_signers_that_are_shipped_sign
}

/// Nonces of signatures that are dated five minutes ahead are kept for ten.
fn who_signs_much_shuts_out_nobody_else(on: On) {
    let mut signatures = signatures();
    signatures["nonces"] = json!(16_384);
    let proxy = &mut *proxy(on, &config(json!({"signatures": signatures})), 1);
    let mut full = 0;
    for n in 0..2_000 {
        let sent = Request::new(&format!("a{n}")).with(|request| request.created = NOW + 300);
        full += u32::from(sent.send(proxy) == "503 nonces_full");
    }
    assert!(full > 0);
    for n in 0..100 {
        let sent = Request::new(&format!("g{n}"));
        let sent = sent.with(|request| request.key = ("globex-1", "f".repeat(32)));
        assert_eq!(sent.send(proxy), "globex");
    }
}
