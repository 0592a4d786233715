//! CPU time of a process, to the nanosecond.

use std::fs;
use std::io;
use std::time::Duration;

/// The time that all living threads of process `pid` have spent on a CPU, user and kernel together.
///
/// `/proc/<pid>/stat` counts in ticks of 10 ms; the scheduler's own account counts nanoseconds.
pub fn of_process(pid: u32) -> io::Result<Duration> {
    let mut total = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        let account = match fs::read_to_string(thread?.path().join("schedstat")) {
            Ok(account) => account,
            Err(error) if has_ended(&error) => continue,
            Err(error) => return Err(error),
        };
        total += on_cpu(&account)
            .ok_or_else(|| io::Error::other(format!("unexpected schedstat: {account}")))?;
    }
    Ok(Duration::from_nanos(total))
}

/// Whether a thread has ended since it was listed: its file is gone, or empty of a task.
fn has_ended(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(NO_SUCH_PROCESS)
}

/// `ESRCH` of Linux.
const NO_SUCH_PROCESS: i32 = 3;

/// The first of three numbers: nanoseconds on a CPU; then waiting for one, and slices run.
fn on_cpu(account: &str) -> Option<u64> {
    account.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_shows_in_the_account_of_this_process() {
        let before = of_process(std::process::id()).unwrap();
        // Other tests' threads end meanwhile and take their time out of the sum: this one outworks them.
        let shown = (0..1000).any(|_| {
            std::hint::black_box(
                (0..20_000_000_u64).fold(0, |sum, n| std::hint::black_box(sum ^ n)),
            );
            of_process(std::process::id()).unwrap() > before
        });
        assert!(shown);
    }
}
