//! What a request costs in instructions: each Envoy in turn runs on the simulated processor of
//! [callgrind](https://valgrind.org/docs/manual/cl-manual.html).
//!
//! Time on a shared machine says 60 us one hour and 80 us the next. Instructions do not, so two
//! builds can be told apart by two hundredths. What an Envoy does by the clock (ticks, flushes of
//! statistics) is counted while it idles for as long, and taken off. Code pages are counted beside
//! them: each page of code that a request meets takes an entry of the processor's instruction TLB.
//!
//! Neither is the whole truth: the kernel's share is not counted, and the allocator's is counted too high,
//! since valgrind lacks the restartable sequences that its quick path needs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde::Serialize;

use super::variant::Variant;
use super::{Plan, SHIPPED_ENDPOINTS, backend, body, load, report};
use crate::artifact;
use crate::envoy::{Envoy, EnvoyOptions};

/// Requests before those that are counted: connections are opened, tables filled.
const WARM_UP: usize = 200;
/// Requests that are counted.
const COUNTED: usize = 500;
/// A page is one of a request's if it was met by this part of the requests; what ticks do is less frequent.
const OFTEN: f64 = 0.4;
/// A page of code is 4 KiB.
const PAGE_BITS: u32 = 12;

/// The counts of one Envoy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Instructions a request, outside the kernel.
    pub instructions: u64,
    /// Pages of 4 KiB of code that a request runs through.
    pub code_pages: usize,
}

/// A finished count; serialised, it is what `harness cost --instructions --json` prints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Instructions {
    /// Size of the request's body, such as `32k`.
    pub body: String,
    /// Whether answers were streamed.
    pub stream: bool,
    /// By Envoy: `plain`, `noop`, `lua`, `route`, `junheng`, `limits`.
    #[serde(flatten)]
    pub counts: BTreeMap<&'static str, Counts>,
    /// Instructions a request that Junheng adds to plain Envoy.
    pub added_instructions: u64,
    /// Instructions a request that an API key and two limits add to that.
    pub limits_added_instructions: u64,
}

/// Counts each Envoy in turn; `progress` is told which comes next. The profiles stay in `callgrind/` of the
/// target folder, for callgrind_annotate or KCachegrind.
pub async fn count(plan: &Plan, mut progress: impl FnMut(&'static str)) -> Result<Instructions> {
    let backends = backend::start(SHIPPED_ENDPOINTS.count(), plan.stream)?;
    let request = load::request(&body::chat(plan.body_bytes, plan.stream));
    let folder = artifact::target_dir().join("callgrind");
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let mut counts = BTreeMap::new();
    for variant in Variant::ALL {
        progress(variant.name());
        let profile = Profile::new(&folder, variant.name());
        let options = EnvoyOptions {
            concurrency: 1,
            run_by: profile.valgrind(),
            ..EnvoyOptions::new(variant.bootstrap(plan.body_bytes, &backends)?)
        };
        let envoy = Envoy::start(options)
            .await
            .with_context(|| format!("{} Envoy under valgrind", variant.name()))?;
        load::send(envoy.listener_address(), &request, WARM_UP).await?;
        control("--zero", envoy.pid())?;
        let began = Instant::now();
        load::send(envoy.listener_address(), &request, COUNTED).await?;
        let took = began.elapsed();
        // A dump sets the counters to zero.
        control("--dump", envoy.pid())?;
        tokio::time::sleep(took).await;
        control("--dump", envoy.pid())?;
        counts.insert(variant.name(), profile.read()?);
    }
    let of = |variant: Variant| counts.get(variant.name()).map_or(0, |it| it.instructions);
    Ok(Instructions {
        body: report::size(plan.body_bytes),
        stream: plan.stream,
        added_instructions: of(Variant::Junheng).saturating_sub(of(Variant::Plain)),
        limits_added_instructions: of(Variant::Limits).saturating_sub(of(Variant::Junheng)),
        counts,
    })
}

impl std::fmt::Display for Instructions {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let answers = if self.stream { "streamed" } else { "whole" };
        writeln!(
            out,
            "body {}, answers {answers}, one worker, user code only\n",
            self.body
        )?;
        writeln!(
            out,
            "{:<10}{:>18}{:>14}",
            "", "instructions/req", "code pages"
        )?;
        for variant in Variant::ALL {
            if let Some(Counts {
                instructions,
                code_pages,
            }) = self.counts.get(variant.name())
            {
                writeln!(
                    out,
                    "{:<10}{instructions:>18}{code_pages:>14}",
                    variant.name()
                )?;
            }
        }
        write!(
            out,
            "\nJunheng adds {} instructions a request;\nan API key and two limits add {} to that.",
            self.added_instructions, self.limits_added_instructions
        )
    }
}

/// Where callgrind leaves what it has counted of one Envoy.
struct Profile {
    file: PathBuf,
}

impl Profile {
    fn new(folder: &Path, name: &str) -> Self {
        Self {
            file: folder.join(format!("{name}.out")),
        }
    }

    /// The command that runs Envoy. Code that V8 writes is seen to change; where Envoy is started by a
    /// script, the program it becomes is followed.
    fn valgrind(&self) -> Vec<String> {
        let out = format!("--callgrind-out-file={}", self.file.display());
        [
            "valgrind",
            "--tool=callgrind",
            "--dump-instr=yes",
            "--smc-check=all-non-file",
            "--trace-children=yes",
            &out,
        ]
        .map(str::to_owned)
        .to_vec()
    }

    /// What the requests have cost: the first dump, without what the second has counted in the same
    /// time without requests.
    fn read(&self) -> Result<Counts> {
        let (busy, code_pages) = self.dump(1)?;
        let (idle, _) = self.dump(2)?;
        Ok(Counts {
            instructions: busy.saturating_sub(idle) / COUNTED as u64,
            code_pages,
        })
    }

    /// The instructions and the pages of a dump, which callgrind numbers from 1.
    fn dump(&self, number: u8) -> Result<(u64, usize)> {
        let dump = self.file.with_extension(format!("out.{number}"));
        let text =
            fs::read(&dump).with_context(|| format!("callgrind left no {}", dump.display()))?;
        counts(&String::from_utf8_lossy(&text), COUNTED)
            .with_context(|| format!("{} is not as callgrind writes it", dump.display()))
    }
}

/// Tells the callgrind that runs as `pid`.
fn control(what: &str, pid: u32) -> Result<()> {
    let done = Command::new("callgrind_control")
        .args([what, &pid.to_string()])
        .stdin(Stdio::null())
        .output()
        .context("callgrind_control could not be started; it comes with valgrind")?;
    ensure!(
        done.status.success(),
        "callgrind_control {what}: {}",
        String::from_utf8_lossy(&done.stderr).trim()
    );
    Ok(())
}

/// All instructions of a profile, and the pages of code that most of `requests` have met.
///
/// The profile has instruction addresses: in each line of costs an address (absolute in hex, or `+` and `-`
/// from the line before, or `*` for the same), a source line, and a count. A line behind `calls=` repeats what
/// the callee has counted itself.
fn counts(profile: &str, requests: usize) -> Option<(u64, usize)> {
    let (mut address, mut of_a_callee, mut object) = (0u64, false, "");
    let mut pages = BTreeSet::new();
    let mut total = None;
    for line in profile.lines() {
        if let Some(sum) = line.strip_prefix("totals: ") {
            total = sum.split(' ').next()?.parse::<u64>().ok();
        } else if let Some(id) = line.strip_prefix("ob=") {
            object = id.split(' ').next()?;
        } else if line.starts_with("calls=") {
            of_a_callee = true;
        } else if line.starts_with(|first: char| first.is_ascii_digit() || "+-*".contains(first)) {
            let mut fields = line.split(' ');
            address = step(address, fields.next()?)?;
            let count: f64 = fields
                .nth(1)
                .map_or(Some(0.0), |count| count.parse().ok())?;
            if !std::mem::take(&mut of_a_callee) && count >= requests as f64 * OFTEN {
                pages.insert((object, address >> PAGE_BITS));
            }
        }
    }
    Some((total?, pages.len()))
}

fn step(address: u64, field: &str) -> Option<u64> {
    let number = |digits: &str| match digits.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => digits.parse().ok(),
    };
    match field.split_at_checked(1)? {
        ("*", _) => Some(address),
        ("+", by) => Some(address.wrapping_add(number(by)?)),
        ("-", by) => Some(address.wrapping_sub(number(by)?)),
        _ => number(field),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_that_few_requests_meet_and_what_callees_have_counted_are_left_out() {
        let profile = "positions: instr line\nevents: Ir\n\nob=(1) /bin/envoy\nfn=(1) a\n0x1000 0 10\n+4 0 10\n\
                       calls=10 0x5000\n* 0 900\n+0xffc 0 4\n-4 0 3\nob=(2) /lib/libc.so\n0x1000 0 10\n\ntotals: 1000\n";
        assert_eq!(counts(profile, 10), Some((1_000, 3)));
    }

    #[test]
    fn a_profile_that_was_cut_off_is_none() {
        assert_eq!(counts("positions: instr line\n0x1000 0 10\n", 10), None);
    }
}
