//! The breaker as one would write it on a single thread with all the memory there is: lists of what happened,
//! added up anew each time. It shares with the real one its rules and the names of outcomes, and no code.

use junheng::health::{Outcome, ProbeEnd, Rules, Trip};
use junheng::values::clock::Instant;

#[derive(Default)]
pub struct Reference {
    rules: Rules,
    failures: Vec<Failure>,
    successes: Vec<Success>,
    /// The newest bucket that anybody began, and where the counter of successes stood then.
    newest: Option<(u64, u64)>,
    checks: Vec<bool>,
    rests_until: u64,
    tripped_until: Option<u64>,
    /// The probe whose end is awaited: its token, and when it was sent.
    probe: Option<(u32, u64)>,
    probes: u32,
    back_since: Option<u64>,
}

struct Failure {
    bucket: u64,
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

    pub fn rolled(&mut self, now: Instant, answered: u64) -> Option<Outcome> {
        if self.tripped_until.is_none() {
            self.begin_bucket(now, answered);
        }
        None
    }

    pub fn failed(&mut self, placed: Instant, now: Instant, answered: u64) -> Option<Outcome> {
        let late = self
            .back_since
            .is_some_and(|since| placed.as_nanos() < since);
        if late || self.tripped_until.is_some() {
            return None;
        }
        self.begin_bucket(now, answered);
        let (newest, _) = self.newest.unwrap();
        self.failures.push(Failure {
            bucket: newest,
            answered,
        });
        let fails = self.failures.iter().filter(|f| f.bucket + 30 > newest);
        let fails = fails.count();
        let successes = self.successes.iter();
        let successes = successes.filter(|s| s.nth <= answered && s.bucket + 30 > newest);
        let requests = fails + successes.count();
        let row = self.failures.iter().rev();
        let row = row.take_while(|f| f.answered == answered).count();
        let reached = match self.rules.trip {
            Trip::ErrorRate(rule) => {
                // Quotients of small integers are rounded alike, so equal ones compare equal.
                let rate = fails as f64 / requests as f64;
                let too_many = rate > f64::from(rule.above_percent) / 100.0;
                too_many && requests >= rule.least_requests as usize
                    || rule.in_a_row != 0 && row >= rule.in_a_row as usize
            }
            Trip::FailTimeout(rule) => rule.max_fails != 0 && fails >= rule.max_fails as usize,
        };
        reached.then(|| self.trip(now))
    }

    pub fn overloaded(&mut self, now: Instant, seconds: Option<u64>) -> Option<Outcome> {
        let rested = self.rests_until;
        if self.tripped_until.is_none() {
            self.rest(now, seconds);
        }
        (self.rests_until != rested).then_some(Outcome::Resting)
    }

    pub fn probe(&mut self, now: Instant) -> Option<Outcome> {
        let now = now.as_nanos();
        let lost = self.rules.probe_lost.as_nanos() as u64;
        let under_way = self.probe.is_some_and(|(_, sent)| now < sent + lost);
        let over = self.tripped_until.is_some_and(|until| now >= until);
        if !over || under_way || now < self.rests_until || !self.available() {
            return None;
        }
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
            ProbeEnd::Failed => self.trip(now),
            ProbeEnd::Overloaded(asked) => {
                self.rest(now, asked.map(|asked| asked.as_secs()));
                self.trip(now);
                self.tripped_until = Some(self.rests_until);
                Outcome::Resting
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

    fn begin_bucket(&mut self, now: Instant, answered: u64) {
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
            }
            _ => {
                self.failures.clear();
                self.successes.retain(|success| success.nth > answered);
                self.begin(bucket, answered);
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
        self.newest = None;
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
