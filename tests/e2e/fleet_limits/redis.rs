//! Redis, and webdis before it, through which a filter that speaks only HTTP reaches it.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use harness::fleet::Caller;
use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::debian;
use super::server::{Program, Server};
use crate::world::eventually;

/// How long an answer may take before it counts as never.
const PATIENCE: Duration = Duration::from_secs(20);

/// A Redis that keeps nothing on disk: killed and started again, it is empty.
pub struct Redis {
    pub server: Server,
}

impl Redis {
    pub async fn start() -> Redis {
        let program = Program {
            name: "redis",
            command: Box::new(|port, _| {
                let mut redis = debian::command("redis-server");
                redis.args(["--bind", "127.0.0.1", "--port", &port.to_string()]);
                redis.args(["--save", "", "--appendonly", "no"]);
                redis
            }),
            ready: "Ready to accept connections",
        };
        Redis {
            server: Server::start(program).await,
        }
    }
}

/// A webdis that lets every command through.
///
/// # What it takes
///
/// `POST /` with a body of the command's words, each percent-encoded, with slashes between:
///
/// ```text
/// EVAL/return%20%7BKEYS%5B1%5D%2CARGV%5B1%5D%7D/1/tenant%3Aacme/10
/// ```
///
/// A slash within a word would end it. A dot in the last word would end it too, and what follows be taken for the
/// format of the answer (`.txt`, `.raw`), so `/`, `%` and `.` are encoded wherever they stand. Any length is taken, of
/// a word and of the body, and any `content-type` or none. Connections are kept, and have to be: a request that says
/// `connection: close` is never answered where its body comes in a second packet.
///
/// # What it answers
///
/// | Redis | answer |
/// | --- | --- |
/// | has run the script | 200, `application/json`: `{"EVAL":` what it returned `}`. Integers are numbers, exact up to 2^53, and strings are strings, up to a nul; nil and false are null, and so is an array within an array; a fraction is cut off |
/// | refused the script or its words | 200: `{"EVAL":[false,"ERR …"]}`. No array of a script's own has a false in it |
/// | is gone | 503 at once, without a body; 200 again within some 100 ms of its return |
/// | does not answer | nothing, however long; the command runs when Redis goes on, whoever still waits |
///
/// A caller that gives up closes its connection. Webdis then writes the late answer to whichever connection has that
/// connection's number by now: an answer has to repeat something that only its own question said.
pub struct Webdis {
    pub server: Server,
}

impl Webdis {
    /// Redis need not run yet.
    pub async fn start(redis: SocketAddr) -> Webdis {
        let program = Program {
            name: "webdis",
            command: Box::new(move |port, folder| {
                let mut webdis = debian::command("webdis");
                let configuration = json!({
                    "redis_host": redis.ip().to_string(), "redis_port": redis.port(), "redis_auth": null, "database": 0,
                    "http_host": "127.0.0.1", "http_port": port, "threads": 2, "daemonize": false,
                    "acl": [{"enabled": ["*"]}], "verbosity": 3, "logfile": "/dev/stderr",
                });
                let file = folder.join("webdis.json");
                fs::write(&file, configuration.to_string()).expect("a file under target/");
                webdis.arg(file);
                webdis
            }),
            ready: "up and running",
        };
        Webdis {
            server: Server::start(program).await,
        }
    }

    /// Runs `script` and returns what webdis says of it, the value of `"EVAL"`; null where it has no answer.
    pub async fn eval(&self, script: &str, keys: &[&str], arguments: &[&str]) -> Value {
        let count = keys.len().to_string();
        let words = ["EVAL", script, &count].into_iter();
        let words = words
            .chain(keys.iter().copied())
            .chain(arguments.iter().copied());
        let body: Vec<_> = words.map(encoded).collect();
        let (status, answer) = self.post(&body.join("/")).await;
        if status != 200 {
            return Value::Null;
        }
        let mut answer: Value = serde_json::from_str(&answer).expect("JSON");
        answer["EVAL"].take()
    }

    /// The status and the body of the answer to a command.
    pub async fn post(&self, body: &str) -> (u16, String) {
        let caller = Caller::new(self.server.address());
        let request = Request::post("/").body(Full::from(body.to_owned()));
        let asked = caller.send(request.expect("a request"));
        let answer = timeout(PATIENCE, asked).await.expect("an answer in time");
        let answer = answer.unwrap_or_else(|error| panic!("{error}"));
        let body = String::from_utf8_lossy(&answer.body).into_owned();
        (answer.status.as_u16(), body)
    }
}

/// A word of a command: all but letters, digits, `-`, `_` and `~` by their bytes.
fn encoded(word: &str) -> String {
    word.bytes().fold(String::new(), |mut text, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'~' => text.push(byte.into()),
            _ => write!(text, "%{byte:02X}").expect("a string takes all"),
        }
        text
    })
}

async fn engine() -> (Redis, Webdis) {
    let redis = Redis::start().await;
    let webdis = Webdis::start(redis.server.address()).await;
    (redis, webdis)
}

#[tokio::test(flavor = "multi_thread")]
async fn webdis_hands_a_script_its_words_as_they_are_and_back_what_it_returns() {
    let (_redis, webdis) = engine().await;
    let odd = "a/b.c%2Fd?e=f&g +h\"ü\\";
    let said = webdis
        .eval(
            "return {KEYS[1], ARGV[1], ARGV[2], #KEYS, -1.9, false}",
            &[odd],
            &["", "x.txt"],
        )
        .await;
    assert_eq!(said, json!([odd, "", "x.txt", 1, -1, null]));
    assert_eq!(
        webdis.eval("return {{1}, 2}", &[], &[]).await,
        json!([null, 2])
    );
    for wrong in [
        "return 1 +",
        "return 1 + nil",
        "return redis.error_reply('ERR no')",
    ] {
        let said = webdis.eval(wrong, &[], &[]).await;
        let error = said[1].as_str().unwrap_or_default();
        assert!(said[0] == false && error.starts_with("ERR "), "{said}");
    }

    let long = format!("-- {}\nreturn #KEYS + #ARGV", "long ".repeat(20_000));
    let words: Vec<_> = (0..16).map(|word| format!("junheng/{word}")).collect();
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    assert_eq!(webdis.eval(&long, &words, &words).await, 32);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_scripts_at_once_are_each_run_once_and_answered() {
    let (_redis, webdis) = engine().await;
    let webdis = Arc::new(webdis);
    let mut asking = JoinSet::new();
    for _ in 0..200 {
        let webdis = Arc::clone(&webdis);
        asking.spawn(async move {
            let said = webdis.eval("return redis.call('INCR', KEYS[1])", &["n"], &[]);
            said.await.as_u64().expect("a number")
        });
    }
    let seen: BTreeSet<_> = asking.join_all().await.into_iter().collect();
    assert!(seen.into_iter().eq(1..=200));
}

#[tokio::test(flavor = "multi_thread")]
async fn webdis_says_that_redis_is_gone_and_finds_it_again_empty() {
    let (mut redis, webdis) = engine().await;
    let count = async || {
        webdis
            .eval("return redis.call('INCR', 'n')", &[], &[])
            .await
    };
    assert_eq!(count().await, 1);
    assert_eq!(count().await, 2);
    redis.server.kill();
    assert_eq!(webdis.post("PING").await, (503, String::new()));
    redis.server.restart().await;
    eventually("answered again", count, |said| *said == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_redis_runs_what_was_asked_when_it_goes_on_though_nobody_waits_any_more() {
    let (redis, webdis) = engine().await;
    // Asked through the same webdis, the late answer could be taken for this one's.
    let other = Webdis::start(redis.server.address()).await;
    redis.server.hold();
    let body = "EVAL/return redis%2Ecall('INCR','n')/0";
    let length = body.len();
    let request = format!("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{body}");
    let mut stream = TcpStream::connect(webdis.server.address())
        .await
        .expect("webdis");
    stream
        .write_all(request.as_bytes())
        .await
        .expect("webdis reads");
    drop(stream);
    redis.server.go_on();
    let count = async || other.eval("return redis.call('GET', 'n')", &[], &[]).await;
    eventually("counted", count, |said| *said == "1").await;
}
