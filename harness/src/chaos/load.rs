//! Steady load: a fixed number of callers, each with one request at a time, each answer looked at to its end.
//!
//! A closed loop, because the callers of models are: an agent waits for its answer before it asks again. A caller
//! whose request failed waits as OpenAI's clients do before it asks again, half a second that doubles up
//! to eight; without that, one fast failure would be counted a thousand times. It does not repeat the
//! request: what failed has failed.
//!
//! All of them are one tenant's, the innocent. A few more callers are tenants that attack while
//! they are told to: they send at a steady rate, about a fifth of all requests, whatever they are
//! answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::cause;
use super::schedule::Kind;
use crate::config::Pool;
use crate::fleet::{Caller, LIMITED_TENANT, POISON, TENANT_HEADER, json_request};

/// Requests at any one time.
const CALLERS: usize = 24;
/// How long a caller waits for the whole of an answer, which takes tens of milliseconds on a good day.
const PATIENCE: Duration = Duration::from_secs(15);
/// The pauses of a caller after failures in a row.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(8));
/// Bytes of a longer prompt: about 11,000 tokens, beyond what the shipped configuration calls short.
const LONG: usize = 48 << 10;
const PATH: &str = "/v1/chat/completions";
/// Callers of each kind of attack.
const ATTACKERS: usize = 4;
/// From one answer to the next request of an attacker.
const ATTACK_EVERY: Duration = Duration::from_millis(40);
const INNOCENT: &str = "innocent";
const POISONER: &str = "poisoner";

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
    attackers: JoinSet<Vec<(Kind, Sample)>>,
    told: Arc<Told>,
}

/// What callers are told, and what they tell.
#[derive(Default)]
struct Told {
    stop: AtomicBool,
    poison: AtomicBool,
    tenant_429: AtomicBool,
    ended: AtomicU64,
    failed: AtomicU64,
}

impl Told {
    /// Whether an attack of this kind is on.
    fn attack(&self, kind: Kind) -> Option<&AtomicBool> {
        match kind {
            Kind::Poison => Some(&self.poison),
            Kind::Tenant429 => Some(&self.tenant_429),
            _ => None,
        }
    }
}

impl Load {
    /// Starts callers of `address`, whose requests are for all of `pools` in turn. Times count from `began`.
    pub fn start(caller: Caller, pools: &[Pool], began: Instant) -> Load {
        let caller = Arc::new(caller);
        let requests = Arc::new(requests(pools));
        let told = Arc::<Told>::default();
        let mut attackers = JoinSet::new();
        for kind in Kind::ALL.into_iter().filter(|kind| kind.is_attack()) {
            for _ in 0..ATTACKERS {
                let (caller, requests) = (Arc::clone(&caller), Arc::clone(&requests));
                attackers.spawn(attack(kind, caller, requests, Arc::clone(&told), began));
            }
        }
        let mut callers = JoinSet::new();
        for number in 0..CALLERS {
            let (caller, requests) = (Arc::clone(&caller), Arc::clone(&requests));
            let told = Arc::clone(&told);
            callers.spawn(async move {
                let mut samples = Vec::new();
                let mut pause = BACKOFF.0;
                for request in requests.iter().cycle().skip(number) {
                    if told.stop.load(Relaxed) {
                        break;
                    }
                    let sample = ask(&caller, INNOCENT, request, began).await;
                    told.ended.fetch_add(1, Relaxed);
                    if sample.failed.is_some() {
                        told.failed.fetch_add(1, Relaxed);
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
            attackers,
            told,
        }
    }

    /// Requests of the innocent that are over, and those among them that failed.
    pub fn so_far(&self) -> (u64, u64) {
        (
            self.told.ended.load(Relaxed),
            self.told.failed.load(Relaxed),
        )
    }

    /// Begins or ends an attack.
    pub fn attack(&self, kind: Kind, on: bool) {
        if let Some(attack) = self.told.attack(kind) {
            attack.store(on, Relaxed);
        }
    }

    /// Lets every caller finish its last request, and returns all samples: of the innocent and of
    /// attacks.
    pub async fn stop(self) -> (Vec<Sample>, Vec<(Kind, Sample)>) {
        self.told.stop.store(true, Relaxed);
        let samples = self.callers.join_all().await;
        let hostile = self.attackers.join_all().await;
        (
            samples.into_iter().flatten().collect(),
            hostile.into_iter().flatten().collect(),
        )
    }
}

/// Sends what `kind` wants while it is on.
async fn attack(
    kind: Kind,
    caller: Arc<Caller>,
    requests: Arc<Vec<Value>>,
    told: Arc<Told>,
    began: Instant,
) -> Vec<(Kind, Sample)> {
    let tenant = match kind {
        Kind::Poison => POISONER,
        _ => LIMITED_TENANT,
    };
    let mut samples = Vec::new();
    let mut requests = requests.iter().cycle();
    while !told.stop.load(Relaxed) {
        let on = told.attack(kind).is_some_and(|on| on.load(Relaxed));
        if on && let Some(request) = requests.next() {
            let mut request = request.clone();
            if kind == Kind::Poison {
                request["user"] = POISON.into();
            }
            samples.push((kind, ask(&caller, tenant, &request, began).await));
        }
        tokio::time::sleep(ATTACK_EVERY).await;
    }
    samples
}

async fn ask(caller: &Caller, tenant: &str, request: &Value, began: Instant) -> Sample {
    let sent = Instant::now();
    let mut post = json_request(PATH, request.to_string());
    if let Ok(tenant) = tenant.parse() {
        post.headers_mut().insert(TENANT_HEADER, tenant);
    }
    let failed = match tokio::time::timeout(PATIENCE, caller.send(post)).await {
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
