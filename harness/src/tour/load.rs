//! Load: many callers at once, and what became of each request.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use http::StatusCode;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::fleet::{Answer, CallError, Caller};

/// The model that the shipped configuration routes by length.
pub const MODEL: &str = "qwen2.5-7b";

/// What became of one request.
#[derive(Clone, Debug)]
pub struct Sample {
    /// When it was sent, since the load began.
    pub sent: Duration,
    /// The server that answered; why nothing did, if nothing did.
    pub served_by: Result<String, String>,
}

/// A load that runs until it is told to stop.
pub struct Load {
    callers: JoinSet<Vec<Sample>>,
    stop: Arc<AtomicBool>,
}

impl Load {
    /// `callers` callers, each sending short chats one after the other.
    pub fn start(callers: usize, caller: &Arc<Caller>) -> Load {
        let began = Instant::now();
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for _ in 0..callers {
            let (caller, stop) = (Arc::clone(caller), Arc::clone(&stop));
            tasks.spawn(async move {
                let mut samples = Vec::new();
                while !stop.load(Relaxed) {
                    let at = began.elapsed();
                    samples.push(Sample {
                        sent: at,
                        served_by: served(caller.post(CHAT, &chat("Hello")).await),
                    });
                }
                samples
            });
        }
        Load {
            callers: tasks,
            stop,
        }
    }

    /// Lets every caller finish its last request, and returns all samples.
    pub async fn stop(self) -> Vec<Sample> {
        self.stop.store(true, Relaxed);
        self.callers
            .join_all()
            .await
            .into_iter()
            .flatten()
            .collect()
    }
}

/// The path of chats.
pub const CHAT: &str = "/v1/chat/completions";

/// A chat of one message.
pub fn chat(prompt: &str) -> Value {
    json!({"model": MODEL, "messages": [{"role": "user", "content": prompt}]})
}

/// Who served an answer of 200.
pub fn served(answer: Result<Answer, CallError>) -> Result<String, String> {
    match answer {
        Ok(answer) if answer.status == StatusCode::OK => Ok(answer.served_by().to_owned()),
        Ok(answer) => Err(format!(
            "{}: {}",
            answer.status,
            String::from_utf8_lossy(&answer.body)
        )),
        Err(error) => Err(error.to_string()),
    }
}

/// Calls `show` with the share of `time` that has passed until all of it has.
pub async fn pass(time: Duration, show: &mut dyn FnMut(f64)) {
    let began = Instant::now();
    while began.elapsed() < time {
        show(began.elapsed().as_secs_f64() / time.as_secs_f64());
        tokio::time::sleep((time / 50).min(Duration::from_millis(100))).await;
    }
}

/// Runs `call` for each of `items`, one after the other, showing the share that is done.
pub async fn each<T, R, F>(
    items: impl ExactSizeIterator<Item = T>,
    show: &mut dyn FnMut(f64),
    call: impl Fn(T) -> F,
) -> Vec<R>
where
    F: Future<Output = R>,
{
    let of = items.len() as f64;
    let mut results = Vec::new();
    for item in items {
        results.push(call(item).await);
        show(results.len() as f64 / of);
    }
    results
}

/// How often each of `servers` appears in `served`.
pub fn counts<'a>(
    servers: &[String],
    served: impl Iterator<Item = &'a Result<String, String>>,
) -> Vec<(String, u64)> {
    let mut counts: Vec<(String, u64)> = servers.iter().map(|name| (name.clone(), 0)).collect();
    for name in served.flatten() {
        match counts.iter_mut().find(|(known, _)| known == name) {
            Some((_, count)) => *count += 1,
            None => counts.push((name.clone(), 1)),
        }
    }
    counts
}
