//! Steady load: a fixed number of callers, each with one request at a time, each answer looked at to its end.
//!
//! A closed loop, because the callers of models are: an agent waits for its answer before it asks again. A caller
//! whose request failed waits as OpenAI's clients do before it asks again, half a second that doubles up
//! to eight; without that, one fast failure would be counted a thousand times. It does not repeat the
//! request: what failed has failed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::cause;
use crate::config::Pool;
use crate::fleet::Caller;

/// Requests at any one time.
const CALLERS: usize = 24;
/// How long a caller waits for the whole of an answer, which takes tens of milliseconds on a good day.
const PATIENCE: Duration = Duration::from_secs(15);
/// The pauses of a caller after failures in a row.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(8));
/// Bytes of a longer prompt: about 11,000 tokens, beyond what the shipped configuration calls short.
const LONG: usize = 48 << 10;
const PATH: &str = "/v1/chat/completions";

/// What became of one request.
#[derive(Clone, Debug)]
pub struct Sample {
    /// When it was over, since the run began.
    pub ended: Duration,
    /// How long it took.
    pub took: Duration,
    /// Why it failed, if it did.
    pub failed: Option<String>,
}

/// Load that goes on until it is told to stop.
pub struct Load {
    callers: JoinSet<Vec<Sample>>,
    stop: Arc<AtomicBool>,
    tally: Arc<Tally>,
}

/// What has become of the requests so far.
#[derive(Default)]
struct Tally {
    ended: AtomicU64,
    failed: AtomicU64,
}

impl Load {
    /// Starts callers of `address`, whose requests are for all of `pools` in turn. Times count from `began`.
    pub fn start(caller: Caller, pools: &[Pool], began: Instant) -> Load {
        let caller = Arc::new(caller);
        let requests = Arc::new(requests(pools));
        let stop = Arc::new(AtomicBool::new(false));
        let tally = Arc::<Tally>::default();
        let mut callers = JoinSet::new();
        for number in 0..CALLERS {
            let (caller, requests) = (Arc::clone(&caller), Arc::clone(&requests));
            let (stop, tally) = (Arc::clone(&stop), Arc::clone(&tally));
            callers.spawn(async move {
                let mut samples = Vec::new();
                let mut pause = BACKOFF.0;
                for request in requests.iter().cycle().skip(number) {
                    if stop.load(Relaxed) {
                        break;
                    }
                    let sample = ask(&caller, request, began).await;
                    tally.ended.fetch_add(1, Relaxed);
                    if sample.failed.is_some() {
                        tally.failed.fetch_add(1, Relaxed);
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(BACKOFF.1);
                    } else {
                        pause = BACKOFF.0;
                    }
                    samples.push(sample);
                }
                samples
            });
        }
        Load {
            callers,
            stop,
            tally,
        }
    }

    /// Requests that are over, and those among them that failed.
    pub fn so_far(&self) -> (u64, u64) {
        (
            self.tally.ended.load(Relaxed),
            self.tally.failed.load(Relaxed),
        )
    }

    /// Lets every caller finish its last request, and returns all samples.
    pub async fn stop(self) -> Vec<Sample> {
        self.stop.store(true, Relaxed);
        let samples = self.callers.join_all().await;
        samples.into_iter().flatten().collect()
    }
}

async fn ask(caller: &Caller, request: &Value, began: Instant) -> Sample {
    let sent = Instant::now();
    let failed = match tokio::time::timeout(PATIENCE, caller.post(PATH, request)).await {
        Err(_) => Some("timeout".to_owned()),
        Ok(outcome) => cause::of(&outcome, request["stream"] == true),
    };
    Sample {
        ended: began.elapsed(),
        took: sent.elapsed(),
        failed,
    }
}

/// Chats for every pool: its first model, short and long where another pool serves the same, every third one streamed.
fn requests(pools: &[Pool]) -> Vec<Value> {
    let mut models: Vec<(&str, bool)> = Vec::new();
    for pool in pools {
        let first = pool.models.first().map_or("*", String::as_str);
        let model = if first == "*" { "any" } else { first };
        match models.iter_mut().find(|(known, _)| *known == model) {
            Some((_, shared)) => *shared = true,
            None => models.push((model, false)),
        }
    }
    let mut requests = Vec::new();
    for (model, shared) in models {
        let long = "all work and no play ".repeat(LONG / 21);
        let prompts = ["Hello", &long].into_iter().take(1 + usize::from(shared));
        for prompt in prompts {
            for stream in [false, true, false] {
                requests.push(json!({
                    "model": model,
                    "stream": stream,
                    "messages": [{"role": "user", "content": prompt}],
                }));
            }
        }
    }
    requests
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(name: &str, models: &[&str]) -> Pool {
        Pool {
            name: name.to_owned(),
            cluster: name.to_owned(),
            models: models.iter().map(|model| (*model).to_owned()).collect(),
            context_window: None,
            endpoints: Vec::new(),
        }
    }

    #[test]
    fn pools_of_one_model_get_short_and_long_prompts_and_others_their_own() {
        let count = |pools: &[Pool]| {
            let requests = requests(pools);
            let long = |request: &&Value| request.to_string().len() > LONG / 2;
            (requests.len(), requests.iter().filter(long).count())
        };
        assert_eq!(count(&[pool("a", &["m"]), pool("b", &["m", "n"])]), (6, 3));
        assert_eq!(count(&[pool("a", &["m"]), pool("b", &["*"])]), (6, 0));
        assert_eq!(count(&[pool("a", &[])]), (3, 0));
    }
}
