//! The breaker as one would write it on a single thread with all the memory there is: lists of what happened,
//! added up anew each time. It shares with the real one its rules and the names of outcomes, and no code.

use junheng::health::{Caller, Failure, Outcome, ProbeEnd, Proof, Rules, Trip};
use junheng::values::clock::Instant;

#[derive(Default)]
pub struct Reference {
    rules: Rules,
    failures: Vec<Failed>,
    /// Those before were followed by a refusal that shows what they were.
    row_from: usize,
    /// Whose requests were served, and whose failed with no other endpoint asked; when.
    served: Vec<(Caller, u64)>,
    failing: Vec<(Caller, u64)>,
    successes: Vec<Success>,
    /// The newest bucket that anybody began, and where the counter of successes stood then.
    newest: Option<(u64, u64)>,
    checks: Vec<bool>,
    rests_until: u64,
    /// When it was refused last, and where the counter stood.
    refused: Option<(u64, u64)>,
    tripped_until: Option<u64>,
    /// The probe whose end is awaited: its token, and when it was sent.
    probe: Option<(u32, u64)>,
    /// Who sent the last one.
    prober: Option<Caller>,
    probes: u32,
    back_since: Option<u64>,
}

struct Failed {
    bucket: u64,
    caller: Caller,
    proof: Proof,
    /// What it counts as in the window.
    counted: Proof,
    /// Where the counter stood.
    answered: u64,
}

struct Success {
    bucket: u64,
    /// Where the counter stood with it.
    nth: u64,
}

/// Code, when it may be over if it is out, and share of traffic.
pub type Standing = (u8, Option<u64>, f64);

impl Reference {
    pub fn new(rules: Rules) -> Reference {
        Reference {
            rules,
            ..Reference::default()
        }
    }

    pub fn succeeded(&mut self, nth: u64) {
        let bucket = self.newest.map_or(0, |(bucket, _)| bucket);
        self.successes.push(Success { bucket, nth });
    }

    /// The host has forgotten what it had counted.
    pub fn counter_restarted(&mut self) {
        self.successes.clear();
    }

    pub fn awaits_a_probe(&self) -> bool {
        self.probe.is_some()
    }

    pub fn rolled(&mut self, now: Instant, answered: u64, caller: Caller) -> Option<Outcome> {
        if self.tripped_until.is_none() && self.begin_bucket(now, answered) {
            self.served.push((caller, now.as_nanos()));
        }
        None
    }

    pub fn failed(&mut self, failure: &Failure, now: Instant, answered: u64) -> Option<Outcome> {
        let Failure {
            placed,
            caller,
            proof,
            ..
        } = *failure;
        let late = self
            .back_since
            .is_some_and(|since| placed.as_nanos() < since);
        if late || self.tripped_until.is_some() {
            return None;
        }
        self.begin_bucket(now, answered);
        let (newest, _) = self.newest.unwrap();
        let window = self.window();
        let at_once = window.min(60_000_000_000);
        let lone = others(&self.served, caller, now, window)
            && !others(&self.failing, caller, now, at_once);
        self.failures.push(Failed {
            bucket: newest,
            caller,
            proof,
            counted: match proof {
                Proof::ServedElsewhere if lone => Proof::Unopposed,
                proof => proof,
            },
            answered,
        });
        if proof != Proof::Unreached {
            self.failing.push((caller, now.as_nanos()));
        }
        let within = self.failures.iter().filter(|f| f.bucket + 30 > newest);
        let within = within.filter(|f| f.counted != Proof::Unexplained);
        let (alike, within): (Vec<_>, Vec<_>) = within.partition(|f| f.proof == Proof::Alike);
        let (unopposed, proven): (Vec<_>, Vec<_>) = within
            .into_iter()
            .partition(|f| f.counted == Proof::Unopposed);
        let successes = self.successes.iter();
        let successes = successes.filter(|s| s.nth <= answered && s.bucket + 30 > newest);
        let successes = successes.count();
        let row = self.failures.iter().skip(self.row_from).rev();
        let row: Vec<_> = row.take_while(|f| f.answered == answered).collect();
        let others_served = others(&self.served, caller, now, window);
        let witnesses = (others_served, others(&self.served, caller, now, at_once));
        let of_several = proven.len() + counted(&unopposed);
        let reached = match self.rules.trip {
            Trip::ErrorRate(rule) => {
                let fails = of_several;
                let requests = fails + successes;
                // Quotients of small integers are rounded alike, so equal ones compare equal.
                let rate = fails as f64 / requests as f64;
                let too_many = rate > f64::from(rule.above_percent) / 100.0;
                let share = too_many && requests >= rule.least_requests as usize;
                let row = rule.in_a_row != 0
                    && row_trips(&row, rule.in_a_row as usize, witnesses, || {
                        let by_itself = |proof| matches!(proof, Proof::Unopposed | Proof::Alike);
                        let in_row = row.iter().filter(|f| by_itself(f.proof)).count();
                        let all = unopposed.len() + alike.len();
                        let before = all.saturating_sub(in_row);
                        before as f64 / (before + successes) as f64
                    });
                share || row
            }
            Trip::FailTimeout(rule) => {
                let fails = match others_served {
                    true => of_several,
                    false => proven.len() + unopposed.len(),
                };
                rule.max_fails != 0 && fails >= rule.max_fails as usize
            }
        };
        reached.then(|| self.trip(now))
    }

    fn window(&self) -> u64 {
        let window = match self.rules.trip {
            Trip::ErrorRate(rule) => rule.window,
            Trip::FailTimeout(rule) => rule.fail_timeout,
        };
        window.as_nanos() as u64
    }

    pub fn overloaded(
        &mut self,
        now: Instant,
        answered: u64,
        seconds: Option<u64>,
    ) -> Option<Outcome> {
        let row = self.failures.iter().skip(self.row_from).rev();
        let last = self.failures.last().map(|failure| failure.answered);
        let mut row = row.take_while(|f| Some(f.answered) == last);
        if row.any(|f| f.proof == Proof::Unexplained) {
            self.row_from = self.failures.len();
        }
        // All refusals are caller 1's: no other one is refused, too.
        if others(&self.served, Caller(1), now, 15_000_000_000) {
            return None;
        }
        let before = (self.refused, self.rests_until);
        self.refused = Some((now.as_nanos(), answered));
        self.rest(now, seconds);
        ((self.refused, self.rests_until) != before).then_some(Outcome::Overloaded)
    }

    pub fn probe(&mut self, caller: Caller, at: Instant) -> Option<Outcome> {
        let now = at.as_nanos();
        let lost = self.rules.probe_lost.as_nanos() as u64;
        let under_way = self.probe.is_some_and(|(_, sent)| now < sent + lost);
        let over = self.tripped_until.is_some_and(|until| now >= until);
        if !over || under_way || now < self.rests_until || !self.available() {
            return None;
        }
        let due = self
            .probe
            .map(|(_, sent)| sent + lost)
            .or(self.tripped_until);
        let again = self.prober == Some(caller) && due.is_some_and(|due| now < due + 1_000_000_000);
        if again && others(&self.served, caller, at, self.window()) {
            return None;
        }
        self.prober = Some(caller);
        self.probes += 1;
        self.probe = Some((self.probes, now));
        Some(Outcome::Probing(self.probes))
    }

    pub fn probed(
        &mut self,
        now: Instant,
        answered: u64,
        token: u32,
        end: ProbeEnd,
    ) -> Option<Outcome> {
        if self.probe.is_none_or(|(awaited, _)| awaited != token) {
            return None;
        }
        Some(match end {
            ProbeEnd::Passed => self.ramp(now, answered),
            ProbeEnd::Failed(_) => self.trip(now),
            ProbeEnd::Overloaded(asked) => {
                self.rest(now, asked.map(|asked| asked.as_secs()));
                self.trip(now);
                self.tripped_until = Some(self.rests_until);
                Outcome::Overloaded
            }
            ProbeEnd::Abandoned(waited) => {
                let lost = self.probe.map_or(0, |(_, sent)| sent)
                    + self.rules.probe_lost.as_nanos() as u64;
                self.tripped_until = Some(lost.min(now.as_nanos() + waited.as_nanos() as u64));
                self.probe = None;
                Outcome::GivenBack
            }
        })
    }

    pub fn checked(&mut self, now: Instant, answered: u64, passed: bool) -> Option<Outcome> {
        let before = self.available();
        self.checks.push(passed);
        match (before, self.available()) {
            (true, false) => Some(Outcome::Unavailable),
            (false, true) if self.tripped_until.is_some() => Some(Outcome::Available),
            (false, true) => Some(self.ramp(now, answered)),
            _ => None,
        }
    }

    pub fn standing(&self, now: Instant) -> Standing {
        let now = now.as_nanos();
        let lost = self.rules.probe_lost.as_nanos() as u64;
        let over = self.probe.map(|(_, sent)| sent + lost);
        let over = over.or(self.tripped_until).unwrap_or(0);
        if !self.available() {
            (5, None, 0.0)
        } else if now < over {
            let code = if self.probe.is_some() { 2 } else { 3 };
            (code, Some(over.max(self.rests_until)), 0.0)
        } else if now < self.rests_until {
            (4, Some(self.rests_until), 0.0)
        } else if self.tripped_until.is_some() {
            (3, None, 0.0)
        } else {
            let since = self.back_since.map(|since| now.saturating_sub(since));
            let part = since.map_or(1.0, |since| {
                since as f64 / self.rules.ramp.as_nanos() as f64
            });
            (u8::from(part < 1.0), None, part.clamp(0.1, 1.0))
        }
    }

    /// Whether a bucket was begun.
    fn begin_bucket(&mut self, now: Instant, answered: u64) -> bool {
        let length = match self.rules.trip {
            Trip::ErrorRate(rule) => rule.window,
            Trip::FailTimeout(rule) => rule.fail_timeout,
        };
        let bucket = now.as_nanos() / (length.as_nanos() as u64 / 30);
        match self.newest {
            Some((newest, count)) if answered >= count => {
                if bucket > newest {
                    self.begin(bucket, answered);
                }
                bucket > newest
            }
            _ => {
                self.failures.clear();
                self.row_from = 0;
                self.successes.retain(|success| success.nth > answered);
                self.begin(bucket, answered);
                true
            }
        }
    }

    /// What the counter had not counted when the bucket began belongs to it.
    fn begin(&mut self, bucket: u64, answered: u64) {
        self.newest = Some((bucket, answered));
        for success in self.successes.iter_mut().filter(|s| s.nth > answered) {
            success.bucket = bucket;
        }
    }

    fn trip(&mut self, now: Instant) -> Outcome {
        let lasts = match self.rules.trip {
            Trip::ErrorRate(rule) => rule.tripped,
            Trip::FailTimeout(rule) => rule.fail_timeout,
        };
        self.tripped_until = Some(now.as_nanos() + lasts.as_nanos() as u64);
        self.probe = None;
        self.back_since = None;
        Outcome::Tripped
    }

    fn ramp(&mut self, now: Instant, answered: u64) -> Outcome {
        self.tripped_until = None;
        self.probe = None;
        self.back_since = Some(now.as_nanos());
        self.prober = None;
        self.newest = None;
        self.failing.clear();
        self.begin_bucket(now, answered);
        Outcome::Ramping
    }

    fn rest(&mut self, now: Instant, seconds: Option<u64>) {
        let seconds = match seconds {
            None | Some(0) => 1,
            Some(asked) => asked.min(60),
        };
        let until = now.as_nanos() + seconds * 1_000_000_000;
        self.rests_until = self.rests_until.max(until);
    }

    fn available(&self) -> bool {
        let (mut available, mut row) = (true, 0);
        for &passed in &self.checks {
            row = if passed == available { 0 } else { row + 1 };
            let turns = if available {
                self.rules.check_failures
            } else {
                self.rules.check_passes
            };
            if row == turns {
                (available, row) = (!available, 0);
            }
        }
        available
    }
}

/// How many of these failures count: those that pair off with one of another caller, bucket by
/// bucket, then bucket with bucket from the oldest on, and as many again of the others.
fn counted(failures: &[&Failed]) -> usize {
    let mut unpaired: Vec<Caller> = Vec::new();
    for bucket in failures.chunk_by(|a, b| a.bucket == b.bucket) {
        let mut of_bucket = Vec::new();
        for failure in bucket {
            pair_off(&mut of_bucket, failure.caller);
        }
        // Of two heaps the larger one is paired off by the smaller.
        if of_bucket.len() > unpaired.len() {
            std::mem::swap(&mut unpaired, &mut of_bucket);
        }
        of_bucket
            .into_iter()
            .for_each(|caller| pair_off(&mut unpaired, caller));
    }
    with_pairs(failures.len(), unpaired.len())
}

/// Of so many failures those that are paired, and as many of the others.
fn with_pairs(failures: usize, unpaired: usize) -> usize {
    let paired = failures - unpaired;
    paired + unpaired.min(paired)
}

/// Puts `caller` to its likes, or takes one of another caller away with it.
fn pair_off(unpaired: &mut Vec<Caller>, caller: Caller) {
    match unpaired.last() {
        Some(last) if *last != caller => drop(unpaired.pop()),
        _ => unpaired.push(caller),
    }
}

/// Whether failures without a success between them trip; `chance` is the share of requests that
/// failed by themselves before.
fn row_trips(
    row: &[&Failed],
    in_a_row: usize,
    (others_served, others_lately): (bool, bool),
    chance: impl Fn() -> f64,
) -> bool {
    let of = |proof| row.iter().filter(|f| f.proof == proof).count();
    let long = 4 * in_a_row;
    let (alike, unopposed, unexplained) = (
        of(Proof::Alike),
        of(Proof::Unopposed),
        of(Proof::Unexplained),
    );
    let told_of_it = row.len() - alike;
    let proven = told_of_it - unopposed;
    let mut unpaired = Vec::new();
    row.iter()
        .rev()
        .for_each(|f| pair_off(&mut unpaired, f.caller));
    let several = with_pairs(row.len(), unpaired.len()) >= in_a_row;
    let enough = told_of_it >= in_a_row && told_of_it > unexplained;
    let enough = enough || (alike > 0 && row.len() >= long);
    if of(Proof::Unreached) >= in_a_row
        || (proven >= long && proven > unexplained && !others_lately)
    {
        return true;
    }
    let by_chance = unopposed + alike > 0 && chance().powi(row.len() as i32) > 1e-6;
    enough && (several || !others_served) && !by_chance
}

/// Whether one of the last two callers of `met` within the window is another than `caller`.
fn others(met: &[(Caller, u64)], caller: Caller, now: Instant, window: u64) -> bool {
    let latest = met.last().copied();
    let other = met
        .iter()
        .rev()
        .find(|(met, _)| latest.is_some_and(|(latest, _)| *met != latest))
        .copied();
    [latest, other]
        .into_iter()
        .flatten()
        .any(|(met, at)| met != caller && now.as_nanos().saturating_sub(at) <= window)
}
